"""The API server's way into the sandbox."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from include.sandbox.addresses import NotAClusterAddress
from include.sandbox.node.egress import BadRequest, Egress, serving, target


def test_a_connect_request_names_host_and_port() -> None:
    assert target(b"CONNECT 10.244.1.2:8080 HTTP/1.1\r\nHost: x") == ("10.244.1.2", 8080)


@pytest.mark.parametrize(
    "head", [b"", b"GET / HTTP/1.1", b"CONNECT 10.244.1.2 HTTP/1.1", b"CONNECT a:b HTTP/1.1", b"CONNECT"]
)
def test_anything_else_is_refused(head: bytes) -> None:
    with pytest.raises(BadRequest):
        target(head)


def test_addresses_are_mapped() -> None:
    assert serving("10.244.1.2", 80, kubelet_port=1) == ("127.244.1.2", 80)
    assert serving("10.96.0.9", 80, kubelet_port=1) == ("127.96.0.9", 80)
    assert serving("10.244.0.1", 1, kubelet_port=1) == ("127.0.0.1", 1)


@pytest.mark.parametrize(("host", "port"), [("10.244.0.1", 2), ("192.168.1.1", 80), ("example.org", 443)])
def test_nothing_outside_the_sandbox_is_reached(host: str, port: int) -> None:
    with pytest.raises(NotAClusterAddress):
        serving(host, port, kubelet_port=1)


async def ask(path: Path, request: bytes) -> tuple[bytes, bytes]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    rest = await reader.read()
    writer.close()
    await writer.wait_closed()
    return head.split(b"\r\n")[0], rest


async def test_a_tunnel_carries_bytes_that_came_with_the_request(tmp_path: Path) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readexactly(5)).upper())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    egress = Egress(tmp_path / "e.sock", kubelet_port=port)
    egress.start()
    request = f"CONNECT 10.244.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\nhello".encode()
    assert await ask(egress.path, request) == (b"HTTP/1.1 200 Connection established", b"HELLO")
    assert (egress.path.stat().st_mode & 0o777) == 0o600
    egress.stop()
    assert not egress.path.exists()
    server.close()
    await server.wait_closed()


async def test_refusals_carry_a_status(tmp_path: Path) -> None:
    egress = Egress(tmp_path / "e.sock", kubelet_port=1)
    egress.start()
    assert (await ask(egress.path, b"GET / HTTP/1.1\r\n\r\n"))[0].startswith(b"HTTP/1.1 400")
    assert (await ask(egress.path, b"CONNECT 8.8.8.8:53 HTTP/1.1\r\n\r\n"))[0].startswith(b"HTTP/1.1 403")
    assert (await ask(egress.path, b"CONNECT 10.244.254.254:9 HTTP/1.1\r\n\r\n"))[0].startswith(b"HTTP/1.1 502")
    egress.stop()
