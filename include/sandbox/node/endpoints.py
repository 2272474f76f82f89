"""Owns which endpoints a Service's port forwards to, as kube-proxy chooses them; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from include.sandbox.addresses import NODE_PORT_ADDRESS, is_cluster_address, local_address
from include.sandbox.node.env import HEADLESS

SERVICE_LABEL: Final = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where to listen, or where to connect to."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Frontend:
    """One port of one Service and the addresses it is served at.

    :param port_name: name of the Service's port, empty when it has none; endpoints are matched by it
    """

    namespace: str
    service: str
    port_name: str
    addresses: tuple[Address, ...]


def reachable(host: str) -> str:
    """Where an endpoint's address is really served; addresses outside the sandbox stay as they are."""
    return local_address(host) if is_cluster_address(host) else host


def frontends(service: Mapping[str, Any]) -> tuple[Frontend, ...]:
    """What a Service wants to be served: its cluster IP and its node ports, TCP only."""
    spec, metadata = service["spec"], service["metadata"]
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") in HEADLESS:
        return ()
    found = []
    for port in spec.get("ports") or []:
        if port.get("protocol", "TCP") != "TCP":
            continue
        addresses = [Address(local_address(spec["clusterIP"]), port["port"])]
        if port.get("nodePort"):
            addresses.append(Address(NODE_PORT_ADDRESS, port["nodePort"]))
        found.append(Frontend(metadata["namespace"], metadata["name"], port.get("name") or "", tuple(addresses)))
    return tuple(found)


def unserved(service: Mapping[str, Any]) -> tuple[str, ...]:
    """What the Service wants and the sandbox's proxy does not do, each in a few words."""
    spec = service["spec"]
    found = [
        f"{port['protocol']} port {port['port']}"
        for port in spec.get("ports") or []
        if port.get("protocol", "TCP") != "TCP"
    ]
    if spec.get("sessionAffinity", "None") != "None":
        found.append(f"session affinity {spec['sessionAffinity']}")
    if spec.get("externalIPs"):
        found.append("external IPs")
    return tuple(found)


def backends(slices: Iterable[Mapping[str, Any]], port_name: str) -> tuple[Address, ...]:
    """The endpoints that get connections: the ready ones; when there is none, those that serve while they end."""
    ready: set[Address] = set()
    ending: set[Address] = set()
    for piece in slices:
        if piece.get("addressType", "IPv4") != "IPv4":
            continue
        number = _port(piece, port_name)
        if number is None:
            continue
        for endpoint in piece.get("endpoints") or []:
            conditions = endpoint.get("conditions") or {}
            addresses = {Address(reachable(host), number) for host in endpoint["addresses"][:1]}
            if conditions.get("ready") is not False:  # nobody knows: counts as ready
                ready |= addresses
            elif conditions.get("serving") and conditions.get("terminating"):
                ending |= addresses
    return tuple(sorted(ready or ending))


def _port(piece: Mapping[str, Any], name: str) -> int | None:
    for port in piece.get("ports") or []:
        if (port.get("name") or "") == name and port.get("protocol", "TCP") == "TCP":
            return None if port.get("port") is None else int(port["port"])
    return None
