"""What a post-mortem's draft holds. What the record does not tell is None, and has a question of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

MarkName = Literal["cutover", "fault", "detected", "decided", "switched", "drained", "verified", "closed"]
How = Literal["automatic", "order", "by-hand", "outside", "blocked", "unknown"]
NoticeState = Literal["in-time", "late", "missed", "open"]


@dataclass(frozen=True)
class Mark:
    """One of the moments that a rollback is measured by.

    :param actor: the person or component that acted or noticed
    :param how: how the record knows it, one sentence
    :param exact: False when it may have been earlier: ``at`` is the latest possible moment
    """

    name: MarkName
    at: datetime
    actor: str
    how: str
    exact: bool = True


@dataclass(frozen=True)
class Event:
    """One line of the timeline.

    :param sequence: the ledger entry that tells it; 0 when it comes from within one
    """

    at: datetime
    what: str
    actor: str
    detail: str
    sequence: int


@dataclass(frozen=True)
class Span:
    """How long it took from one mark to another; ``exact`` as there."""

    name: str
    length: timedelta
    exact: bool


@dataclass(frozen=True)
class Notice:
    """Something that had to be told to people, and whether it was.

    :param limit: how long after the switch it had to be out
    :param delay: how long after the switch it went out; None when it did not
    :param failed: attempts that the server did not take
    """

    name: str
    limit: timedelta
    delay: timedelta | None
    state: NoticeState
    failed: int = 0


@dataclass(frozen=True)
class Loss:
    """What the prober lost at a switch; ``sent`` and ``lost`` are None when nobody watched.

    :param before: those lost that had ended before the switch was made
    :param sentence: what was seen, or why nothing was
    """

    sent: int | None
    lost: int | None
    before: int
    sentence: str


@dataclass(frozen=True)
class Point:
    """A bucket of the watch's series.

    :param at: its beginning, in seconds since the epoch
    :param seconds: its width
    :param p95_seconds: None when the requests did not tell
    :param state: the worst verdict inside it
    :param probe_ok: what the independent prober saw; None when it did not ask
    """

    at: float
    seconds: float
    requests: int
    errors: int
    p95_seconds: float | None
    state: str
    probe_ok: bool | None

    @property
    def end(self) -> float:
        """Seconds since the epoch."""
        return self.at + self.seconds

    @property
    def error_rate(self) -> float | None:
        """Share of failed requests; None without requests."""
        return self.errors / self.requests if self.requests else None


@dataclass(frozen=True)
class Stretch:
    """A time of which nothing is known, in seconds since the epoch."""

    start: float
    end: float

    @property
    def length(self) -> timedelta:
        """How long."""
        return timedelta(seconds=self.end - self.start)


@dataclass(frozen=True)
class Limits:
    """The rules' limits as the watch recorded them: shares, seconds; None when not recorded."""

    trigger_error_rate: float | None = None
    trigger_p95_seconds: float | None = None
    criterion_error_rate: float | None = None
    criterion_p95_seconds: float | None = None
    window_seconds: float | None = None
    stale_seconds: float | None = None
    poll_seconds: float | None = None


@dataclass(frozen=True)
class Series:
    """The watch's series, in the order of time; empty when none was recorded.

    :param gaps: stretches without any measurement
    :param undecided: stretches with requests, but too few of them for a verdict
    :param unreadable: recorded points that are none
    """

    points: tuple[Point, ...] = ()
    gaps: tuple[Stretch, ...] = ()
    undecided: tuple[Stretch, ...] = ()
    unreadable: int = 0


@dataclass(frozen=True)
class Numbers:
    """What it cost.

    :param requests: served by the faulty version while it was watched
    :param errors: those of them answered with an error
    :param counted: where the two come from, one sentence; says why they are None
    """

    requests: int | None
    errors: int | None
    counted: str
    highest_error_rate: float | None
    highest_p95_seconds: float | None
    forward: Loss
    back: Loss


class Watched(Protocol):
    """A window that was watched, as a picture shows it."""

    @property
    def release(self) -> str:
        """Its version."""

    @property
    def environment(self) -> str:
        """Where."""

    @property
    def series(self) -> Series:
        """What was measured."""

    @property
    def limits(self) -> Limits:
        """What the rules allow."""

    @property
    def numbers(self) -> Numbers:
        """What it cost."""

    def mark(self, name: MarkName) -> Mark | None:
        """The mark of this name; None when the record does not know it."""


@dataclass(frozen=True)
class Question:
    """What the record cannot answer.

    :param about: a short heading
    """

    about: str
    text: str


@dataclass(frozen=True)
class PostMortem:
    """All of a draft.

    :param run_id: of the run that cut the release over
    :param rollback_runs: the runs that took it back
    :param other_runs: runs of the same release that were rolled back, too
    :param outcome: how it ended, one sentence
    :param reason: why the traffic went back, as it was recorded; empty when it was not
    :param before: what happened before the cutover
    :param timeline: what happened from then on
    :param until: the newest entry this was made of
    :param head: of the ledger when that entry was written
    """

    release: str
    environment: str
    run_id: str
    rollback_runs: tuple[str, ...]
    other_runs: tuple[str, ...]
    how: How
    outcome: str
    reason: str
    marks: tuple[Mark, ...]
    before: tuple[Event, ...]
    timeline: tuple[Event, ...]
    spans: tuple[Span, ...]
    notices: tuple[Notice, ...]
    missed: tuple[str, ...]
    numbers: Numbers
    series: Series
    limits: Limits
    questions: tuple[Question, ...]
    until: datetime
    head: str

    def mark(self, name: MarkName) -> Mark | None:
        """The mark of this name; None when the record does not know it."""
        return next((mark for mark in self.marks if mark.name == name), None)
