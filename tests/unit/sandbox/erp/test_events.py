"""Event streams: everybody gets every event, slow clients lose events and nothing else, drain ends all cleanly."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from include.sandbox.erp.app import events as module
from include.sandbox.erp.app.drain import Drain
from include.sandbox.erp.app.events import Hub
from include.sandbox.erp.app.metrics import Metrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def drain() -> Drain:
    return Drain(0, 0)


@pytest.fixture
async def hub(metrics: Metrics, drain: Drain, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    monkeypatch.setattr(module, "_BATCH_SECONDS", 0.02)
    hub = Hub(metrics, drain)
    running = asyncio.create_task(hub.run())
    yield hub
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def active(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("sse_connections_active")


async def test_every_stream_gets_greeting_and_events(hub: Hub, metrics: Metrics) -> None:
    streams = [hub.stream("{}"), hub.stream("{}")]
    for stream in streams:
        assert b"event: hello" in await anext(stream)
    assert active(metrics) == 2
    hub.publish("order", "1")
    hub.publish("order", "2")
    for stream in streams:
        assert await anext(stream) == b"event: order\ndata: 1\n\nevent: order\ndata: 2\n\n"
    for stream in streams:
        await stream.aclose()  # type: ignore[attr-defined]
    assert active(metrics) == 0


async def test_a_quiet_stream_has_a_heartbeat(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.05)
    stream = hub.stream("{}")
    await anext(stream)
    assert await anext(stream) == b": alive\n\n"
    assert await anext(stream) == b": alive\n\n"
    hub.publish("order", "3")
    assert b"data: 3" in await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]


async def test_draining_ends_streams_with_a_hint_when_to_return(hub: Hub, drain: Drain, metrics: Metrics) -> None:
    stream = hub.stream("{}")
    await anext(stream)
    drain.begin()
    parts = [part async for part in stream]
    assert len(parts) == 1
    assert re.match(rb"retry: \d+\nevent: bye\n", parts[0])
    assert active(metrics) == 0


async def test_a_stream_opened_while_draining_ends_at_once(hub: Hub, drain: Drain) -> None:
    drain.begin()
    parts = [part async for part in hub.stream("{}")]
    assert b"event: hello" in parts[0]
    assert b"event: bye" in parts[-1]


async def test_a_client_that_does_not_read_loses_the_oldest_events_only(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BACKLOG", 2)
    stream = hub.stream("{}")
    await anext(stream)
    for number in range(5):
        hub.publish("order", str(number))
        await asyncio.sleep(0.05)
    received = await anext(stream) + await anext(stream) + await anext(stream)
    assert b"data: 4" in received
    assert b"data: 1\n" not in received
    await stream.aclose()  # type: ignore[attr-defined]
