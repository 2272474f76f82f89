"""A real Kubernetes control plane as processes on loopback ports: etcd, API server, controllers, scheduler."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import ssl
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from include.errors import SandboxError
from include.sandbox import audit
from include.sandbox.addresses import NODE_ADDRESS
from include.sandbox.certificates import Authority, KeyPair, service_account_key, write_kubeconfig
from include.sandbox.control_plane_flags import (
    LOOPBACK,
    Flags,
    api_server_flags,
    component_flags,
    controller_flags,
    etcd_flags,
)
from include.sandbox.lanes import Lane, claim_lane
from include.sandbox.processes import Process, free_port, wait_until
from include.sandbox.supervisor import Supervisor

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
UNIX_PATH_LIMIT = 100  # the kernel's is 107 bytes
START_SECONDS = 60.0

# A kubelet's rights do not cover what its kube-proxy needs; the node program is both.
_NODE_IS_PROXY_TOO = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "sandbox-node-proxier"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:node-proxier"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}],
}


def socket_path(state_dir: Path) -> Path:
    """Where the node program's egress socket is: Unix socket paths are short, state folders need not be."""
    path = state_dir / "egress.sock"
    if len(str(path)) <= UNIX_PATH_LIMIT:
        return path
    digest = hashlib.sha256(str(state_dir).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"stellwerk-{digest}" / "egress.sock"


class ControlPlane:
    """The control plane of one sandbox; state survives `stop` and the next `start`.

    :param state_dir: folder for certificates, etcd's data and logs
    :param programs: path of each of `PROGRAMS`
    :param node_name: the node that may join
    """

    def __init__(self, state_dir: Path, programs: Mapping[str, Path], *, node_name: str = "node-1") -> None:
        self.state_dir = state_dir.resolve()
        self.programs = dict(programs)
        self.node_name = node_name
        self.kubeconfig = self.state_dir / "admin.kubeconfig"
        self.node_kubeconfig = self.state_dir / "node.kubeconfig"
        self.egress_socket = socket_path(self.state_dir)
        self.audit_log = self.state_dir / "logs" / "audit.log"
        self.url = ""
        self._pki = self.state_dir / "pki"
        self._supervisor = Supervisor()
        self._lane: Lane | None = None

    def start(self) -> None:
        """Start everything; return when pods can be created.

        :raises SandboxError: a component does not become ready, with its log's end
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.egress_socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lane = claim_lane(self.state_dir / "lane")
        authority = Authority(self._pki)
        self._admin = authority.issue("admin", "admin", organization="system:masters")
        etcd_port = self._start_etcd(authority)
        port = free_port()
        self.url = f"https://{LOOPBACK}:{port}"
        self._write_kubeconfigs(authority)
        self._start_api_server(authority, self._lane, port, etcd_port)
        self._start_controllers(authority, self._lane)
        self._start_with_kubeconfig("kube-scheduler")
        self._allow_the_node()
        wait_until(
            lambda: self.get("/api/v1/namespaces/default/serviceaccounts/default"),
            deadline_seconds=START_SECONDS,
            what="the default service account exists",
        )

    def restart_api_server(self, *, away_seconds: float = 0.0) -> None:
        """Kill the API server and start it again on the same port; its state is etcd's.

        :param away_seconds: how long nobody answers before it is started again
        :raises SandboxError: it does not become ready again
        """
        server, port = self._api_server, self._port
        os.kill(server.pid, signal.SIGKILL)
        server.wait(START_SECONDS)
        time.sleep(away_seconds)
        server.start()
        wait_until(
            lambda: self._answers(port, "/readyz"),
            deadline_seconds=START_SECONDS,
            what="the API server answers again",
            process=server,
        )

    def stop(self) -> None:
        """Stop everything in reverse order."""
        self._supervisor.stop()
        if self._lane is not None:
            self._lane.release()
            self._lane = None

    def check(self) -> None:
        """:raises SandboxError: a component has ended by itself"""
        self._supervisor.check()

    @property
    def authority_file(self) -> Path:
        """Certificate of the authority that signed the API server's."""
        return self._pki / "ca.crt"

    def _process(self, program: str, flags: Flags) -> Process:
        argv: list[str | Path] = [self.programs[program]]
        argv += [f"--{name}={value}" for name, value in flags]
        return Process(program, argv, log=self.state_dir / "logs" / f"{program}.log")

    def _start_etcd(self, authority: Authority) -> int:
        pair = authority.issue("etcd", "etcd", names=[LOOPBACK, "localhost"])
        port = free_port()
        flags = etcd_flags(self.state_dir / "etcd", authority.pair, pair, client_port=port, peer_port=free_port())
        self._supervisor.start(
            self._process("etcd", flags),
            ready=lambda: self._answers(port, "/health"),
            deadline_seconds=START_SECONDS,
        )
        return port

    def _start_api_server(self, authority: Authority, lane: Lane, port: int, etcd_port: int) -> None:
        first = str(next(lane.services.hosts()))
        names = [LOOPBACK, "localhost", first, "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        flags = api_server_flags(
            port=port,
            etcd_port=etcd_port,
            authority=authority.pair,
            serving=authority.issue("kube-apiserver", "kube-apiserver", names=names),
            to_etcd=authority.issue("etcd-client", "kube-apiserver"),
            to_kubelet=authority.issue("kubelet-client", "kube-apiserver", organization="system:masters"),
            account_key=service_account_key(self._pki),
            egress=self._egress_configuration(),
            audit_policy=self._document("audit-policy.yaml", audit.POLICY),
            audit_log=self.audit_log,
            lane=lane,
        )
        self._api_server = self._process("kube-apiserver", flags)
        self._supervisor.start(
            self._api_server, ready=lambda: self._answers(port, "/readyz"), deadline_seconds=START_SECONDS
        )

    def _egress_configuration(self) -> Path:
        transport = {"uds": {"udsName": str(self.egress_socket)}}
        selection = {"name": "cluster", "connection": {"proxyProtocol": "HTTPConnect", "transport": transport}}
        document = {
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [selection],
        }
        return self._document("egress.yaml", document)

    def _document(self, name: str, content: Mapping[str, Any]) -> Path:
        path = self.state_dir / name
        path.write_text(yaml.safe_dump(dict(content)))
        return path

    def _write_kubeconfigs(self, authority: Authority) -> None:
        def write(path: Path, client: KeyPair, user: str) -> None:
            write_kubeconfig(path, self.url, authority.pair, client, user)

        write(self.kubeconfig, self._admin, "admin")
        node = f"system:node:{self.node_name}"
        self.node_pair = authority.issue("node", node, organization="system:nodes", names=[NODE_ADDRESS])
        write(self.node_kubeconfig, self.node_pair, node)
        for component in ("kube-controller-manager", "kube-scheduler"):
            user = f"system:{component}"
            write(self.state_dir / f"{component}.kubeconfig", authority.issue(component, user), user)

    def _start_with_kubeconfig(self, component: str, flags: Flags = ()) -> None:
        port = free_port()
        common = component_flags(self.state_dir / f"{component}.kubeconfig", port)
        # Its own certificate is self-signed and made at start: health is all that is asked, over loopback.
        self._supervisor.start(
            self._process(component, [*common, *flags]),
            ready=lambda: self._answers(port, "/healthz", verify=False),
            deadline_seconds=START_SECONDS,
        )

    def _start_controllers(self, authority: Authority, lane: Lane) -> None:
        flags = controller_flags(authority.pair, service_account_key(self._pki), lane)
        self._start_with_kubeconfig("kube-controller-manager", flags)

    def _request(
        self, port: int, path: str, *, method: str = "GET", body: object = None, verify: bool = True
    ) -> tuple[int, bytes]:
        context = ssl.create_default_context(cafile=str(self.authority_file))
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(self._admin.certificate, self._admin.key)
        connection = http.client.HTTPSConnection(LOOPBACK, port, timeout=5, context=context)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, body=data, headers={"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> dict[str, Any]:
        """An object of the API as admin.

        :raises SandboxError: the API server refuses
        """
        status, body = self._request(self._port, path)
        if status != http.HTTPStatus.OK:
            raise SandboxError(f"GET {path}: {status}", seen=body.decode(errors="replace")[:500])
        document: dict[str, Any] = json.loads(body)
        return document

    @property
    def _port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def _answers(self, port: int, path: str, *, verify: bool = True) -> bool:
        return self._request(port, path, verify=verify)[0] == http.HTTPStatus.OK

    def _allow_the_node(self) -> None:
        path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        wait_until(
            lambda: self._request(self._port, path, method="POST", body=_NODE_IS_PROXY_TOO)[0] in {201, 409},
            deadline_seconds=START_SECONDS,
            what="the node is authorised",
        )

    def __enter__(self) -> ControlPlane:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
