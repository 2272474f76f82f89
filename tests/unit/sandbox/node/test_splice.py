"""Forwarding loses nothing, whoever closes first and however."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from include.sandbox.node.splice import Listener, connect

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BIG = bytes(range(256)) * 4096 * 8  # 8 MiB: more than all buffers together


@contextlib.asynccontextmanager
async def forwarded(handler: Handler) -> AsyncIterator[tuple[int, Listener]]:
    """A port that is forwarded to a server with this handler."""
    loop = asyncio.get_running_loop()
    open_ones: set[int] = set()

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(id(writer))
        try:
            await handler(reader, writer)
        finally:
            open_ones.discard(id(writer))

    server = await asyncio.start_server(counted, "127.0.0.1", 0, backlog=1024)
    target = server.sockets[0].getsockname()[1]
    listener = Listener(loop, "127.0.0.1", 0, 1024)
    listener.start(lambda client: connect(loop, client, "127.0.0.1", target))
    try:
        yield listener._socket.getsockname()[1], listener
    finally:
        listener.close()
        server.close()
        await server.wait_closed()
        async with asyncio.timeout(10):
            while open_ones:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # the splices see the last ends


async def exchange(port: int, request: bytes, *, end: bool = True) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        if end:
            writer.write_eof()
        return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read())
    writer.close()
    await writer.wait_closed()


async def test_every_byte_arrives_both_ways() -> None:
    async with forwarded(echo) as (port, _):
        assert await exchange(port, BIG) == BIG


async def test_an_answer_after_the_request_has_ended_arrives() -> None:
    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.read()
        for piece in range(5):
            await asyncio.sleep(0.02)
            writer.write(request + str(piece).encode())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with forwarded(slowly) as (port, _):
        assert await exchange(port, b"x") == b"x0x1x2x3x4"


async def test_a_server_that_ends_first_is_heard_to_the_end() -> None:
    async def at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BIG)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with forwarded(at_once) as (port, _):
        assert await exchange(port, b"", end=False) == BIG


async def test_a_slow_reader_slows_the_sender_and_loses_nothing() -> None:
    sent, huge = 0, BIG * 4  # the kernel's own buffers hold up to 10 MiB at each hop

    async def pour(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for start in range(0, len(huge), 65536):
            writer.write(huge[start : start + 65536])
            await writer.drain()
            sent = start
        writer.close()
        await writer.wait_closed()

    async with forwarded(pour) as (port, _):
        client = socket.create_connection(("127.0.0.1", port))
        client.setblocking(False)
        await asyncio.sleep(0.2)
        held_back = sent
        received = bytearray()
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(client, 65536):
            received += data
        client.close()
    assert held_back < len(huge) - 65536
    assert bytes(received) == huge


async def test_a_refusing_server_is_a_reset_for_the_client() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = unused.getsockname()[1]
        loop = asyncio.get_running_loop()
        listener = Listener(loop, "127.0.0.1", 0, 8)
        listener.start(lambda client: connect(loop, client, "127.0.0.1", target))
        with pytest.raises(ConnectionResetError):
            await exchange(listener._socket.getsockname()[1], b"x")
        listener.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_a_reset_reaches_the_client_as_a_reset() -> None:
    async def abort(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        _reset(writer)

    async with forwarded(abort) as (port, _):
        with pytest.raises(ConnectionResetError):
            await exchange(port, b"x", end=False)


async def test_a_reset_reaches_the_server_as_a_reset() -> None:
    seen: asyncio.Future[BaseException | bytes] = asyncio.get_running_loop().create_future()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen.set_result(await reader.read())
        except ConnectionError as problem:
            seen.set_result(problem)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with forwarded(note) as (port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.1)
        _reset(writer)
        async with asyncio.timeout(5):
            assert isinstance(await seen, ConnectionResetError)


async def test_a_closed_listener_refuses_and_leaves_open_connections_alone() -> None:
    async def parrot(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()
        await writer.wait_closed()

    async with forwarded(parrot) as (port, listener):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"two")
        assert await reader.readexactly(3) == b"two"
        writer.close()
        await writer.wait_closed()


async def test_hundreds_of_connections_at_once() -> None:
    async with forwarded(echo) as (port, _):
        requests = [str(number).encode() * 100 for number in range(300)]
        answers = await asyncio.gather(*(exchange(port, request) for request in requests))
    assert answers == requests
