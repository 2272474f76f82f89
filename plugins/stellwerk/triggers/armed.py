"""A watch that waits for its cutover: from the triggerer it answers the cutover, and begins with the switch."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from include.errors import StellwerkError
from include.steps.arming import answer_cutover, begun, cut_over_at
from include.steps.steering import standing_order
from include.watch.arming import Post, until_cut_over, window_of
from stellwerk.hooks.ledger import aopen_ledger
from stellwerk.triggers.supervisor import show, shown, state_of
from stellwerk.triggers.world import LEDGER_SECONDS

if TYPE_CHECKING:
    from include.bluegreen.fence import LastSwitch
    from include.clients.kubernetes import Cluster
    from include.ledger.store import Ledger
    from include.watch.config import Armed, WatchConfig
    from include.watch.steer import Answer

log = logging.getLogger(__name__)

#: XCom of the watch's task: the window that has begun
WINDOW_KEY: Final = "window"

_AGAIN_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Begun:
    """A window that has begun.

    :param order: the rollback that somebody had ordered before it did
    """

    config: WatchConfig
    order: Answer | None = None


class Book:
    """The ledger, opened when it is needed first."""

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._ledger: Ledger | None = None

    async def opened(self) -> Ledger:
        """The ledger; its calls block and belong into a thread.

        :raises LedgerUnavailable: no such connection
        """
        if self._ledger is None:
            self._ledger = await aopen_ledger(self._connection, LEDGER_SECONDS)
        return self._ledger


async def begin(armed: Armed, cluster: Cluster, ti: Any, cutover: str) -> Begun | None:
    """Wait for the cutover; None when it has ended without moving the traffic.

    :param ti: the task instance of the watch
    :param cutover: id of the task that moves the traffic
    """
    book = Book(armed.environment.connections.ledger)

    async def answer() -> bool:
        return await asyncio.to_thread(answer_cutover, armed, await book.opened())

    async def cutover_state() -> str | None:
        try:
            return await state_of(ti, cutover)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the watch
            log.warning("how the cutover is doing is not known: %s", type(error).__name__)
            return None

    moved = await until_cut_over(armed, Post(cluster, answer, cutover_state))
    began = await _window(armed, book, moved, ti)
    if began is not None:
        log.info("the traffic has come: watching until %s", began.config.deadline_text)
        await _keep(began.config, ti)
    return began


async def _window(armed: Armed, book: Book, moved: LastSwitch | None, ti: Any) -> Begun | None:
    """Fix the window, or find the one that was fixed; the ledger was written to a moment ago.

    Where it gives no answer, an earlier trigger of this task has left the window in Airflow.
    """
    said = ""
    while True:
        try:
            return await _fixed(armed, await book.opened(), moved)
        except StellwerkError as error:
            if (kept := await _kept(armed, ti)) is not None:
                log.warning("the window is taken from Airflow: %s", error)
                return Begun(kept)
            if str(error) != said:
                log.error("the window cannot be fixed, nobody watches: %s", error)  # noqa: TRY400 - it says it all
            said = str(error)
            await asyncio.sleep(_AGAIN_SECONDS)


async def _fixed(armed: Armed, ledger: Ledger, moved: LastSwitch | None) -> Begun | None:
    at = moved.at if moved else await asyncio.to_thread(cut_over_at, armed, ledger)
    if at is None:
        return None
    config = await asyncio.to_thread(begun, armed, ledger, at)
    return Begun(config, await asyncio.to_thread(standing_order, config, config, ledger))


async def _keep(config: WatchConfig, ti: Any) -> None:
    """Leave the window where it outlives this process even while the ledger gives no answer."""
    try:
        await show(ti, WINDOW_KEY, config.dump())
    except Exception as error:  # noqa: BLE001 - the ledger has it: no reason to stop watching
        log.warning("the window is in the ledger only: %s", type(error).__name__)


async def _kept(armed: Armed, ti: Any) -> WatchConfig | None:
    try:
        return window_of(armed, await shown(ti, WINDOW_KEY))
    except Exception as error:  # noqa: BLE001 - whatever it is, the ledger is asked again
        log.warning("the window is not to be had from Airflow: %s", type(error).__name__)
        return None
