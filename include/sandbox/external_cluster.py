"""A cluster somebody else runs, as far as demo and tests need to know it; the environment describes it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from include.errors import SandboxError
from include.sandbox.erp.build import command_importer

LOOPBACK = "127.0.0.1"
DEMO_NAMESPACE = "stellwerk-demo"
KUBECONFIG_VARIABLES = ("STELLWERK_TEST_KUBECONFIG", "KUBECONFIG")
IMPORT_VARIABLE = "STELLWERK_IMAGE_IMPORT"
HOST_VARIABLE = "STELLWERK_HOST_ADDRESS"
NODE_VARIABLE = "STELLWERK_NODE_ADDRESS"


class ExternalCluster:
    """A cluster somebody else runs.

    :param kubeconfig: of an administrator
    """

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.node_address = os.environ.get(NODE_VARIABLE, LOOPBACK)

    @property
    def host_address(self) -> str:
        """:raises SandboxError: the environment does not say"""
        return self._need(HOST_VARIABLE, "the address at which the cluster's pods reach this machine")

    def import_image(
        self, reference: str, folder: Path, *, entrypoint: Sequence[str], env: Mapping[str, str]
    ) -> str | None:
        """Hand an image to the command that the environment names.

        :raises SandboxError: it names none, or the command fails
        """
        meaning = "a command called as <command> NAME:TAG FOLDER -e K=V… -- ENTRYPOINT… that imports an image"
        return command_importer(self._need(IMPORT_VARIABLE, meaning))(
            reference, folder, entrypoint=entrypoint, env=env
        )

    def _need(self, variable: str, meaning: str) -> str:
        value = os.environ.get(variable)
        if not value:
            raise SandboxError(f"{variable} is not set", expected=meaning, remedy=f"export {variable}=…")
        return value


def demo_namespace() -> str:
    """Where the demo's application goes: on somebody else's cluster into a namespace that says whose it is."""
    return DEMO_NAMESPACE if named_kubeconfig() else "production"


def named_kubeconfig() -> Path | None:
    """The kubeconfig the environment names, None when the embedded cluster is to be used.

    :raises SandboxError: it names a file that does not exist, or more than one
    """
    for variable in KUBECONFIG_VARIABLES:
        value = os.environ.get(variable)
        if not value:
            continue
        path = Path(value).expanduser()
        if not path.is_file():
            raise SandboxError(
                f"{variable} does not name a kubeconfig",
                expected="one file",
                seen=value,
                remedy=f"correct {variable}, or unset it to use the embedded cluster",
            )
        return path.resolve()
    return None
