"""What the triggers of all watches share: imports beside the loop, and what people are shown meanwhile."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from stellwerk.triggers.supervisor import show

if TYPE_CHECKING:
    from include.watch.config import Progress

log = logging.getLogger(__name__)

#: XCom of the watch's task: how it is doing
PROGRESS_KEY: Final = "watch"

_SHOW_SECONDS: Final = 15.0
_KEPT_CHANGES: Final = 10
_LONGEST_SENTENCE: Final = 400


def shower(ti: Any, poll_seconds: float) -> Callable[[Progress], Awaitable[None]]:
    """Show people how a watch is doing; a failure is logged and stops no watch.

    :param ti: the task instance of the watch
    """
    shown = Shown(poll_seconds)

    async def progress(seen: Progress) -> None:
        if (value := shown.next(seen)) is None:
            return
        try:
            await show(ti, PROGRESS_KEY, value)
        except Exception as error:  # noqa: BLE001 - nobody sees it: no reason to stop watching
            log.warning("the progress is not shown: %s", type(error).__name__)

    return progress


class Shown:
    """What people are shown of a watch and how often: on every change, else no more often than they can read.

    :param poll_seconds: of the watch; hundreds of slow watches share one connection to Airflow
    """

    def __init__(self, poll_seconds: float) -> None:
        # A little less than the time, so that a word told every 15 s is not taken for one too many.
        self._every = 0.9 * max(_SHOW_SECONDS, 10 * poll_seconds)
        self._at, self._state = float("-inf"), ""
        self._changes: list[dict[str, Any]] = []

    def next(self, seen: Progress) -> dict[str, Any] | None:
        """The XCom to write now; None when the last one will do."""
        changed = seen.state != self._state
        # A watch that flutters is shown at a readable rate, too.
        if seen.at - self._at < (1.0 if changed else self._every):
            return None
        told = {**seen.dump(), "sentence": seen.sentence[:_LONGEST_SENTENCE]}
        if changed:
            change = {name: told[name] for name in ("at", "state", "sentence")}
            self._changes = [*self._changes, change][-_KEPT_CHANGES:]
        self._at, self._state = seen.at, seen.state
        return {**told, "changes": self._changes}


def import_clients(*more: str) -> None:
    """Import what a watch works with: seconds that must not hold up the other triggers of this process."""
    for name in (
        "airflow.providers.cncf.kubernetes.hooks.kubernetes",
        "include.watch",
        "stellwerk.triggers.world",
        *more,
    ):
        importlib.import_module(name)
