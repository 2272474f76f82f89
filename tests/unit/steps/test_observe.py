"""The observation of a switch is evidence and never a condition."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

import pytest
from aiohttp import web

from include.clients.observer import Observer
from include.plan.loader import load_plan, plan_folder
from include.plan.models import Environment
from include.steps import observe
from include.steps.observe import account, witnessed
from tests.unit.clients.api_server import serving


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "LEAD_SECONDS", 0.3)
    monkeypatch.setattr(observe, "LONGEST_SECONDS", 0.5)


def environment(url: str) -> Environment:
    found = load_plan(plan_folder()).environment("production")
    traffic = found.traffic.model_copy(update={"public_url": url})
    return found.model_copy(update={"traffic": traffic})


async def test_what_happens_from_before_to_after_the_switch_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    slot = "blue"

    async def handler(_: web.Request) -> web.Response:
        return web.Response(headers={"X-Slot": slot})

    async with serving(handler) as url:
        with witnessed(environment(url)) as witness, caplog.at_level(logging.INFO):
            assert witness is not None
            await witness.lead()
            slot, at = "green", datetime.now(UTC)
            found = await account(witness, to="green", at=at)
    assert (found["lost"], found["old_after_new"]) == (0, 0)
    (blue, green) = found["stretches"]
    assert (blue[0], green[0]) == ("blue", "green")
    assert blue[3] < -0.2
    assert green[4] > 0.2
    assert "none lost" in found["sentence"]
    assert caplog.records[-1].levelno == logging.INFO


async def test_lost_requests_are_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with witnessed(environment("http://127.0.0.1:1")) as witness:
        found = await account(witness, to="green", at=datetime.now(UTC))
    assert found["lost"] == found["sent"] > 0
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "REQUESTS LOST" in caplog.text


async def test_a_prober_that_cannot_start_blocks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_: Observer) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Observer, "start", no_thread)
    with witnessed(environment("http://127.0.0.1:1")) as witness:
        assert witness is None
        found = await account(witness, to="green", at=datetime.now(UTC))
    assert found == {"sentence": "no observation because the prober could not be started"}


async def test_a_prober_that_fails_is_said_and_blocks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: Observer) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Observer, "_one", broken)
    monkeypatch.setattr(Observer, "_send", broken)
    with witnessed(environment("http://127.0.0.1:1")) as witness:
        await asyncio.sleep(0.1)
        found = await account(witness, to="green", at=datetime.now(UTC))
    assert found == {"sentence": "no observation because the prober failed: a defect"}


async def test_starting_it_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "LEAD_SECONDS", 60.0)
    began = time.monotonic()
    with witnessed(environment("http://127.0.0.1:1")):
        assert time.monotonic() - began < 10


async def test_who_leaves_early_stops_it() -> None:
    with (
        pytest.raises(ValueError, match="a step that fails"),
        witnessed(environment("http://127.0.0.1:1")) as witness,
    ):
        raise ValueError("a step that fails")
    assert witness is not None
    await witness._observer.finish()
    assert not witness._observer._thread.is_alive()
