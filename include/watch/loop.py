"""The watch itself."""

from __future__ import annotations

from include.watch.config import WatchConfig, WatchOutcome
from include.watch.world import World


async def watch(config: WatchConfig, world: World) -> WatchOutcome:
    """Watch until the window ends, a trigger fires, a human is needed, or somebody else moves the traffic.

    Whatever does not answer makes the verdict UNKNOWN; it never ends the watch and is never a success. The Lease
    is renewed beside it and has no say in it. It may be cancelled or killed at any moment, and may run twice at
    once: the only thing it changes, the Service, is changed by compare-and-swap.

    :return: PASSED, ROLLED_BACK, ROLLED_BACK_BY_HAND, FENCED, UNDECIDED: it is over. HELD, NOTICE and
        ROLLBACK_BLOCKED: a human has to be called (``outcome.pages``); ``config.after(outcome)`` then goes on
    """
    raise NotImplementedError
