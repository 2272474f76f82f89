"""The watch of a release: a trigger that fires moves the traffic back, what is not proven waits for a human."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from include.bluegreen.state import ServiceState
from include.slo.account import Account
from include.slo.samples import Observed
from include.watch import reading
from include.watch.back import blocked, drain_after_back, moved_by_others, switch_back
from include.watch.baseline import look
from include.watch.config import WatchConfig, WatchOutcome
from include.watch.ending import conclusion, undecided
from include.watch.reading import LogComparison
from include.watch.rhythm import Feed
from include.watch.seeing import LOOK_LIMIT_SECONDS, service_feed
from include.watch.sightings import Sightings
from include.watch.world import World

_BESIDE_SECONDS: Final = 5.0
_BESIDE_SELDOM_SECONDS: Final = 60.0


class SwitchingBack:
    """See :class:`include.watch.course.Course`."""

    def __init__(self, config: WatchConfig, world: World) -> None:
        self.config = config
        self.world = world

    def feeds(self, seen: Sightings) -> Iterator[Feed]:
        """Whose the traffic is, the slot that was left, the logs of both."""
        rules, poll = self.config.environment.slo, self.config.environment.watch.poll_seconds
        yield service_feed(self.config, self.world, seen, self._moved)
        if rules.source in self.world.sources:
            streams = rules.criteria.sse_connections or rules.criteria.sse_reconnect_ratio
            every = max(poll, _BESIDE_SECONDS if streams else _BESIDE_SELDOM_SECONDS)
            yield Feed("slot that was left", every, _Beside(self.config, self.world, seen).read, needed=False)
        if rules.criteria.logs:
            every = min(max(3 * poll, reading.EVERY_SECONDS), reading.SELDOM_SECONDS)
            yield Feed("logs", every, _Logs(self.config, self.world, seen).read, needed=False, at_end=True)

    async def fired(self, reason: str, *, detected_at: float, now: float) -> WatchOutcome | None:
        """Switch back, and drain the slot that was left."""
        outcome = await self._switched(reason, detected_at)
        if outcome is None and now - detected_at >= self.config.environment.watch.page_after_seconds:
            sentence = f"{reason}; the cluster has given no answer for {now - detected_at:.0f} s"
            outcome = blocked(sentence, detected_at=detected_at, now=now)
        if outcome is not None and outcome.result == "ROLLED_BACK":
            environment = self.config.environment
            await drain_after_back(environment, self.world.cluster, self.config.target, outcome.switched)
        return outcome

    def end(self, account: Account, observed: Observed, now: float) -> WatchOutcome:
        """Passed with proof of health only; else held, and once that is over undecided."""
        if self.config.holding:
            return undecided(self.config, account.tally.state, now)
        return conclusion(self.config, self.config.environment.slo, account, observed, now)

    def _moved(self, service: ServiceState | None, now: float) -> WatchOutcome | None:
        return moved_by_others(self.config, service, now=now)

    async def _switched(self, reason: str, detected_at: float) -> WatchOutcome | None:
        now = self.world.now()
        if not self.config.may_switch_back:
            sentence = f"{reason}; switching back by itself was not permitted"
            return blocked(sentence, detected_at=detected_at, now=now)
        return await switch_back(self.config, self.world.cluster, reason, detected_at=detected_at, now=now)


class _Beside:
    def __init__(self, config: WatchConfig, world: World, seen: Sightings) -> None:
        self._slot = config.source
        self._source = world.sources[config.environment.slo.source]
        self._seen = seen

    async def read(self, at: float) -> None:
        self._seen.beside = await look(self._source, self._slot, at, LOOK_LIMIT_SECONDS)


class _Logs:
    def __init__(self, config: WatchConfig, world: World, seen: Sightings) -> None:
        self._seen = seen
        self._comparison = LogComparison(
            world.cluster,
            config.environment,
            watched=config.target,
            left=config.source,
            since=config.cutover_at,
        )

    async def read(self, at: float) -> None:
        self._seen.logs = await self._comparison.look(at)
