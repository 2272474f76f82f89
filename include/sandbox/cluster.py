"""The cluster that demo and tests use: the embedded one, or the one that KUBECONFIG names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol

from include.errors import SandboxError
from include.sandbox.addresses import NODE_PORT_ADDRESS
from include.sandbox.control_plane import PROGRAMS, ControlPlane
from include.sandbox.external_cluster import ExternalCluster, named_kubeconfig
from include.sandbox.images import ImageStore
from include.sandbox.processes import Process, wait_until
from include.sandbox.programs import programs
from include.sandbox.supervisor import Supervisor

REPOSITORY = Path(__file__).resolve().parents[2]
NODE_NAME = "node-1"
NODE_SECONDS = 30.0


class ClusterUnderTest(Protocol):
    """What demo and tests need of a cluster."""

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of an administrator."""

    @property
    def node_address(self) -> str:
        """Where NodePorts are reached from this machine."""

    @property
    def host_address(self) -> str:
        """Where pods reach this machine."""

    def import_image(
        self, reference: str, folder: Path, *, entrypoint: Sequence[str], env: Mapping[str, str]
    ) -> str | None:
        """Make the content of `folder` an image the cluster can run; its digest where it is known."""


class SandboxCluster:
    """A real control plane and the sandbox's node; state survives `stop` and the next `start`.

    :param state_dir: folder for everything it writes
    :param paths: paths of the control plane's programs; found or built when None
    """

    node_address = NODE_PORT_ADDRESS
    host_address = NODE_PORT_ADDRESS  # pods and Services share one machine

    def __init__(self, state_dir: Path, paths: Mapping[str, Path] | None = None) -> None:
        self.state_dir = state_dir.resolve()
        self._paths = paths
        self._images = ImageStore(self.state_dir / "images")
        self._supervisor = Supervisor()
        self._control_plane: ControlPlane | None = None
        self._node: Process | None = None

    @property
    def control_plane(self) -> ControlPlane:
        """:raises SandboxError: it is not started"""
        if self._control_plane is None:
            raise SandboxError("the sandbox's cluster is not started")
        return self._control_plane

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of an administrator; users point kubectl at it."""
        return self.control_plane.kubeconfig

    @property
    def node(self) -> Process:
        """The node program.

        :raises SandboxError: it is not started
        """
        if self._node is None:
            raise SandboxError("the sandbox's cluster is not started")
        return self._node

    def start(self) -> None:
        """Start control plane, keeper and node; return when the node is Ready.

        :raises SandboxError: a component does not become ready, with its log's end
        """
        paths = self._paths if self._paths is not None else programs(PROGRAMS)
        self._control_plane = ControlPlane(self.state_dir, paths, node_name=NODE_NAME)
        try:
            self._control_plane.start()
            self._supervisor.start(self._keeper())
            self._node = self._node_program(self._control_plane)
            self._supervisor.start(self._node, ready=self._node_ready, deadline_seconds=NODE_SECONDS)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the pods' processes, the node and the control plane."""
        try:
            self._supervisor.stop()
        finally:
            if self._control_plane is not None:
                self._control_plane.stop()

    def check(self) -> None:
        """:raises SandboxError: a component has ended by itself"""
        self._supervisor.check()
        self.control_plane.check()

    def restart_node(self, *, kill: bool = False) -> None:
        """End the node program, by SIGKILL or politely, and start it again; pods keep running.

        :raises SandboxError: it does not become ready again
        """
        before = self._renewed()
        if kill:
            os.kill(self.node.pid, 9)
            self.node.wait(NODE_SECONDS)
        else:
            self.node.stop()
        self.node.start()
        wait_until(
            lambda: self._node_ready() and self._renewed() != before,
            deadline_seconds=NODE_SECONDS,
            what="the node is Ready again",
            process=self.node,
        )

    def import_image(
        self, reference: str, folder: Path, *, entrypoint: Sequence[str], env: Mapping[str, str]
    ) -> str | None:
        """Put an image into the node's store; its digest."""
        return self._images.add(reference, folder, entrypoint=list(entrypoint), env=dict(env))

    def _keeper(self) -> Process:
        """The parent of the pods' processes: pods outlive a restart of the node program, not the sandbox."""
        argv = [
            sys.executable,
            "-m",
            "include.sandbox.node.keeper",
            "--supervised",
            "--state",
            str(self._node_state),
        ]
        return Process("keeper", argv, cwd=REPOSITORY, log=self._log("keeper"), stop_timeout=30)

    def _node_program(self, control_plane: ControlPlane) -> Process:
        flags = {
            "kubeconfig": control_plane.node_kubeconfig,
            "images": self.state_dir / "images",
            "state": self._node_state,
            "node-name": NODE_NAME,
            "egress-socket": control_plane.egress_socket,
            "tls-cert": control_plane.node_pair.certificate,
            "tls-key": control_plane.node_pair.key,
            "client-ca": control_plane.authority_file,
        }
        argv = [sys.executable, "-m", "include.sandbox.node"]
        argv += [part for name, value in flags.items() for part in (f"--{name}", str(value))]
        return Process("node", argv, cwd=REPOSITORY, log=self._log("node"))

    @property
    def _node_state(self) -> Path:
        return self.state_dir / "node"

    def _log(self, name: str) -> Path:
        return self.state_dir / "logs" / f"{name}.log"

    def _node_ready(self) -> bool:
        conditions = self.control_plane.get(f"/api/v1/nodes/{NODE_NAME}")["status"]["conditions"]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def _renewed(self) -> str:
        lease = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE_NAME}"
        return str(self.control_plane.get(lease)["spec"]["renewTime"])

    def __enter__(self) -> SandboxCluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@contextmanager
def open_cluster(state_dir: Path) -> Iterator[ClusterUnderTest]:
    """The cluster KUBECONFIG names, or else the embedded one, started and stopped here."""
    kubeconfig = named_kubeconfig()
    if kubeconfig is not None:
        yield ExternalCluster(kubeconfig)
        return
    with SandboxCluster(state_dir) as cluster:
        yield cluster
