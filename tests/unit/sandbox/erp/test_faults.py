"""Faults begin when they should, with the strength they say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.sandbox.erp.app.faults import EXIT_CODE, Fault, Faults, Injector


class Clock:
    """A clock that is told the time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_number_and_an_object_are_both_understood() -> None:
    text = json.dumps({"latency_seconds": 2, "error_ratio": {"value": 0.3, "after_requests": 150}})
    assert Faults.parse(text) == Faults(error_ratio=Fault(0.3, 150), latency_seconds=Fault(2.0))
    assert Faults.parse("") == Faults.parse("{}") == Faults()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "must be a JSON object"),
        ('{"latency": 1}', "unknown faults.*latency_seconds"),
        ('{"error_ratio": "high"}', "must be numbers"),
        ('{"error_ratio": -1}', "not negative"),
        ('{"error_ratio": {"after_requests": 3}}', "must be a number or"),
        ('{"error_ratio": {"value": 1, "after": 3}}', "must be a number or"),
        ('{"error_ratio": {"value": 1, "after_requests": 1.5}}', "must be numbers"),
        ("{", "Expecting"),
    ],
)
def test_a_wrong_fault_is_named(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Faults.parse(text)


@given(st.integers(0, 100), st.integers(1, 400))
def test_the_error_ratio_is_hit_exactly(percent: int, requests: int) -> None:
    injector = Injector(Faults(error_ratio=Fault(percent / 100)))
    failed = sum(injector.fails() for _ in range(requests))
    assert failed == requests * percent // 100


def test_no_error_before_the_requests_it_waits_for() -> None:
    injector = Injector(Faults(error_ratio=Fault(1.0, after_requests=150)))
    outcomes = []
    for _ in range(200):
        outcomes.append(injector.fails())
        injector.served += 1
    assert outcomes == [False] * 150 + [True] * 50


def test_latency_and_wrong_data_wait_for_their_requests_too() -> None:
    injector = Injector(Faults(latency_seconds=Fault(2, 10), wrong_data=Fault(1, 10)))
    assert injector.latency() == 0
    assert not injector.corrupts()
    injector.served = 10
    assert injector.latency() == 2
    assert injector.corrupts()


def test_readiness_flaps_from_low_to_high_and_back() -> None:
    clock = Clock()
    injector = Injector(Faults(readiness_flap_seconds=Fault(5, 1)), clock=clock)
    assert not injector.unready()
    injector.served = 1
    seen = []
    for clock.now in (100, 104.9, 105, 109.9, 110):
        seen.append(injector.unready())
    assert seen == [True, True, False, False, True]


def test_without_faults_nothing_happens() -> None:
    injector = Injector(Faults())
    injector.served = 10_000
    assert not injector.fails()
    assert not injector.corrupts()
    assert not injector.unready()
    assert injector.latency() == 0


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_crash_ends_the_process_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    exits: list[int] = []
    monkeypatch.setattr("os._exit", exits.append)
    injector = Injector(Faults(crash_after_seconds=Fault(0.05, after_requests=1)))
    running = asyncio.create_task(injector.run())
    await asyncio.sleep(0.3)
    assert exits == []
    injector.served = 1
    await _until(lambda: exits == [EXIT_CODE])
    await running


async def test_memory_grows_at_its_rate() -> None:
    injector = Injector(Faults(memory_growth_bytes_per_second=Fault(4_000_000)))
    running = asyncio.create_task(injector.run())
    await _until(lambda: len(injector._ballast) >= 3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert {len(block) for block in injector._ballast} == {1_000_000}
