"""A draining process leaves neither too early nor never."""

from __future__ import annotations

import asyncio

from include.sandbox.erp.app.drain import QUIET_SECONDS, Drain


class Clock:
    """A clock that is told the time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def draining(clock: Clock, seconds: float = 3, limit: float = 20) -> Drain:
    drain = Drain(seconds, limit, clock=clock)
    drain.begin()
    return drain


def test_it_is_not_over_before_it_began() -> None:
    clock = Clock()
    drain = Drain(0, 0, clock=clock)
    clock.now += 100
    assert not drain.draining
    assert not drain.over()


def test_it_waits_its_time_even_when_nothing_happens() -> None:
    clock = Clock()
    drain = draining(clock)
    clock.now += 2.9
    assert not drain.over()
    clock.now += 0.1
    assert drain.over()


def test_a_request_in_flight_holds_it() -> None:
    clock = Clock()
    drain = draining(clock)
    drain.enter()
    clock.now += 10
    assert not drain.over()
    drain.leave()
    assert drain.over()


def test_a_request_just_answered_holds_it_for_a_moment() -> None:
    clock = Clock()
    drain = draining(clock)
    clock.now += 3
    drain.enter()
    drain.leave()
    assert not drain.over()
    clock.now += QUIET_SECONDS
    assert drain.over()


def test_nothing_holds_it_beyond_its_limit() -> None:
    clock = Clock()
    drain = draining(clock)
    drain.enter()
    clock.now += 20
    assert drain.over()


def test_a_second_signal_does_not_start_it_again() -> None:
    clock = Clock()
    drain = draining(clock)
    clock.now += 2
    drain.begin()
    clock.now += 1
    assert drain.over()


async def test_waiting_ends_when_it_is_over() -> None:
    drain = Drain(0.1, 1)
    waiting = asyncio.create_task(drain.wait())
    await asyncio.sleep(0.2)
    assert not waiting.done()
    drain.begin()
    await asyncio.wait_for(waiting, 2)
