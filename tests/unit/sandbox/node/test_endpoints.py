"""Which endpoints get connections."""

from __future__ import annotations

from typing import Any

from include.sandbox.node.endpoints import Address, backends, frontends, unserved


def endpoint(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions}


def piece(*endpoints: dict[str, Any], port: int = 8080, name: str = "http") -> dict[str, Any]:
    return {"addressType": "IPv4", "ports": [{"name": name, "port": port}], "endpoints": list(endpoints)}


READY = endpoint("10.244.1.2", ready=True, serving=True, terminating=False)
UNREADY = endpoint("10.244.1.3", ready=False, serving=False, terminating=False)
ENDING = endpoint("10.244.1.4", ready=False, serving=True, terminating=True)
DEAD = endpoint("10.244.1.5", ready=False, serving=False, terminating=True)


def test_only_ready_endpoints_while_there_is_one() -> None:
    assert backends([piece(READY, UNREADY, ENDING, DEAD)], "http") == (Address("127.244.1.2", 8080),)


def test_those_that_serve_while_they_end_when_there_is_no_other() -> None:
    assert backends([piece(UNREADY, ENDING, DEAD)], "http") == (Address("127.244.1.4", 8080),)


def test_none_at_all() -> None:
    assert backends([piece(UNREADY, DEAD)], "http") == ()
    assert backends([], "http") == ()


def test_unknown_readiness_counts_as_ready() -> None:
    assert backends([piece({"addresses": ["10.244.1.9"]})], "http") == (Address("127.244.1.9", 8080),)


def test_several_slices_are_one_set() -> None:
    other = endpoint("10.244.1.7", ready=True)
    found = backends([piece(READY), piece(other, port=9090), piece(READY)], "http")
    assert found == (Address("127.244.1.2", 8080), Address("127.244.1.7", 9090))


def test_the_port_is_found_by_name() -> None:
    assert backends([piece(READY)], "metrics") == ()
    assert backends([{**piece(READY), "ports": None}], "http") == ()
    unnamed = {**piece(READY), "ports": [{"port": 1}]}
    assert backends([unnamed], "") == (Address("127.244.1.2", 1),)


def test_addresses_outside_the_sandbox_stay_as_they_are() -> None:
    assert backends([piece(endpoint("192.168.1.1", ready=True))], "http") == (Address("192.168.1.1", 8080),)
    assert backends([{**piece(READY), "addressType": "IPv6"}], "http") == ()


def service(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "namespace": "p"}, "spec": {"clusterIP": "10.96.1.1", **spec}}


def test_a_service_is_served_at_its_cluster_ip_and_its_node_port() -> None:
    (front,) = frontends(service(ports=[{"name": "http", "port": 80, "nodePort": 30080}]))
    assert front.addresses == (Address("127.96.1.1", 80), Address("127.0.0.1", 30080))
    assert (front.service, front.port_name) == ("web", "http")


def test_headless_and_external_services_are_nobodys_business() -> None:
    ports = [{"port": 80}]
    assert frontends(service(clusterIP="None", ports=ports)) == ()
    assert frontends(service(type="ExternalName", clusterIP="", ports=ports)) == ()


def test_what_is_not_served_is_said() -> None:
    udp = service(ports=[{"port": 53, "protocol": "UDP"}], sessionAffinity="ClientIP", externalIPs=["192.168.1.1"])
    assert frontends(udp) == ()
    assert unserved(udp) == ("UDP port 53", "session affinity ClientIP", "external IPs")
    assert unserved(service(ports=[{"port": 80}], sessionAffinity="None")) == ()
