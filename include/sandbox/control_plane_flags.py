"""The command lines of the control plane's programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from include.sandbox.addresses import NODE_ADDRESS
from include.sandbox.certificates import KeyPair
from include.sandbox.lanes import Lane

LOOPBACK = "127.0.0.1"
Flags = Sequence[tuple[str, object]]


def etcd_flags(data: Path, authority: KeyPair, pair: KeyPair, *, client_port: int, peer_port: int) -> Flags:
    """One member, both of its ports behind client certificates."""
    client, peer = f"https://{LOOPBACK}:{client_port}", f"https://{LOOPBACK}:{peer_port}"
    flags: list[tuple[str, object]] = [
        ("name", "sandbox"),
        ("data-dir", data),
        ("unsafe-no-fsync", "true"),  # a power cut may cost the sandbox its state, nothing else
        ("log-level", "warn"),
        ("listen-client-urls", client),
        ("advertise-client-urls", client),
        ("listen-peer-urls", peer),
        ("initial-advertise-peer-urls", peer),
        ("initial-cluster", f"sandbox={peer}"),
        # A state folder that is started again has new ports: what it remembers of its peers is void.
        ("force-new-cluster", "true" if (data / "member").exists() else "false"),
    ]
    for prefix in ("", "peer-"):
        flags += [(f"{prefix}cert-file", pair.certificate), (f"{prefix}key-file", pair.key)]
        flags += [(f"{prefix}trusted-ca-file", authority.certificate), (f"{prefix}client-cert-auth", "true")]
    return flags


def api_server_flags(
    *,
    port: int,
    etcd_port: int,
    authority: KeyPair,
    serving: KeyPair,
    to_etcd: KeyPair,
    to_kubelet: KeyPair,
    account_key: Path,
    egress: Path,
    audit_policy: Path,
    audit_log: Path,
    lane: Lane,
) -> Flags:
    """The API server on loopback, reaching pods and the node through the egress configuration."""
    return [
        ("etcd-servers", f"https://{LOOPBACK}:{etcd_port}"),
        ("etcd-cafile", authority.certificate),
        ("etcd-certfile", to_etcd.certificate),
        ("etcd-keyfile", to_etcd.key),
        ("bind-address", LOOPBACK),
        ("secure-port", port),
        # Endpoints cannot be loopback addresses; nobody maintains those of the kubernetes Service.
        ("advertise-address", NODE_ADDRESS),
        ("endpoint-reconciler-type", "none"),
        ("service-cluster-ip-range", lane.services),
        ("service-node-port-range", f"{lane.node_ports.start}-{lane.node_ports.stop - 1}"),
        ("tls-cert-file", serving.certificate),
        ("tls-private-key-file", serving.key),
        ("client-ca-file", authority.certificate),
        ("kubelet-certificate-authority", authority.certificate),
        ("kubelet-client-certificate", to_kubelet.certificate),
        ("kubelet-client-key", to_kubelet.key),
        ("kubelet-preferred-address-types", "InternalIP"),
        ("service-account-issuer", "https://kubernetes.default.svc"),
        ("service-account-key-file", account_key),
        ("service-account-signing-key-file", account_key),
        ("authorization-mode", "Node,RBAC"),
        ("allow-privileged", "true"),  # the node refuses such pods, as its Event says
        ("egress-selector-config-file", egress),
        ("audit-policy-file", audit_policy),
        ("audit-log-path", audit_log),
        ("audit-log-maxsize", 100),  # MB, of two files
        ("audit-log-maxbackup", 1),
        ("profiling", "false"),
    ]


def component_flags(kubeconfig: Path, port: int) -> Flags:
    """What controllers and scheduler have in common."""
    return [
        ("kubeconfig", kubeconfig),
        ("authentication-kubeconfig", kubeconfig),
        ("authorization-kubeconfig", kubeconfig),
        ("bind-address", LOOPBACK),
        ("secure-port", port),
        ("leader-elect", "false"),
        ("kube-api-qps", 200),
        ("kube-api-burst", 400),
        ("profiling", "false"),
    ]


def controller_flags(authority: KeyPair, account_key: Path, lane: Lane) -> Flags:
    """What only the controllers need."""
    return [
        ("service-account-private-key-file", account_key),
        ("root-ca-file", authority.certificate),
        ("use-service-account-credentials", "true"),
        ("service-cluster-ip-range", lane.services),
        # Without a metrics server an autoscaler only enforces its minimum: let that happen soon.
        ("horizontal-pod-autoscaler-sync-period", "2s"),
    ]
