"""The watch itself: everything is read at its own cadence, and every look at the metrics is judged at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Final
from weakref import WeakKeyDictionary

from include.slo.account import Account
from include.slo.evaluate import evaluate
from include.slo.moment import gap_seconds
from include.slo.verdict import Verdict
from include.steps.lease import renewed_beside
from include.watch.config import Progress, WatchConfig, WatchOutcome
from include.watch.course import Course
from include.watch.ending import complete
from include.watch.memory import begun, remember
from include.watch.pages import call, still_paged
from include.watch.release import SwitchingBack
from include.watch.rhythm import LONGEST_START_SECONDS, Feed, feeding, phase
from include.watch.schema import OnlyTelling, SchemaWindow
from include.watch.seeing import feeds, look_once
from include.watch.sightings import Sightings
from include.watch.telling import Teller
from include.watch.window import Window
from include.watch.world import World

log = logging.getLogger(__name__)

_AGAIN_SECONDS: Final = 0.5
_FIRST_SECONDS: Final = 2.0
_STALL_SECONDS: Final = 3.0
_TOGETHER: Final = 16
_TURNS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]] = WeakKeyDictionary()


async def watch(config: WatchConfig, world: World) -> WatchOutcome:
    """Watch a release until its window ends, a trigger fires, a human is needed, or others move the traffic.

    Whatever does not answer makes the verdict UNKNOWN; it never ends the watch and is never a success. The Lease
    is renewed beside it and has no say in it. It may be cancelled or killed at any moment, and may run twice at
    once: the only thing it changes, the Service, is changed by compare-and-swap.

    :return: PASSED, ROLLED_BACK, ROLLED_BACK_BY_HAND, FENCED, UNDECIDED: it is over. HELD, NOTICE and
        ROLLBACK_BLOCKED: a human has to be called (``outcome.pages``); ``config.after(outcome)`` then goes on
    """
    await _not_all_at_once(config, world)
    async with renewed_beside(config.lease_terms, world.cluster):
        return await _watched(config, world, SwitchingBack(config, world))


async def watch_schema(window: SchemaWindow, world: World) -> WatchOutcome:
    """Watch the running version on a migrated schema; it changes nothing, so it needs no Lease.

    :return: PASSED, HELD, FIRED, MOVED: it is over. NOTICE: a human has to be called, and
        ``window.after(outcome)`` goes on
    """
    await _not_all_at_once(window, world)
    return await _watched(window, world, OnlyTelling(window, world))


async def _not_all_at_once(window: Window, world: World) -> None:
    """After a restart of the triggerer hundreds may go on."""
    if world.now() - window.began_at > LONGEST_START_SECONDS:
        start_seconds = min(window.environment.watch.poll_seconds, LONGEST_START_SECONDS)
        await asyncio.sleep(phase(window.release_id) * start_seconds)


async def _watched(window: Window, world: World, course: Course) -> WatchOutcome:
    watching = _Watching(window, world, course)
    try:
        return await watching.run()
    finally:
        await watching.teller.close()


@contextlib.asynccontextmanager
async def _starting() -> AsyncIterator[None]:
    """Some at a time read what is past: after a restart of the triggerer hundreds want to."""
    loop = asyncio.get_running_loop()
    turns = _TURNS.setdefault(loop, asyncio.Semaphore(_TOGETHER))
    async with turns:
        yield


class _Watching:
    """One process's part of a watch."""

    def __init__(self, window: Window, world: World, course: Course) -> None:
        self.window = window
        self.world = world
        self.course = course
        self.rules, self.settings = window.environment.slo, window.environment.watch
        self.teller = Teller(world)
        self.paged = frozenset(window.paged)
        self.account: Account = begun(window, world.account)
        self.seen = Sightings(
            self.rules, self.settings, probes=deque(self.account.probes), slot=deque(self.account.slot)
        )
        self.verdict: Verdict | None = None
        self.detected_at: float | None = None
        self.last_look = False
        self.reading: tuple[Feed, ...] = ()
        self.needed: tuple[Feed, ...] = ()

    async def run(self) -> WatchOutcome:
        """Watch to the end; see :func:`watch`."""
        window, world = self.window, self.world
        async with _starting():
            await remember(window, world, self.seen, self.account)
        self.reading = (*feeds(window, world, self.seen), *self.course.feeds(self.seen))
        self.needed = tuple(feed for feed in self.reading if feed.needed)
        async with feeding(self.reading, key=window.release_id, now=world.now, first_seconds=_FIRST_SECONDS):
            while True:
                await self._news()
                if outcome := await self._look():
                    return complete(outcome, window, self._handed_on(), self.verdict, self.paged)

    async def _news(self) -> None:
        """Wait for a look at the metrics, for half as long again as a poll: silence has to be noticed, too.

        A process that was stalled knows what was so before: it first waits until everything has been looked at.
        """
        began = self.world.now()
        limit = min(1.5 * self.settings.poll_seconds, max(0.0, self.window.ends_at - began) + 0.01)
        await self._wait(limit)
        woke = self.world.now()
        if (slept := woke - began - limit) <= _STALL_SECONDS:
            return
        log.warning("this process was stalled for %.0f s: everything is looked at anew", slept)
        until = woke + max(_FIRST_SECONDS, 2 * self.settings.poll_seconds)
        while self.world.now() < until and any(feed.read_at < woke for feed in self.needed):
            await self._wait(_AGAIN_SECONDS)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.seen.news.wait()
        self.seen.news.clear()

    async def _look(self) -> WatchOutcome | None:
        now = self.world.now()
        if self.seen.ended:
            return self.seen.ended
        observed = self.seen.observed
        verdict = evaluate(self.rules, self.settings, observed, now, cutover_at=self.window.changed_at)
        self.verdict, self.account = verdict, self.account.add(self.seen.uncounted(), verdict, now)
        self.paged = still_paged(self.paged, verdict)
        self._tell(verdict, now)
        if verdict.state == "ROLLBACK":
            outcome = await self._fired(verdict, now)
        else:
            self.detected_at = None
            outcome = self._call(verdict, now)
        if outcome is None and now >= self.window.ends_at:
            return await self._end(now)
        return outcome

    async def _fired(self, verdict: Verdict, now: float) -> WatchOutcome | None:
        """Act on it; None when that was not possible (yet) and whoever has to know does."""
        detected_at = self.detected_at = self.detected_at or now
        outcome = await self.course.fired(verdict.sentence, detected_at=detected_at, now=now)
        if outcome is None:
            await asyncio.sleep(_AGAIN_SECONDS)
            self.seen.news.set()
            return None
        told = outcome.result == "ROLLBACK_BLOCKED" and "blocked" in self.paged
        return None if told else outcome

    def _call(self, verdict: Verdict, now: float) -> WatchOutcome | None:
        """Call a human, once for each trouble; the window goes on."""
        sentence = self.account.page(verdict, self.settings, now)
        needed = call(self.paged, verdict, sentence)
        if needed is None:
            return None
        return WatchOutcome(result="NOTICE", sentence=needed.sentence, at=now, pages=(needed.page,))

    async def _end(self, now: float) -> WatchOutcome | None:
        """The end of the window: one more look at everything, then the judgement of all of it."""
        if not self.last_look:
            self.last_look = True
            await look_once(self.reading, now)
            return None
        return self.course.end(self.account, self.seen.observed, now)

    def _tell(self, verdict: Verdict, now: float) -> None:
        newest = max(self.seen.probes, key=lambda sample: sample.at, default=None)
        stats = self.account.stats(self.rules.source)
        self.teller.progress(
            Progress(
                at=now,
                state=verdict.state,
                sentence=verdict.sentence,
                seconds_left=max(0.0, self.window.ends_at - now),
                holding=self.window.holding,
                requests=stats.requests,
                errors=stats.errors,
                p95_seconds=verdict.stats.p95_seconds,
                probe=newest.state if newest else "",
                polls=self.account.tally.judged + self.account.tally.unknown + self.account.tally.gathering,
            )
        )
        self.teller.checkpoint(self._handed_on, now)

    def _handed_on(self) -> Account:
        gap = gap_seconds(self.settings, self.rules.triggers.down_seconds)
        return self.account.handed_on(self.seen.observed, gap_seconds=gap)
