"""What a release's report holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from include.ledger.entry import Head
from include.report.postmortem.model import Event, Limits, Loss, Mark, MarkName, Numbers, Series

StepState = Literal["on-time", "late", "early", "missing", "open", "unplanned"]


@dataclass(frozen=True)
class Step:
    """A step of the plan beside what became of it.

    :param planned: when the plan has it; None when the ledger holds no plan
    :param actual: when it happened; None when the ledger does not tell
    :param ended: ``actual`` is the step's end, not its beginning: the ledger holds what is done
    :param sequence: the entry that tells it; 0 without one
    """

    name: str
    told: str
    planned: datetime | None
    actual: datetime | None
    ended: bool
    state: StepState
    sequence: int

    @property
    def delay(self) -> timedelta | None:
        """How much later than planned; negative for earlier."""
        return self.actual - self.planned if self.planned and self.actual else None


@dataclass(frozen=True)
class Deviation:
    """Where the release left its plan.

    :param about: a short heading
    :param sequence: the entry that tells it; 0 when it is what is missing that tells it
    """

    about: str
    sentence: str
    sequence: int = 0


@dataclass(frozen=True)
class Decision:
    """What somebody decided, or did not.

    :param about: what was asked
    :param who: who answered; ``niemand`` for silence
    :param role: for which they answered, where there is one
    """

    at: datetime
    about: str
    who: str
    role: str
    choice: str
    why: str
    environment: str
    sequence: int


@dataclass(frozen=True)
class Proof:
    """A recorded fact that somebody may rely on."""

    at: datetime
    what: str
    found: str
    environment: str
    sequence: int


@dataclass(frozen=True)
class Switch:
    """Traffic that moved, and the requests of the prober that were lost over it."""

    at: datetime
    what: str
    environment: str
    loss: Loss


@dataclass(frozen=True)
class Window:
    """A cutover that was watched, as the pictures show it (:class:`include.report.postmortem.model.Watched`)."""

    release: str
    environment: str
    run_id: str
    marks: tuple[Mark, ...]
    series: Series
    limits: Limits
    numbers: Numbers

    def mark(self, name: MarkName) -> Mark | None:
        """The mark of this name; None when the record does not know it."""
        return next((mark for mark in self.marks if mark.name == name), None)


@dataclass(frozen=True)
class Message:
    """Something that was said to people.

    :param name: as the plan has it
    :param planned: when the plan has it; None where it has no time for it
    :param at: when it went out; None when it did not
    :param failed: attempts that the server did not take
    """

    name: str
    told: str
    audience: str
    environment: str
    planned: datetime | None
    at: datetime | None
    failed: int


@dataclass(frozen=True)
class Happening:
    """A line of the timeline."""

    event: Event
    environment: str


@dataclass(frozen=True)
class ReleaseReport:
    """All of a report.

    :param outcome: how the release ended, one sentence
    :param short: what somebody has to know who reads nothing else, a sentence each
    :param runs: (environment, run) in the order they began
    :param head: of the ledger when the newest entry that this was made of had been written
    :param entries: how many it was made of
    """

    release: str
    previous: str
    title: str
    timezone: str
    outcome: str
    short: tuple[str, ...]
    runs: tuple[tuple[str, str], ...]
    started: datetime
    ended: datetime
    steps: tuple[Step, ...]
    spans: tuple[tuple[str, timedelta], ...]
    deviations: tuple[Deviation, ...]
    decisions: tuple[Decision, ...]
    proofs: tuple[Proof, ...]
    switches: tuple[Switch, ...]
    windows: tuple[Window, ...]
    messages: tuple[Message, ...]
    timeline: tuple[Happening, ...]
    head: Head
    entries: int
