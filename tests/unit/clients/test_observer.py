"""The prober keeps its rate, waits for nobody, and never raises."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from include.clients import observer as observing
from include.clients.observer import Observer
from include.plan.models import Prober, SmokeCheck
from tests.unit.clients.api_server import hang, serving

SMOKE = SmokeCheck(name="alive", path="/healthz")


def prober(url: str, rate: float = 50.0, timeout: float = 0.5) -> Observer:
    return Observer(url, SMOKE, Prober(requests_per_second=rate, timeout_seconds=timeout))


async def test_it_asks_at_its_rate_and_notes_who_answered():
    asked = []

    async def handler(request):
        asked.append(request.transport.get_extra_info("peername"))
        return web.Response(headers={"X-Slot": "green"})

    async with serving(handler) as url:
        observer = prober(url)
        observer.start()
        await asyncio.sleep(0.6)
        probes = await observer.finish()
    assert 15 <= len(probes) <= 35
    assert {(probe.ok, probe.slot) for probe in probes} == {(True, "green")}
    assert len(set(asked)) == len(asked), "each on a connection of its own"
    assert observer.failure is None


async def test_a_server_that_hangs_holds_up_no_request():
    async with serving(hang) as url:
        observer = prober(url, rate=20, timeout=0.3)
        observer.start()
        await asyncio.sleep(0.6)
        probes = await observer.finish()
    assert len(probes) >= 8, "an open loop: nobody waits for the answers before"
    assert not any(probe.ok for probe in probes)
    assert all(0.25 < probe.seconds < 1.0 for probe in probes)
    assert "no answer within 0.3 s" in probes[0].problem


async def test_a_caller_that_blocks_its_own_loop_loses_nothing():
    async def handler(_):
        return web.Response()

    # The server is in this loop, too: it is the caller that must not matter, so it blocks briefly and often.
    async with serving(handler) as url:
        observer = prober(url)
        observer.start()
        for _ in range(10):
            time.sleep(0.04)
            await asyncio.sleep(0.02)
        probes = await observer.finish()
    assert len(probes) >= 15
    assert all(probe.ok for probe in probes)


async def test_nobody_there_is_a_result():
    observer = prober("http://127.0.0.1:1")
    observer.start()
    await asyncio.sleep(0.1)
    probes = await observer.finish()
    assert probes
    assert not any(probe.ok for probe in probes)
    assert "no connection" in probes[0].problem


async def test_it_says_when_it_fails_itself(monkeypatch):
    async def broken(*_, **__):
        raise RuntimeError("a defect")

    monkeypatch.setattr(observing, "check", broken)
    observer = prober("http://127.0.0.1:1")
    observer.start()
    await asyncio.sleep(0.1)
    assert await observer.finish() == ()
    assert isinstance(observer.failure, RuntimeError)


async def test_it_ends_by_itself_when_it_is_forgotten(monkeypatch):
    monkeypatch.setattr(observing, "LONGEST_SECONDS", 0.1)
    observer = prober("http://127.0.0.1:1")
    observer.start()
    await asyncio.sleep(0.5)
    assert not observer._thread.is_alive()
