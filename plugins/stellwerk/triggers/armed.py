"""A watch that waits for its cutover: from the triggerer it answers the cutover, and begins with the switch."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from include.errors import StellwerkError
from include.steps.arming import answer_cutover, begun
from include.steps.steering import standing_order
from include.watch.arming import Post, until_cut_over
from stellwerk.hooks.ledger import aopen_ledger
from stellwerk.triggers.supervisor import SILENT, state_of

if TYPE_CHECKING:
    from include.bluegreen.fence import LastSwitch
    from include.clients.kubernetes import Cluster
    from include.ledger.store import Ledger
    from include.watch.config import Armed, WatchConfig

log = logging.getLogger(__name__)

#: seconds that one call of the ledger may take
LEDGER_SECONDS: Final = 4.0
_AGAIN_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Begun:
    """A window that has begun.

    :param ordered: whether somebody had ordered the rollback before it did
    """

    config: WatchConfig
    ordered: bool


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

    Before the switch the ledger is needed to answer the cutover, which does not go on without it either; after it
    to fix the window: it was written to a moment before, and is asked until it answers.

    :param ti: the task instance of the watch
    :param cutover: id of the task that moves the traffic
    """
    book = Book(armed.environment.connections.ledger)

    async def answer() -> bool:
        return await asyncio.to_thread(answer_cutover, armed, await book.opened())

    async def cutover_state() -> str | None:
        try:
            return await state_of(ti, cutover)
        except SILENT as error:
            log.warning("how the cutover is doing is not known: %s", type(error).__name__)
            return None

    moved = await until_cut_over(armed, Post(cluster, answer, cutover_state))
    if moved is None:
        return None
    log.info("the traffic has come at %s: the window has begun", moved.at.isoformat())
    said = ""
    while True:
        try:
            return await _fixed(armed, book, moved)
        except StellwerkError as error:
            if str(error) != said:
                log.error("the window cannot be fixed, nobody watches: %s", error)  # noqa: TRY400 - it says it all
            said = str(error)
            await asyncio.sleep(_AGAIN_SECONDS)


async def _fixed(armed: Armed, book: Book, moved: LastSwitch) -> Begun:
    ledger = await book.opened()
    config = await asyncio.to_thread(begun, armed, ledger, moved.at)
    order = await asyncio.to_thread(standing_order, config, config, ledger)
    return Begun(config, order is not None)
