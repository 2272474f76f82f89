"""Owns asking the kernel who listens on TCP ports: by netlink, at one price however many connections exist."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from typing import Final

_SOCK_DIAG: Final = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY: Final = 20  # SOCK_DIAG_BY_FAMILY
_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE: Final = 3
_ERROR: Final = 2
_LISTEN_STATE: Final = 1 << 10
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBBI48s")
_ANSWER: Final = struct.Struct(
    "!4xHH4s"
)  # family, state, timer, retransmits; ports; the source's first four bytes
_LOOK_SECONDS: Final = 0.05


def listeners() -> set[tuple[str, int]]:
    """Address and port of every IPv4 listener on this machine.

    :raises OSError: when the kernel does not tell
    """
    request = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _LISTEN_STATE, bytes(48))
    found: set[tuple[str, int]] = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as netlink:
        netlink.settimeout(1.0)
        netlink.send(_HEADER.pack(_HEADER.size + len(request), _BY_FAMILY, _DUMP, 1, 0) + request)
        while True:
            for kind, payload in _messages(netlink.recv(1 << 16)):
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    raise OSError(-struct.unpack_from("=i", payload)[0], "the kernel refused sock_diag")
                port, _, address = _ANSWER.unpack_from(payload)
                found.add((socket.inet_ntoa(address), port))


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


async def until_listening(host: str, port: int, seconds: float) -> None:
    """Wait until something listens there, for at most ``seconds``, without connecting to it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while loop.time() < deadline:
        try:
            known = listeners()
        except OSError:  # no netlink here: the probe itself will find out
            return
        if (host, port) in known or ("0.0.0.0", port) in known:
            return
        await asyncio.sleep(_LOOK_SECONDS)
