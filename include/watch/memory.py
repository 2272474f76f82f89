"""Going on with a window that another process began: from its account, and from what the sources remember."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from include.errors import StellwerkError
from include.slo.account import Account
from include.slo.evaluate import retention_seconds
from include.slo.samples import Snapshot
from include.slo.source import Source
from include.watch.sightings import Sightings
from include.watch.window import Window
from include.watch.world import World

log = logging.getLogger(__name__)

LIMIT_SECONDS: Final = 15.0


def begun(window: Window, kept: Account | None = None) -> Account:
    """The newest account there is of a window; a fresh one counts from the baselines."""
    known = [account for account in (window.account, kept) if account is not None]
    if known:
        return max(known, key=lambda account: account.tally.last_at or account.began_at)
    return Account.begin(window.baselines, at=window.began_at, source=window.environment.slo.source)


async def remember(window: Window, world: World, seen: Sightings, account: Account) -> None:
    """Give ``seen`` what the sources remember of the time before.

    A source that remembers thereby fills the sliding windows and whatever nobody counted; of one that does not,
    the counters themselves hold what was counted meanwhile.
    """
    for name, baseline in window.baselines.items():
        if not baseline.errors:
            seen.saw_metrics(name, baseline)
    now = world.now()
    keep = retention_seconds(window.environment.slo, window.environment.watch)
    for name, source in world.sources.items():
        counted = account.sources.get(name)
        since = max(window.began_at, min(now - keep, (counted and counted.counted_at) or window.began_at))
        seen.remembered[name] = await _history(source, window, since, now)
        seen.saw_metrics(name, *seen.remembered[name])


async def _history(source: Source, window: Window, since: float, until: float) -> tuple[Snapshot, ...]:
    if since >= until:
        return ()
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            return await source.history(window.target, since, until)
    except TimeoutError:
        log.warning("%s did not tell what it remembers within %g s", source.name, LIMIT_SECONDS)
    except StellwerkError as error:
        log.warning("%s does not tell what it remembers: %s", source.name, error)
    except Exception as error:  # noqa: BLE001 - a defect of a source must not end the watch
        log.warning("%s failed to remember: %s: %s", source.name, type(error).__name__, error)
    return ()
