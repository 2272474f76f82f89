"""Owns the mapping between addresses in the cluster's API and the loopback addresses that really serve them.

The API server refuses loopback addresses in EndpointSlices, and nothing in the sandbox may need root. So a pod
is 10.244.x.y in the API while its process binds 127.244.x.y, and a Service's 10.96.a.b is served at 127.96.a.b.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Final

from include.errors import SandboxError

POD_NETWORK: Final = IPv4Network("10.244.0.0/16")
SERVICE_NETWORK: Final = IPv4Network("10.96.0.0/16")
NODE_ADDRESS: Final = "10.244.0.1"
NODE_PORT_ADDRESS: Final = "127.0.0.1"

_LOOPBACK = 127 << 24
_TEN = 10 << 24
_LOWER_BITS = (1 << 24) - 1


class NotAClusterAddress(SandboxError):
    """An address that is neither a pod's nor a Service's."""


def _parse(address: str) -> IPv4Address:
    try:
        return IPv4Address(address)
    except AddressValueError as problem:
        raise NotAClusterAddress(
            "not an IPv4 address", expected="an address like 10.244.1.2", seen=address
        ) from problem


def is_cluster_address(address: str) -> bool:
    """Whether the API knows this address as a pod's or a Service's."""
    try:
        parsed = _parse(address)
    except NotAClusterAddress:
        return False
    return parsed in POD_NETWORK or parsed in SERVICE_NETWORK


def local_address(address: str) -> str:
    """Where a pod's or a Service's cluster address is served on this machine.

    :raises NotAClusterAddress: for anything outside the two networks
    """
    parsed = _parse(address)
    if parsed not in POD_NETWORK and parsed not in SERVICE_NETWORK:
        raise NotAClusterAddress(
            "not an address of the sandbox", expected=f"one of {POD_NETWORK} or {SERVICE_NETWORK}", seen=address
        )
    return str(IPv4Address(_LOOPBACK | int(parsed) & _LOWER_BITS))


def cluster_address(address: str) -> str:
    """The address in the API of what is served at this loopback address: the inverse of :func:`local_address`.

    :raises NotAClusterAddress: when no pod or Service can be served there
    """
    parsed = _parse(address)
    candidate = IPv4Address(_TEN | int(parsed) & _LOWER_BITS)
    if int(parsed) >> 24 != _LOOPBACK >> 24 or (candidate not in POD_NETWORK and candidate not in SERVICE_NETWORK):
        raise NotAClusterAddress("nothing of the sandbox is served there", seen=address)
    return str(candidate)


def pod_addresses(subnet: int) -> tuple[str, ...]:
    """The addresses pods of the sandbox that holds this subnet may get, lowest first.

    Several sandboxes run side by side on one machine, and all pods of a chart want the same port: each sandbox
    holds a /24 of its own (1 … 254; 0 is the node's).
    """
    if not 1 <= subnet <= 254:
        raise NotAClusterAddress("no such pod subnet", expected="1 to 254", seen=str(subnet))
    return tuple(f"10.244.{subnet}.{host}" for host in range(2, 255))
