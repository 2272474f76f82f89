"""The loop is open, nothing is sent twice, and every request is accounted for."""

from __future__ import annotations

import asyncio
import io
import itertools
import time
from collections import Counter
from pathlib import Path

from include.sandbox.load.generator import Generator, Load
from include.sandbox.load.http import Target
from include.sandbox.load.records import Recorder, Recording, read
from tests.unit.sandbox.load.servers import OK, Handler, healthy, request, serving


async def drive(tmp_path: Path, target: Target, seconds: float = 1.0, **load: object) -> Recording:
    out = tmp_path / "run.ndjson"
    with out.open("w") as file:
        recorder = Recorder(file)
        generator = Generator(Load(target, **{"rate": 50, **load}), recorder)  # type: ignore[arg-type]
        await generator.run(asyncio.Event(), seconds=seconds)
        recorder.end(generator.planned)
    return read(out)


async def test_the_rate_and_the_kinds_are_as_asked(tmp_path: Path) -> None:
    async with serving(healthy) as target:
        run = await drive(tmp_path, target, rate=100, keep_alive_ratio=0.3)
    assert run.planned == len(run.requests) == 100
    assert Counter(request.kind for request in run.requests) == {"fresh": 70, "keep-alive": 30}
    assert {request.status for request in run.requests} == {200}
    assert {(request.slot, request.version, request.pod) for request in run.requests} == {("blue", "2.9.0", "p")}
    planned = sorted(request.planned_at for request in run.requests)
    assert all(abs(after - before - 0.01) < 0.001 for before, after in itertools.pairwise(planned))


async def test_slow_answers_do_not_slow_the_requests(tmp_path: Path) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            await asyncio.sleep(0.7)
            writer.write(OK + b"\r\nok")

    async with serving(slow) as target:
        run = await drive(tmp_path, target, seconds=0.5)
    assert run.planned == 25
    assert max(request.sent_at - request.planned_at for request in run.requests) < 0.5
    assert min(request.done_at - request.sent_at for request in run.requests) >= 0.69


async def test_a_timeout_is_a_loss_and_is_not_repeated(tmp_path: Path) -> None:
    asked = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await request(reader)
        asked += 1
        await asyncio.sleep(10)

    async with serving(silent) as target:
        run = await drive(tmp_path, target, seconds=0.2, timeout_seconds=0.3)
    assert {request.error for request in run.requests} == {"timeout"}
    assert asked == run.planned == 10


async def test_a_closed_port_loses_every_request(tmp_path: Path) -> None:
    async with serving(healthy) as target:
        pass
    run = await drive(tmp_path, target, seconds=0.2)
    assert {(request.status, request.error) for request in run.requests} == {(None, "refused")}
    assert run.planned == len(run.requests)


async def test_kept_connections_take_turns_and_are_as_many_as_asked(tmp_path: Path) -> None:
    used: Counter[object] = Counter()

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            used[writer] += 1
            writer.write(OK + b"\r\nok")

    async with serving(count) as target:
        run = await drive(tmp_path, target, keep_alive_ratio=1, connections=5)
    assert sum(used.values()) == run.planned
    # A hiccup of the machine may make all five busy at once; then another is opened, and closed again.
    assert 5 <= len(used) < run.planned / 2
    assert sorted(used.values())[-5] >= 5


def closing_after(number: int) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for left in reversed(range(number)):
            await request(reader)
            writer.write(OK + (b"" if left else b"Connection: close\r\n") + b"\r\nok")

    return handle


async def test_an_announced_close_costs_no_request(tmp_path: Path) -> None:
    async with serving(closing_after(3)) as target:
        run = await drive(tmp_path, target, keep_alive_ratio=1)
    assert {request.status for request in run.requests} == {200}


async def test_a_close_under_a_request_is_a_loss(tmp_path: Path) -> None:
    asked = 0

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await request(reader)
        asked += 1
        writer.write(OK + b"\r\nok")
        await request(reader)  # and closes without an answer
        asked += 1

    async with serving(rude) as target:
        run = await drive(tmp_path, target, keep_alive_ratio=1, connections=1)
    assert {request.error for request in run.requests} == {None, "closed"}
    assert asked == run.planned == len(run.requests), "a lost request is not sent again"


async def test_the_usual_mixture_orders_and_looks_at_its_orders(tmp_path: Path) -> None:
    async def erp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked = await request(reader)
            if asked.startswith(b"POST"):
                writer.write(b"HTTP/1.1 201 Created\r\nLocation: /api/v1/orders/42\r\nContent-Length: 0\r\n\r\n")
            else:
                writer.write(OK + b"\r\nok")

    async with serving(erp) as target:
        run = await drive(tmp_path, target, seconds=2)
    paths = Counter((request.method, request.path) for request in run.requests)
    assert paths[("POST", "/api/v1/orders")] == 10
    assert paths[("GET", "/api/v1/articles")] == 35
    assert paths[("GET", "/api/v1/orders/42")] > 5


async def test_an_odd_location_does_not_lose_a_record(tmp_path: Path) -> None:
    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            writer.write(b"HTTP/1.1 201 Created\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")

    async with serving(odd) as target:
        run = await drive(tmp_path, target, seconds=0.5)
    assert run.planned == len(run.requests)


async def test_stopping_waits_for_what_is_under_way() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        await asyncio.sleep(0.5)
        writer.write(OK + b"\r\nok")

    out = io.StringIO()
    async with serving(slow) as target:
        stop = asyncio.Event()
        generator = Generator(Load(target, rate=50, keep_alive_ratio=0, paths=("/",)), Recorder(out))
        running = asyncio.create_task(generator.run(stop))
        await asyncio.sleep(0.3)
        stop.set()
        began = time.monotonic()
        await running
        assert 0.2 < time.monotonic() - began < 4
    generator._recorder.flush()
    assert out.getvalue().count('"status":200') == generator.planned
