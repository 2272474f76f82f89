"""The running version on the new schema: asked from outside until the watch is over, or it fails for too long.

Its end is an absolute time, counted from the migration's record: a watch that was killed goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from include.clients.prober import ProbeResult, run_smoke
from include.errors import FailsOnNewSchema
from include.ledger.store import Ledger
from include.steps.database.backup import utc_now
from include.steps.database.entries import MIGRATION_WATCHED
from include.steps.database.site import database_plan
from include.steps.record import record, recorded
from include.steps.run import ReleaseRun
from include.steps.schema_proof import MIGRATED

log = logging.getLogger(__name__)

Ask = Callable[[], Awaitable[Sequence[ProbeResult]]]


@dataclass(frozen=True)
class Seen:
    """What the watch has seen so far.

    :param rounds: in which every check was made
    :param unknown: rounds that say nothing about the application: what lies between is broken
    :param failing_since: when the failure that lasts began; None while it answers as it should
    :param last: what the last failing round said
    """

    rounds: int = 0
    failed: int = 0
    unknown: int = 0
    failing_since: datetime | None = None
    last: str = ""

    def after(self, results: Sequence[ProbeResult], now: datetime) -> Seen:
        """With one round more; a round that says nothing neither begins nor ends a failure. Pure."""
        wrong = [one for one in results if not one.ok]
        counted = replace(self, rounds=self.rounds + 1)
        if not wrong and results:
            return replace(counted, failing_since=None)
        if not any(one.usable for one in wrong):
            return replace(counted, unknown=self.unknown + 1)
        said = "; ".join(one.sentence for one in wrong)
        return replace(counted, failed=self.failed + 1, failing_since=self.failing_since or now, last=said)

    def failed_for(self, now: datetime) -> float:
        """Seconds that the present failure has lasted; 0 without one."""
        return (now - self.failing_since).total_seconds() if self.failing_since else 0.0


async def watch_schema(
    run: ReleaseRun, ledger: Ledger, *, ask: Ask | None = None, now: Callable[[], datetime] = utc_now
) -> dict[str, Any]:
    """Watch the running version after its schema was migrated; ends at once where nothing was.

    :param ask: makes one round of checks; None: the environment's, at its public URL
    :raises FailsOnNewSchema: it failed for longer than the environment's ``down_seconds``, or at the end, or no
        round said anything; humans decide about the recorded way back
    """
    environment = run.environment
    applied = recorded(ledger, run, MIGRATED)
    if applied is None:
        return {"watched": False, "sentence": "nothing was migrated"}
    if done := recorded(ledger, run, MIGRATION_WATCHED):
        return {"watched": True, **done.payload}
    ask = ask or _public(run)
    ends = applied.at + timedelta(seconds=database_plan(run).watch_seconds)
    seen = Seen()
    while True:
        seen = seen.after(await ask(), moment := now())
        if seen.failed_for(moment) >= environment.slo.triggers.down_seconds:
            raise _fired(seen, moment)
        if moment >= ends:
            break
        await asyncio.sleep(min(environment.prober.every_seconds, max(0.0, (ends - moment).total_seconds())))
    if seen.unknown == seen.rounds or seen.failing_since is not None:
        raise _fired(seen, moment)
    payload = {"rounds": seen.rounds, "failed": seen.failed, "unknown": seen.unknown, "until": ends.isoformat()}
    return {"watched": True, **record(ledger, run, MIGRATION_WATCHED, payload).payload}


def _public(run: ReleaseRun) -> Ask:
    async def ask() -> Sequence[ProbeResult]:
        return await run_smoke(run.environment.traffic.public_url, run.environment.probes)

    return ask


def _fired(seen: Seen, now: datetime) -> FailsOnNewSchema:
    if seen.failing_since is None:
        what = "nobody knows how the running version does on the new schema"
        told = f"{seen.unknown} of {seen.rounds} rounds said nothing"
    else:
        what = f"the running version fails on the new schema for {seen.failed_for(now):.0f} s"
        told = seen.last
    return FailsOnNewSchema(
        what,
        expected="every check answered as it should",
        seen=told,
        remedy="decide about the recorded way back: the run states what it would lose",
    )
