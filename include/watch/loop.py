"""The watch itself: everything is read at its own cadence, and every look at the metrics is judged at once."""

from __future__ import annotations

import asyncio
from typing import Final

from include.slo.account import Account
from include.slo.evaluate import evaluate
from include.slo.verdict import Verdict
from include.steps.lease import renewed_beside
from include.watch.back import blocked, drain_after_back, switch_back
from include.watch.config import Progress, WatchConfig, WatchOutcome
from include.watch.ending import complete, conclusion, undecided
from include.watch.memory import begun, resumed
from include.watch.pages import Pages
from include.watch.rhythm import LONGEST_START_SECONDS, feeding, phase
from include.watch.seeing import feeds, look_once
from include.watch.sightings import Sightings
from include.watch.telling import Teller
from include.watch.world import World

_AGAIN_SECONDS: Final = 0.5


async def watch(config: WatchConfig, world: World) -> WatchOutcome:
    """Watch until the window ends, a trigger fires, a human is needed, or somebody else moves the traffic.

    Whatever does not answer makes the verdict UNKNOWN; it never ends the watch and is never a success. The Lease
    is renewed beside it and has no say in it. It may be cancelled or killed at any moment, and may run twice at
    once: the only thing it changes, the Service, is changed by compare-and-swap.

    :return: PASSED, ROLLED_BACK, ROLLED_BACK_BY_HAND, FENCED, UNDECIDED: it is over. HELD, NOTICE and
        ROLLBACK_BLOCKED: a human has to be called (``outcome.pages``); ``config.after(outcome)`` then goes on
    """
    async with renewed_beside(config.lease_terms, world.cluster):
        watching = _Watching(config, world)
        try:
            return await watching.run()
        finally:
            await watching.teller.close()


class _Watching:
    """One process's part of a watch."""

    def __init__(self, config: WatchConfig, world: World) -> None:
        self.config = config
        self.world = world
        self.rules, self.settings = config.environment.slo, config.environment.watch
        self.seen = Sightings(self.rules, self.settings)
        self.teller = Teller(world)
        self.pages = Pages(frozenset(config.paged))
        self.account: Account = begun(config)
        self.verdict: Verdict | None = None
        self.detected_at: float | None = None
        self.last_look = False

    async def run(self) -> WatchOutcome:
        """Watch to the end; see :func:`watch`."""
        config, world = self.config, self.world
        await asyncio.sleep(phase(config.release_id) * min(self.settings.poll_seconds, LONGEST_START_SECONDS))
        self.account = await resumed(config, world, self.seen)
        async with feeding(feeds(config, world, self.seen), key=config.release_id, now=world.now):
            while True:
                await self._news()
                if outcome := await self._look():
                    return complete(outcome, config, self.account, self.verdict)

    async def _news(self) -> None:
        """Wait for a look at the metrics, for a poll's time at most: silence has to be noticed, too."""
        limit = min(self.settings.poll_seconds, max(0.0, self.config.ends_at - self.world.now()) + 0.01)
        try:
            async with asyncio.timeout(limit):
                await self.seen.news.wait()
        except TimeoutError:
            pass
        self.seen.news.clear()

    async def _look(self) -> WatchOutcome | None:
        now = self.world.now()
        if self.seen.ended:
            return self.seen.ended
        observed = self.seen.observed
        verdict = evaluate(self.rules, self.settings, observed, now, cutover_at=self.config.cutover_at)
        self.verdict, self.account = verdict, self.account.add(observed, verdict, now)
        if verdict.state == "ROLLBACK":
            self._tell(verdict, now)
            return await self._roll_back(verdict, now)
        self.detected_at = None
        self._tell(verdict, now)
        return self._call(verdict, now) or (await self._end(now) if now >= self.config.ends_at else None)

    async def _roll_back(self, verdict: Verdict, now: float) -> WatchOutcome | None:
        """Switch back; None when that was not possible (yet) and whoever has to know does."""
        detected_at = self.detected_at = self.detected_at or now
        told = "blocked" in self.pages.paged
        if self.config.may_switch_back:
            outcome = await switch_back(
                self.config, self.world.cluster, verdict.sentence, detected_at=detected_at, now=self.world.now()
            )
        else:
            outcome = blocked(
                f"{verdict.sentence}; switching back by itself was not permitted", detected_at=detected_at, now=now
            )
        if outcome is None and now - detected_at >= self.settings.page_after_seconds:
            outcome = blocked(
                f"{verdict.sentence}; the cluster has given no answer for {now - detected_at:.0f} s",
                detected_at=detected_at,
                now=now,
            )
        if outcome is None:
            await asyncio.sleep(_AGAIN_SECONDS)
            self.seen.news.set()
        elif outcome.result == "ROLLED_BACK" and outcome.switched_at is not None:
            await drain_after_back(self.config.environment, self.world.cluster, self.config.target, outcome.switched)
        elif outcome.result == "ROLLBACK_BLOCKED" and told:
            outcome = None
        if outcome is None and now >= self.config.ends_at and self.config.hold_until is not None:
            return undecided(self.config, verdict.sentence, now)
        return outcome

    def _call(self, verdict: Verdict, now: float) -> WatchOutcome | None:
        """Call a human, once for each trouble; the window goes on."""
        sentence = self.account.page(verdict, self.settings, now)
        self.pages, call = self.pages.after(
            verdict, sentence, self.seen.probes, now, patience_seconds=self.settings.page_after_seconds
        )
        if call is None:
            return None
        return WatchOutcome(result="NOTICE", sentence=call.sentence, at=now, pages=(call.page,))

    async def _end(self, now: float) -> WatchOutcome | None:
        """The end of the window: one more look at everything, then the judgement of all of it."""
        if not self.last_look:
            self.last_look = True
            await look_once(self.config, self.world, self.seen)
            return None
        if self.config.hold_until is not None:
            return undecided(self.config, self.account.tally.state, now)
        return conclusion(self.config, self.account, self.seen.observed, now)

    def _tell(self, verdict: Verdict, now: float) -> None:
        newest = max(self.seen.probes, key=lambda sample: sample.at, default=None)
        stats = self.account.stats(self.rules.source)
        self.teller.progress(
            Progress(
                at=now,
                state=verdict.state,
                sentence=verdict.sentence,
                seconds_left=max(0.0, self.config.ends_at - now),
                holding=self.config.hold_until is not None,
                requests=stats.requests,
                errors=stats.errors,
                p95_seconds=verdict.stats.p95_seconds,
                probe=newest.state if newest else "",
                polls=self.account.tally.judged + self.account.tally.unknown + self.account.tally.gathering,
            )
        )
        self.teller.checkpoint(self.account, now)
