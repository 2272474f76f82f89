"""A release: which version goes live when, what it brings, what is told about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date as Date  # noqa: N812 - the field of a release is called date
from datetime import datetime
from typing import Annotated, Final, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from include.plan.communication import NO_COMMUNICATION, Communication, KnownIssue, Link
from include.plan.moments import ImpossibleMoment, local, moment, zone_of
from include.plan.prober import Text
from include.plan.rules import Misplaced, PlanModel
from include.plan.texts import Version
from include.plan.timeline import Day, PhaseName, PlannedPhase, Timeline

EARLIEST: Final = Date(2000, 1, 1)
LATEST: Final = Date(2199, 12, 31)


class ImageRef(PlanModel):
    """A container image. With a ``digest`` the tag is only a label: what runs is what was approved."""

    repository: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._:/-]*[a-z0-9])?$")]
    tag: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None

    @property
    def reference(self) -> str:
        """``repository:tag``, or ``repository:tag@sha256:…`` when pinned."""
        name = f"{self.repository}:{self.tag}"
        return f"{name}@{self.digest}" if self.digest else name


@dataclass(frozen=True)
class DuePhase:
    """A phase of one release and the point in time (UTC) at which the calendar starts it."""

    planned: PlannedPhase
    at: datetime

    @property
    def name(self) -> PhaseName:
        """Of the phase, and of its DAG."""
        return self.planned.phase.name


class Release(PlanModel):
    """One version going live.

    :param previous: the version that is live until then, and the one a rollback returns to
    :param date: T-0, the day of the release, in ``timezone``
    :param timezone: an IANA name; every time of the release is meant there
    :param timeline: when the top-level phases begin
    :param day: the hours of T-0
    :param downtime_minutes: that users are told to expect
    :param features: what is new, a sentence each
    :param known_issues: what does not work yet
    :param documentation: where users read more
    :param communication: who is told what, and when
    """

    version: Version
    previous: Version
    date: Annotated[Date, Field(ge=EARLIEST, le=LATEST)]
    timezone: Text = "UTC"
    image: ImageRef
    title: str = ""
    notes: str = ""
    timeline: Timeline = Timeline()
    day: Day = Day()
    downtime_minutes: Annotated[int, Field(ge=0, le=24 * 60)] = 0
    features: tuple[Text, ...] = ()
    known_issues: tuple[KnownIssue, ...] = ()
    documentation: tuple[Link, ...] = ()
    communication: Communication = NO_COMMUNICATION

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        zone_of(value)
        return value

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if self.version == self.previous:
            raise ValueError(f"version and previous are both {self.version}: a release has to change something")
        return self

    @model_validator(mode="after")
    def _every_time_exists(self) -> Self:
        for place, day, clock in self._times():
            try:
                local(day, clock, self.zone)
            except ImpossibleMoment as error:
                raise Misplaced(place, str(error)) from error
        return self

    def _times(self) -> Iterator[tuple[tuple[str | int, ...], Date, str]]:
        for planned in self.timeline.phases:
            yield ("timeline", planned.phase.name, "at"), *self._wall(planned.at)
        for name, clock in self.day.hours.items():
            yield ("day", name), self.date, clock
        for index, mail in enumerate(self.communication.mails):
            yield ("communication", "mails", index, "at"), *self._wall(mail.at)
        for index, message in enumerate(self.communication.status):
            yield ("communication", "status", index, "at"), self.date, message.at

    def _wall(self, offset: str) -> tuple[Date, str]:
        days, clock = offset.removeprefix("T").split(" ")
        return Date.fromordinal(self.date.toordinal() + int(days)), clock

    @model_validator(mode="after")
    def _phases_fit(self) -> Self:
        begins, ends = self.phase("release-day").at, self.at("sign_off")
        before: DuePhase | None = None
        for due in self.phases:
            place, planned = ("timeline", due.name, "at"), due.planned
            if before and due.at <= before.at:
                raise Misplaced(
                    place,
                    f"{due.name} is at {planned.at} and {before.name} at {before.planned.at}: "
                    "each phase has to come after the one before it",
                )
            before = due
        if self._wall(self.timeline.phase("release-day").at)[0] != self.date:
            raise Misplaced(("timeline", "release-day", "at"), f"release-day has to be on T-0, {self.date}")
        first, clock = next(iter(self.day.hours.items()))
        if self.at(first) <= begins:
            raise Misplaced(
                ("day", first),
                f"{first} ({clock}) has to come after the preparation with which release-day begins "
                f"({self.timeline.phase('release-day').at})",
            )
        if self.phase("post-release").at < ends:
            raise Misplaced(
                ("timeline", "post-release", "at"),
                f"post-release is at {self.timeline.phase('post-release').at} and the sign-off at "
                f"{self.day.sign_off}: it comes after the day",
            )
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of every time of the release."""
        return ZoneInfo(self.timezone)

    @property
    def phases(self) -> tuple[DuePhase, ...]:
        """The top-level phases with their points in time, in the order in which they come."""
        return tuple(
            DuePhase(planned, moment(self.date, planned.at, self.zone)) for planned in self.timeline.phases
        )

    def phase(self, name: PhaseName) -> DuePhase:
        """One top-level phase."""
        planned = self.timeline.phase(name)
        return DuePhase(planned, moment(self.date, planned.at, self.zone))

    def at(self, step: str) -> datetime:
        """When a step of T-0 (a field of :class:`Day`) is due, in UTC."""
        return local(self.date, self.day.hours[step], self.zone)
