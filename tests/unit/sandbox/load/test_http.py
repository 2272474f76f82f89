"""The client says exactly how an exchange failed, and when a connection can be used again."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from include.errors import SandboxError
from include.sandbox.load.http import Answer, Connection, Lost, Target, compose
from tests.unit.sandbox.load.servers import OK, Handler, healthy, request, serving


async def exchange(handler: Handler) -> tuple[Answer, Connection]:
    async with serving(handler) as target:
        connection = await Connection.open(target)
        try:
            async with asyncio.timeout(3):
                return await connection.exchange(compose(target, "GET", "/")), connection
        finally:
            connection.close()


def raw(answer: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(answer)
        await writer.drain()

    return handle


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (OK + b"\r\nok", 200, b"ok"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            200,
            b"abcde",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", 503, b""),
    ],
)
async def test_answers_are_understood(answer: bytes, status: int, body: bytes) -> None:
    found, _ = await exchange(raw(answer))
    assert (found.status, found.body) == (status, body)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "closed"),
        (OK + b"\r\no", "closed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "closed"),
        (b"nonsense\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", "malformed"),
    ],
)
async def test_a_bad_answer_is_a_loss_with_a_reason(answer: bytes, reason: str) -> None:
    with pytest.raises(Lost) as lost:
        await exchange(raw(answer))
    assert lost.value.reason == reason


async def test_a_reset_is_told_from_a_close() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    with pytest.raises(Lost) as lost:
        await exchange(reset)
    assert lost.value.reason == "reset"


async def test_nobody_listening_is_a_refusal() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Lost) as lost:
            await Connection.open(Target("127.0.0.1", taken.getsockname()[1]))
    assert lost.value.reason == "refused"


async def test_a_connection_is_used_again_until_the_server_says_close() -> None:
    answers = iter([OK + b"\r\nok", OK + b"Connection: close\r\n\r\nok"])

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await request(reader)
            writer.write(answer)
        await reader.read()

    async with serving(handle) as target:
        connection = await Connection.open(target)
        await connection.exchange(compose(target, "GET", "/"))
        assert connection.usable
        await connection.exchange(compose(target, "GET", "/"))
        assert not connection.usable
        connection.close()


async def test_a_connection_the_server_closed_while_idle_is_not_used_again() -> None:
    async with serving(raw(OK + b"\r\nok")) as target:
        connection = await Connection.open(target)
        await connection.exchange(compose(target, "GET", "/"))
        await asyncio.sleep(0.1)
        assert not connection.usable
        connection.close()


async def test_a_body_is_sent_with_its_length() -> None:
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request(reader))
        writer.write(OK + b"\r\nok")

    async with serving(handle) as target:
        connection = await Connection.open(target)
        await connection.exchange(compose(target, "POST", "/x", body=b"{}", close=True))
        connection.close()
    assert seen[0].startswith(b"POST /x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Connection: close\r\n" in seen[0]
    assert seen[0].endswith(b"Content-Length: 2\r\n\r\n{}")


async def test_the_usual_server_works() -> None:
    answer, _ = await exchange(healthy)
    assert answer.headers["x-slot"] == "blue"


@pytest.mark.parametrize("url", ["https://x", "x:80", "http://", "http://x/path", "ftp://x"])
def test_only_plain_http_hosts_are_targets(url: str) -> None:
    with pytest.raises(SandboxError, match="cannot send load"):
        Target.parse(url)


def test_a_target_has_a_default_port() -> None:
    assert Target.parse("http://127.0.0.1") == Target("127.0.0.1", 80)
    assert Target.parse("http://127.0.0.1:8001/") == Target("127.0.0.1", 8001)
