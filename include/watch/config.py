"""What a watch is given and what it ends with, as plain JSON: both travel through Airflow's database.

All times are absolute (seconds since the epoch), so whichever process goes on with a watch goes on with the same
window. Nothing here holds a credential.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from include.bluegreen.lease import Terms
from include.plan.models import Environment
from include.plan.rules import SourceName
from include.plan.slots import Slot
from include.slo.account import Account
from include.slo.samples import Snapshot
from include.slo.timeline import Point
from include.steps.run import lease_terms

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
]

Page = Literal["metrics", "criterion", "prober", "blocked", "held"]
"""What a human is called for: data missing, a criterion missed for long, a prober that cannot work, a rollback
that is due and impossible, a window that is over without proof of health."""


class Portable(BaseModel):
    """Travels as plain JSON through Airflow's database."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    def dump(self) -> dict[str, Any]:
        """Return plain JSON values."""
        # By way of text: only there infinity (a histogram's last bucket) becomes a string.
        values: dict[str, Any] = json.loads(self.model_dump_json())
        return values

    @classmethod
    def load(cls, value: Any) -> Self:
        """Read what :meth:`dump` wrote."""
        return cls.model_validate(value)


class Baselines(Portable):
    """What each source said of the slot that is going to be watched, just before the traffic came."""

    baselines: Mapping[SourceName, Snapshot] = {}


class Kept(Portable):
    """The account of a window so far, kept for whichever process goes on with it."""

    account: Account


class Armed(Portable):
    """A watch before its window: what is known of it while the traffic has not come yet.

    :param source: slot the traffic comes from, and goes back to
    :param target: slot that is going to be watched
    :param number: 0 for the first window of the run
    :param started_by: the user who started the run
    """

    release_id: str
    version: str
    environment: Environment
    source: Slot
    target: Slot
    number: int = 0
    started_by: str | None = None

    @property
    def lease_terms(self) -> Terms:
        """Under what the release holds the environment."""
        return lease_terms(self.environment, self.release_id, self.started_by)

    @property
    def connection(self) -> str:
        """Id of the Airflow connection to the cluster."""
        return self.environment.connections.kubernetes

    @property
    def namespace(self) -> str:
        """Namespace of the application."""
        return self.environment.namespace

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


class WatchConfig(Armed):
    """Everything a watch needs to know; no credentials.

    :param cutover_at: when the traffic came; seconds since the epoch
    :param began_at: when this window began: the cutover, or later for a window that a human asked for after one
        that had ended; seconds since the epoch
    :param deadline: when the window is over; seconds since the epoch
    :param baselines: what each source said of the watched slot just before the cutover; one that could not be had
        has its reason among its errors. Empty for a later window, which begins with its first look
    :param may_switch_back: whether the watch may act by itself, decided before the cutover
    :param hold_until: set once the window is over without proof of health: until then the watch goes on for the
        sake of its triggers, and a human decides; seconds since the epoch
    :param paged: what humans have been called for already, and are not again before it has been well
    :param account: of the window so far, where the watch goes on after a human was called
    """

    cutover_at: float
    began_at: float
    deadline: float
    baselines: Mapping[SourceName, Snapshot]
    may_switch_back: bool
    hold_until: float | None = None
    paged: tuple[Page, ...] = ()
    account: Account | None = None

    @property
    def ends_at(self) -> float:
        """When this watch ends at the latest: the window's deadline, or that of holding."""
        return self.deadline if self.hold_until is None else self.hold_until

    @property
    def deadline_text(self) -> str:
        """When it ends, for humans."""
        return datetime.fromtimestamp(self.ends_at, UTC).isoformat(timespec="seconds")

    def after(self, outcome: WatchOutcome) -> WatchConfig:
        """What goes on after a human was called: NOTICE keeps the window, HELD and ROLLBACK_BLOCKED hold.

        :raises ValueError: the outcome is an end
        """
        paged = tuple(dict.fromkeys((*outcome.paged, *outcome.pages)))
        if outcome.result == "NOTICE":
            return self.model_copy(update={"paged": paged, "account": outcome.account or self.account})
        if outcome.result not in ("HELD", "ROLLBACK_BLOCKED"):
            raise ValueError(f"{outcome.result} is the end of a watch")
        hold_until = self.hold_until or outcome.at + self.environment.watch.hold_seconds
        return self.model_copy(
            update={"paged": paged, "hold_until": hold_until, "account": outcome.account or self.account}
        )

    def extended(self, seconds: float, *, now: float) -> WatchConfig:
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
