"""Before the window: somebody has to be watching already when the traffic comes (ADR 0010).

An armed watch has opened everything it reads. It answers the cutover, which moves nothing before that, and begins
with the very switch; when the cutover ends without one, there is nothing to watch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from include.bluegreen.fence import LastSwitch, last_switch
from include.bluegreen.state import ServiceState
from include.clients.kubernetes import Cluster, fresh
from include.errors import StellwerkError
from include.watch.config import Armed, WatchConfig, WatchOutcome
from include.watch.steer import Answer

log = logging.getLogger(__name__)

#: states of Airflow in which a cutover moves nothing any more (unless somebody clears it)
OVER: Final = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})

_LOOK_SECONDS: Final = 0.2
_IDLE_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 0.5
_STATE_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Post:
    """What an armed watch works with.

    :param answer: tells a cutover that asks that somebody watches; whether one has asked
    :param cutover_state: Airflow's state of the cutover; None while it has none, or nobody knows
    :param now: seconds since the epoch
    """

    cluster: Cluster
    answer: Callable[[], Awaitable[bool]]
    cutover_state: Callable[[], Awaitable[str | None]]
    now: Callable[[], float] = time.time


def cutover_of(service: ServiceState | None, release_id: str) -> LastSwitch | None:
    """The newest switch of a release that the traffic Service tells of; None while it has made none."""
    moved = last_switch(service) if service else None
    return moved if moved is not None and moved.release == release_id else None


async def until_cut_over(armed: Armed, post: Post) -> LastSwitch | None:
    """Wait until this release has moved the traffic; None when it never will.

    A cluster that gives no answer, a ledger that is out, an Airflow that says nothing: each is waited for. None of
    them lets the cutover go on meanwhile, which needs them as well.
    """
    waiting = _Waiting(armed, post)
    while True:
        # Before the look: what a cutover did before it ended is then seen.
        over = await waiting.over()
        if (moved := await waiting.moved()) is not None:
            return moved
        if over and waiting.cluster_answers:
            return None
        await waiting.answer()
        await asyncio.sleep(_LOOK_SECONDS if waiting.asked else _IDLE_SECONDS)


def not_cut_over(now: float) -> WatchOutcome:
    """How a watch ends that never began."""
    sentence = "the cutover has ended and the traffic was never moved: there is nothing to watch"
    return WatchOutcome(result="NOT_CUT_OVER", sentence=sentence, at=now)


def ordered_early(order: Answer, now: float) -> WatchOutcome:
    """How a watch goes on whose release was to be rolled back before the traffic had come.

    :param order: kept among the outcome's measures
    """
    return WatchOutcome(result="ORDERED", sentence=order.sentence, at=now, measures=order.facts())


def window_of(armed: Armed, value: Any) -> WatchConfig | None:
    """The window that was dumped; None when it is none, or another watch's."""
    try:
        config = WatchConfig.load(value)
    except ValidationError:
        return None
    same = (config.release_id, config.number) == (armed.release_id, armed.number)
    return config if same else None


class _Waiting:
    def __init__(self, armed: Armed, post: Post) -> None:
        self.armed = armed
        self.post = post
        self.asked = False
        self.cluster_answers = False
        self._said = ""
        self._answered_at = self._state_at = float("-inf")

    async def moved(self) -> LastSwitch | None:
        try:
            service = await fresh(self.post.cluster).service(self.armed.environment.traffic.service)
        except StellwerkError as error:
            self._tell(f"the traffic Service cannot be read: {error}")
            self.cluster_answers = False
            return None
        self.cluster_answers = True
        return cutover_of(service, self.armed.release_id)

    async def answer(self) -> None:
        if self.post.now() - self._answered_at < _ANSWER_SECONDS:
            return
        self._answered_at = self.post.now()
        try:
            if await self.post.answer() and not self.asked:
                self.asked = True
                log.info("the cutover has asked and was told that somebody watches")
        except (StellwerkError, TimeoutError) as error:
            self._tell(f"the cutover cannot be told that somebody watches: {error}")

    async def over(self) -> bool:
        if self.post.now() - self._state_at < _STATE_SECONDS:
            return False
        self._state_at = self.post.now()
        state = await self.post.cutover_state()
        return state in OVER

    def _tell(self, sentence: str) -> None:
        if sentence != self._said:
            log.warning("%s", sentence)
        self._said = sentence
