"""What sandboxes on one machine must not share: NodePorts and the Services' addresses.

A machine has 16 lanes; a sandbox holds one while it runs, by a bound socket that no crash can leave behind.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from include.errors import SandboxError
from include.sandbox.addresses import SERVICE_NETWORK

LANES = 16
# Below the usual NodePort range (30000…): a real cluster's kube-proxy on this machine claims that one.
FIRST_PORT = 20000
PORTS_PER_LANE = 600


@dataclass
class Lane:
    """A sandbox's share of the machine's addresses, held until `release`."""

    number: int
    claim: socket.socket

    @property
    def services(self) -> IPv4Network:
        """Where ClusterIPs come from: a sixteenth of the sandbox's Service network."""
        return list(SERVICE_NETWORK.subnets(prefixlen_diff=4))[self.number]

    @property
    def node_ports(self) -> range:
        """Where NodePorts come from."""
        first = FIRST_PORT + self.number * PORTS_PER_LANE
        return range(first + 1, first + PORTS_PER_LANE)

    def release(self) -> None:
        """Let another sandbox have it."""
        self.claim.close()


def _claim(number: int) -> Lane | None:
    claim = socket.socket()
    try:
        claim.bind(("127.0.0.1", FIRST_PORT + number * PORTS_PER_LANE))
    except OSError:
        claim.close()
        return None
    return Lane(number, claim)


def claim_lane(memory: Path) -> Lane:
    """Hold a free lane; the one `memory` names if it exists, since stored objects carry its addresses.

    :raises SandboxError: none is free, or the remembered one is not
    """
    if memory.exists():
        number = int(memory.read_text())
        lane = _claim(number)
        if lane is None:
            raise SandboxError(
                "the addresses of this sandbox are in use",
                expected=f"nobody listens on 127.0.0.1:{FIRST_PORT + number * PORTS_PER_LANE}",
                remedy=f"stop the other sandbox, or delete {memory.parent} to begin anew",
            )
        return lane
    for number in range(LANES):
        lane = _claim(number)
        if lane is not None:
            memory.parent.mkdir(parents=True, exist_ok=True)
            memory.write_text(str(number))
            return lane
    raise SandboxError("too many sandboxes on this machine", expected=f"at most {LANES}", remedy="stop one")
