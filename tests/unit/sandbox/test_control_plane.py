"""Lanes keep sandboxes apart; command lines say what the design says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from include.errors import SandboxError
from include.sandbox import lanes
from include.sandbox.addresses import SERVICE_NETWORK
from include.sandbox.certificates import KeyPair
from include.sandbox.control_plane import PROGRAMS, ControlPlane, socket_path
from include.sandbox.control_plane_flags import (
    Flags,
    api_server_flags,
    component_flags,
    controller_flags,
    etcd_flags,
)
from include.sandbox.lanes import LANES, Lane, claim_lane

PAIR = KeyPair(Path("/pki/one.crt"), Path("/pki/one.key"))


@pytest.fixture(autouse=True)
def _own_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    # Between the last lane and the NodePorts of a real cluster (30000…) nobody listens: sandboxes that run on this
    # machine meanwhile hold lanes below and the ports of `processes.PORTS`, other test runs some of these.
    monkeypatch.setattr(lanes, "FIRST_PORT", 29_600 + os.getpid() % 12 * 32)
    monkeypatch.setattr(lanes, "PORTS_PER_LANE", 2)


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    held = claim_lane(tmp_path / "lane")
    yield held
    held.release()


def test_lanes_share_nothing(tmp_path: Path) -> None:
    held = [claim_lane(tmp_path / str(number)) for number in range(LANES)]
    try:
        ports: set[int] = set()
        networks: list[IPv4Network] = []
        for one in held:
            assert ports.isdisjoint(one.node_ports)
            assert not any(one.services.overlaps(other) for other in networks)
            assert one.services.subnet_of(SERVICE_NETWORK)
            ports.update(one.node_ports)
            networks.append(one.services)
        with pytest.raises(SandboxError, match="too many sandboxes"):
            claim_lane(tmp_path / "one more")
    finally:
        for one in held:
            one.release()


def test_nodeports_stay_clear_of_a_real_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    last = lanes.FIRST_PORT + LANES * lanes.PORTS_PER_LANE
    assert lanes.FIRST_PORT >= 20000
    assert last <= 30000


def test_a_state_folder_keeps_its_lane(tmp_path: Path) -> None:
    first = claim_lane(tmp_path / "lane")
    other = claim_lane(tmp_path / "other")
    other.release()
    first.release()
    again = claim_lane(tmp_path / "other")
    assert again.number == other.number
    with pytest.raises(SandboxError, match="in use"):
        claim_lane(tmp_path / "other")
    again.release()


def test_socket_paths_stay_short(tmp_path: Path) -> None:
    assert socket_path(Path("/state")) == Path("/state/egress.sock")
    deep = Path("/state", *["quite-a-long-name"] * 8)
    assert len(str(socket_path(deep))) <= 100
    assert socket_path(deep) != socket_path(deep / "other")


def value(flags: Flags, name: str) -> str:
    (found,) = [str(content) for key, content in flags if key == name]
    return found


def test_api_server_flags(lane: Lane) -> None:
    flags = api_server_flags(
        port=1,
        etcd_port=2,
        authority=PAIR,
        serving=PAIR,
        to_etcd=PAIR,
        to_kubelet=PAIR,
        account_key=PAIR.key,
        egress=Path("/egress"),
        audit_policy=Path("/audit"),
        audit_log=Path("/log"),
        lane=lane,
    )
    assert value(flags, "endpoint-reconciler-type") == "none"
    assert value(flags, "authorization-mode") == "Node,RBAC"
    assert value(flags, "bind-address") == "127.0.0.1"
    assert not value(flags, "advertise-address").startswith("127.")
    assert value(flags, "service-cluster-ip-range") == str(lane.services)
    assert value(flags, "service-node-port-range") == f"{lane.node_ports[0]}-{lane.node_ports[-1]}"
    assert value(flags, "egress-selector-config-file") == "/egress"
    assert value(flags, "audit-policy-file") == "/audit"
    assert value(flags, "audit-log-path") == "/log"


def test_etcd_asks_everybody_for_a_certificate(tmp_path: Path) -> None:
    flags = etcd_flags(tmp_path / "etcd", PAIR, PAIR, client_port=1, peer_port=2)
    assert value(flags, "client-cert-auth") == value(flags, "peer-client-cert-auth") == "true"
    assert value(flags, "listen-client-urls") == "https://127.0.0.1:1"
    assert value(flags, "force-new-cluster") == "false"
    (tmp_path / "etcd" / "member").mkdir(parents=True)
    flags = etcd_flags(tmp_path / "etcd", PAIR, PAIR, client_port=3, peer_port=4)
    assert value(flags, "force-new-cluster") == "true"


def test_components_elect_nobody(lane: Lane) -> None:
    flags = [*component_flags(Path("/kubeconfig"), 7), *controller_flags(PAIR, PAIR.key, lane)]
    assert value(flags, "leader-elect") == "false"
    assert value(flags, "bind-address") == "127.0.0.1"
    assert value(flags, "service-cluster-ip-range") == str(lane.services)


def test_a_program_that_does_not_start_is_named_and_the_lane_let_go(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path / "state", dict.fromkeys(PROGRAMS, Path("/bin/false")))
    with pytest.raises(SandboxError, match=r"etcd is ready.*ended with code 1"):
        plane.start()
    again = claim_lane(tmp_path / "state" / "lane")
    again.release()
