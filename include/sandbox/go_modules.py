"""Owns the list of pinned programs: which module of ``tools/`` pins each, and how a build tells it its version."""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from include.errors import ProgramMissing
from include.sandbox.toolchain import REPOSITORY, Version, parse_version

FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly")


@dataclass(frozen=True)
class Module:
    """A Go module below ``tools/`` and how its programs learn their version.

    :param pinned: module path whose version in ``go.mod`` is the programs' version
    :param version_variables: Go variables set to the version, ``v1.34.4``
    :param number_variables: Go variables set to ``{major}`` or ``{minor}``
    :param tags: build tags, which leave out what nobody here needs
    """

    name: str
    pinned: str
    version_variables: tuple[str, ...]
    number_variables: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    root: Path = REPOSITORY / "tools"

    @property
    def folder(self) -> Path:
        """Where ``go.mod`` and ``go.sum`` are."""
        return self.root / self.name

    @property
    def version(self) -> str:
        """The pinned version, for example ``v1.34.4``."""
        pattern = rf"^\s*(?:require\s+)?{re.escape(self.pinned)} (v\S+)"
        return self._find(pattern, f"a require line for {self.pinned}")

    @property
    def go(self) -> Version:
        """The oldest Go that can build the module."""
        return parse_version(self._find(r"^go (\S+)", "a go line"))

    @property
    def linker_flags(self) -> str:
        """What the linker is told: no debug information, and the version."""
        major, minor, *_ = parse_version(self.version)
        numbers = {"major": major, "minor": minor}
        values = [(variable, self.version) for variable in self.version_variables]
        values += [(variable, str(numbers[number])) for variable, number in self.number_variables]
        return " ".join(["-s -w", *(f"-X {variable}={value}" for variable, value in values)])

    @property
    def flags(self) -> tuple[str, ...]:
        """What ``go build`` is told besides the linker's flags."""
        return (*FLAGS, "-tags", ",".join(self.tags)) if self.tags else FLAGS

    @property
    def key(self) -> str:
        """Changes with everything that the programs are built from."""
        digest = hashlib.sha256()
        for part in (self._read("go.mod"), self._read("go.sum"), " ".join(self.flags), self.linker_flags):
            digest.update(hashlib.sha256(part.encode()).digest())
        digest.update(f"{sys.platform}/{platform.machine()}".encode())
        return digest.hexdigest()[:12]

    def _read(self, name: str) -> str:
        try:
            return (self.folder / name).read_text()
        except OSError as error:
            raise ProgramMissing(
                f"cannot read {self.folder / name}",
                expected="the module files of the repository",
                seen=str(error),
                remedy="restore tools/ from version control",
            ) from error

    def _find(self, pattern: str, what: str) -> str:
        found = re.search(pattern, self._read("go.mod"), re.MULTILINE)
        if found is None:
            raise ProgramMissing(
                f"{self.folder / 'go.mod'} pins no version",
                expected=what,
                seen="no such line",
                remedy="see tools/README.md for how to update a module",
            )
        return found.group(1)


_KUBERNETES_VERSION = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
KUBERNETES = Module(
    "kubernetes",
    "k8s.io/kubernetes",
    tuple(f"{package}.gitVersion" for package in _KUBERNETES_VERSION),
    tuple(
        (f"{package}.git{number.title()}", number)
        for package in _KUBERNETES_VERSION
        for number in ("major", "minor")
    ),
)
HELM = Module("helm", "helm.sh/helm/v4", ("helm.sh/helm/v4/internal/version.version",))
REGISTRY = Module(
    "registry",
    "github.com/distribution/distribution/v3",
    ("github.com/distribution/distribution/v3/version.version",),
)
S3 = Module("s3", "github.com/versity/versitygw", ("main.Version",))
HELM3 = Module("helm3", "helm.sh/helm/v3", ("helm.sh/helm/v3/internal/version.version",))
PROMETHEUS = Module(
    "prometheus",
    "github.com/prometheus/prometheus",
    ("github.com/prometheus/common/version.Version",),
    # Of the dozens of ways to discover targets only the one of Kubernetes: half the build, a third of the size.
    tags=("netgo", "remove_all_sd", "enable_kubernetes_sd"),
)

Catalogue = Mapping[str, tuple[Module, str]]
"""Program → the module that pins it, and its main package there."""

CATALOGUE: Catalogue = {
    "etcd": (KUBERNETES, "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": (KUBERNETES, "k8s.io/kubernetes/cmd/kube-apiserver"),
    "kube-controller-manager": (KUBERNETES, "k8s.io/kubernetes/cmd/kube-controller-manager"),
    "kube-scheduler": (KUBERNETES, "k8s.io/kubernetes/cmd/kube-scheduler"),
    "kubectl": (KUBERNETES, "k8s.io/kubernetes/cmd/kubectl"),
    "helm": (HELM, "helm.sh/helm/v4/cmd/helm"),
    "helm3": (HELM3, "helm.sh/helm/v3/cmd/helm"),
    "registry": (REGISTRY, "github.com/distribution/distribution/v3/cmd/registry"),
    "versitygw": (S3, "github.com/versity/versitygw/cmd/versitygw"),
    "prometheus": (PROMETHEUS, "github.com/prometheus/prometheus/cmd/prometheus"),
}
