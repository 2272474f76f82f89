"""One namespace of the sandbox's cluster: kubectl to write, one kept connection to look often and cheaply."""

from __future__ import annotations

import json
import string
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config

from include.errors import SandboxError
from include.sandbox.programs import program

Document = dict[str, Any]
_SECONDS = 180


class Kube:
    """A namespace, as an administrator sees it."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        self._api = config.new_client_from_config(config_file=str(kubeconfig))
        self._core = client.CoreV1Api(self._api)
        self._custom = client.CustomObjectsApi(self._api)

    def close(self) -> None:
        """Release the connection."""
        self._api.close()

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace.

        :raises SandboxError: it failed
        """
        return run(
            [str(program("kubectl")), "--kubeconfig", str(self.kubeconfig), "-n", self.namespace, *arguments],
            stdin,
        )

    def apply(self, documents: list[Document]) -> None:
        """Create or change objects, by the server's own rules."""
        text = yaml.safe_dump_all(documents)
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def patch(self, kind: str, name: str, patch: Mapping[str, Any], *options: str) -> None:
        """Merge a patch into an object."""
        self.kubectl("patch", kind, name, "--type", "merge", "-p", json.dumps(patch), *options)

    def json_patch(self, kind: str, name: str, patch: list[Document]) -> None:
        """Apply a JSON patch to an object."""
        self.kubectl("patch", kind, name, "--type", "json", "-p", json.dumps(patch))

    def selector(self, service: str) -> dict[str, str]:
        """What a Service selects its pods by."""
        return dict(self.read_service(service).spec.selector or {})

    def read_service(self, name: str) -> Any:
        """A Service."""
        return self._core.read_namespaced_service(name, self.namespace)

    def service(self, name: str) -> Any:
        """A Service's spec."""
        return self.read_service(name).spec

    def custom(self, group: str, version: str, plural: str, name: str) -> Document:
        """A custom object."""
        found = self._custom.get_namespaced_custom_object(group, version, self.namespace, plural, name)
        return dict(found)

    def customs(self, group: str, version: str, plural: str) -> list[Document]:
        """All custom objects of a kind."""
        return list(self._custom.list_namespaced_custom_object(group, version, self.namespace, plural)["items"])


def manifests(file: Path, values: Mapping[str, str]) -> list[Document]:
    """The documents of a manifest, its placeholders filled."""
    return list(yaml.safe_load_all(string.Template(file.read_text()).substitute(values)))


def chart_objects(kubeconfig: Path, namespace: str, name: str, chart: Path, values: Document) -> list[Document]:
    """What the application's own chart consists of: every contender runs the very same pods.

    :raises SandboxError: helm cannot render it
    """
    argv = [str(program("helm")), "--kubeconfig", str(kubeconfig), "-n", namespace, "template", name, str(chart)]
    text = run([*argv, "--values", "-"], yaml.safe_dump(values))
    return [document for document in yaml.safe_load_all(text) if document]


def run(argv: list[str], stdin: str | None = None) -> str:
    """Run a program to its end and return what it printed.

    :raises SandboxError: it failed
    """
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise SandboxError(
            f"{Path(argv[0]).name} failed", seen=f"{' '.join(argv[1:])}: {done.stderr.strip()[-1500:]}"
        )
    return done.stdout
