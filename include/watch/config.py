"""What a watch is given and what it ends with, as plain JSON: both travel through Airflow's database.

All times are absolute (seconds since the epoch), so whichever process goes on with a watch goes on with the same
window. Nothing here holds a credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Self

from include.bluegreen.lease import Terms
from include.plan.rules import SourceName
from include.plan.slots import Slot
from include.slo.account import Account
from include.slo.samples import Snapshot
from include.slo.timeline import Point
from include.steps.run import lease_terms
from include.watch.window import Page, Portable, Watched, Window

Result = Literal[
    "PASSED",  # every criterion held over the whole window
    "ROLLED_BACK",  # a trigger fired and the watch switched back
    "ROLLED_BACK_BY_HAND",  # somebody else did
    "ROLLBACK_BLOCKED",  # a trigger fired and nothing could be moved: a human has to act
    "HELD",  # the window is over without proof of health: a human decides
    "NOTICE",  # a human has to know now; the same window goes on
    "FENCED",  # the Service belongs to another release, or names neither slot
    "UNDECIDED",  # held, and nobody decided in time
    "ACCEPTED",  # by a human, with a reason
    "ORDERED",  # a human had ordered the rollback before the traffic came: it is made now
    "NOT_CUT_OVER",  # the cutover has ended and the traffic never came
    "FIRED",  # a trigger fired in a watch that moves nothing: a human decides
    "MOVED",  # somebody moved the traffic, and such a watch has no more to look at
]


class Baselines(Portable):
    """What each source said of the slot that is going to be watched, just before the traffic came."""

    baselines: Mapping[SourceName, Snapshot] = {}


class Kept(Portable):
    """The account of a window so far, kept for whichever process goes on with it."""

    account: Account


class Armed(Watched):
    """The watch of a release before its window: what is known of it while the traffic has not come yet.

    :param source: slot the traffic comes from, and goes back to
    :param started_by: the user who started the run
    """

    source: Slot
    started_by: str | None = None

    @property
    def lease_terms(self) -> Terms:
        """Under what the release holds the environment."""
        return lease_terms(self.environment, self.release_id, self.started_by)

    def window(
        self,
        cutover_at: float,
        began_at: float,
        baselines: Mapping[SourceName, Snapshot],
        *,
        may_switch_back: bool,
    ) -> WatchConfig:
        """The watch, now that the traffic has come; for the parameters see there."""
        return WatchConfig(
            **dict(self),
            cutover_at=cutover_at,
            began_at=began_at,
            deadline=began_at + self.environment.watch.seconds,
            baselines=baselines,
            may_switch_back=may_switch_back,
        )


class WatchConfig(Armed, Window):
    """Everything the watch of a release needs to know; no credentials.

    It begins with the cutover, or later for a window that a human asked for after one that had ended, which has no
    baselines; those of the first were taken just before the cutover.

    :param cutover_at: when the traffic came; seconds since the epoch
    :param may_switch_back: whether the watch may act by itself, decided before the cutover
    :param hold_until: set once the window is over without proof of health: until then the watch goes on for the
        sake of its triggers, and a human decides; seconds since the epoch
    """

    cutover_at: float
    may_switch_back: bool
    hold_until: float | None = None

    @property
    def changed_at(self) -> float:
        """When the traffic came."""
        return self.cutover_at

    @property
    def ends_at(self) -> float:
        """When this watch ends at the latest: the window's deadline, or that of holding."""
        return self.deadline if self.hold_until is None else self.hold_until

    @property
    def holding(self) -> bool:
        """Whether the window is over and goes on for a human's decision."""
        return self.hold_until is not None

    def after(self, outcome: WatchOutcome) -> Self:
        """What goes on after a human was called: NOTICE keeps the window, HELD and ROLLBACK_BLOCKED hold.

        :raises ValueError: the outcome is an end
        """
        if outcome.result not in ("HELD", "ROLLBACK_BLOCKED"):
            return super().after(outcome)
        hold_until = self.hold_until or outcome.at + self.environment.watch.hold_seconds
        return self.called(outcome).model_copy(update={"hold_until": hold_until})

    def extended(self, seconds: float, *, now: float) -> Self:
        """The watch whose window goes on for so many seconds, from its deadline or (once that is over) now."""
        paged = tuple(page for page in self.paged if page != "held")
        deadline = max(self.deadline, now) + seconds
        return self.model_copy(update={"deadline": deadline, "hold_until": None, "paged": paged})


def load_watch(value: Mapping[str, Any]) -> WatchConfig | Armed:
    """Read a watch that was dumped, before its window or in it."""
    return (WatchConfig if "cutover_at" in value else Armed).load(value)


class WatchOutcome(Portable):
    """How a watch ended, or (NOTICE) why a human has to look at it.

    :param at: seconds since the epoch
    :param detected_at: when the verdict was ROLLBACK first, None when it never was
    :param switched_at: when the traffic was moved back, None when it was not
    :param measures: figures of the whole window, as far as they could be read
    :param points: the window as a series for a plot, oldest first
    :param findings: ``(rule, state, sentence)`` of the verdict or summary behind it
    :param pages: what a human has to be called for because of it
    :param paged: what they have been called for before and is not over yet
    :param noticed: what others did to the Service meanwhile, and warnings of the switch
    :param account: of the window so far, for the watch that goes on; None once it is over
    """

    result: Result
    sentence: str
    at: float
    detected_at: float | None = None
    switched_at: float | None = None
    measures: Mapping[str, float | int | str | None] = {}
    points: tuple[Point, ...] = ()
    findings: tuple[tuple[str, str, str], ...] = ()
    pages: tuple[Page, ...] = ()
    paged: tuple[Page, ...] = ()
    noticed: tuple[str, ...] = ()
    number: int = 0
    account: Account | None = None

    @property
    def switched(self) -> datetime:
        """When the traffic was moved back (else when the watch ended), as a time."""
        return datetime.fromtimestamp(self.at if self.switched_at is None else self.switched_at, UTC)


class Progress(Portable):
    """How a watch is doing, for log lines and the UI.

    :param at: seconds since the epoch
    :param state: of the newest verdict
    :param seconds_left: until the window (or holding) ends
    :param holding: the window is over, a human is to decide
    :param probe: what the prober saw last
    """

    at: float
    state: str
    sentence: str
    seconds_left: float
    holding: bool = False
    requests: int = 0
    errors: int = 0
    p95_seconds: float | None = None
    probe: str = ""
    polls: int = 0

    @property
    def line(self) -> str:
        """One line for a log."""
        left = f"{self.seconds_left:.0f} s left" + (" for a decision" if self.holding else "")
        return f"{self.state}, {left}: {self.sentence}" + (f"; prober: {self.probe}" if self.probe else "")
