"""Clients of the event stream come back as told and write down how each stream ended."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from typing import Any

import pytest

from include.sandbox.load.http import Target
from include.sandbox.load.records import Recorder
from include.sandbox.load.streams import StreamClient
from tests.unit.sandbox.load.servers import Handler, request, serving

HEAD = b"HTTP/1.1 200 OK\r\nX-Slot: green\r\nX-Version: 3.0.0\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def watch(target: Target, seconds: float) -> list[dict[str, Any]]:
    out = io.StringIO()
    recorder = Recorder(out)
    running = asyncio.create_task(StreamClient(1, target, "/events", recorder).run())
    await asyncio.sleep(seconds)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    recorder.flush()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def saying(*parts: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        for part in parts:
            writer.write(part)
        await writer.drain()

    return handle


EVENT = chunk(b"retry: 50\nevent: hello\ndata: 1\n\n")


async def test_a_clean_end_is_followed_by_a_quick_return() -> None:
    async with serving(saying(HEAD, EVENT, chunk(b"event: bye\n\n"), b"0\r\n\r\n")) as target:
        streams = await watch(target, 0.5)
    assert len(streams) >= 3
    assert {(stream["end"], stream["events"]) for stream in streams[:-1]} == {("clean", 2)}
    assert streams[0]["slot"] == "green"


@pytest.mark.parametrize(
    ("parts", "end", "error"),
    [
        ((HEAD, EVENT), "cut", "closed"),
        ((b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",), "refused", None),
        ((), "refused", "closed"),
    ],
)
async def test_other_ends_are_told_apart(parts: tuple[bytes, ...], end: str, error: str | None) -> None:
    async with serving(saying(*parts)) as target:
        streams = await watch(target, 0.3)
    assert (streams[0]["end"], streams[0]["error"]) == (end, error)


async def test_the_end_of_the_run_is_no_fault_of_the_server() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(HEAD + EVENT)
        await reader.read()

    async with serving(endless) as target:
        streams = await watch(target, 0.2)
    assert [(stream["end"], stream["events"]) for stream in streams] == [("stopped", 1)]


async def test_a_client_always_ends_when_told_even_while_events_pour_in() -> None:
    async def pouring(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(HEAD)
        while True:
            writer.write(EVENT)
            await writer.drain()
            await asyncio.sleep(0)

    async with serving(pouring) as target:
        clients = [
            asyncio.create_task(StreamClient(number, target, "/events", Recorder(io.StringIO())).run())
            for number in range(20)
        ]
        await asyncio.sleep(0.3)
        for client in clients:
            client.cancel()
        done, pending = await asyncio.wait(clients, timeout=15)
    assert len(done) == 20
    assert not pending
