"""When a release does what: the top-level phases, which the calendar starts, and the hours of T-0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from include.plan.moments import Clock, Offset
from include.plan.rules import Misplaced, PlanModel

PhaseName = Literal["release-preparation", "staging-deploy", "final-check", "release-day", "post-release"]
EnvironmentName = Literal["staging", "production"]
Minutes = Annotated[float, Field(ge=0, le=7 * 24 * 60, allow_inf_nan=False)]


@dataclass(frozen=True)
class Phase:
    """A top-level phase, named as its DAG is, with what holds unless a release says otherwise.

    :param environment: where it acts, and what it decides about
    :param late_minutes: so long after its time the calendar still starts it
    :param minutes: so long it has the environment for itself; 0 for a phase that only looks or asks
    :param params: of its DAG, besides release and environment
    """

    name: PhaseName
    environment: EnvironmentName
    at: str
    late_minutes: float
    minutes: float = 0
    params: Mapping[str, str] = field(default_factory=dict)


PHASES: Final = (
    Phase("release-preparation", "production", "T-7 09:00", late_minutes=24 * 60),
    Phase("staging-deploy", "staging", "T-3 09:00", 6 * 60, minutes=8 * 60, params={"mode": "rehearsal"}),
    Phase("final-check", "production", "T-1 09:00", late_minutes=6 * 60),
    Phase("release-day", "production", "T-0 08:00", late_minutes=30),
    Phase("post-release", "production", "T+0 15:00", late_minutes=24 * 60),
)
"""In the order in which they come."""

NAMES: Final = tuple(phase.name for phase in PHASES)

BY_HAND: Final = tuple(phase for phase in PHASES if phase.name != "staging-deploy")
"""What people may do themselves and say that they have; a rehearsal is proven by its own evidence."""


class PhasePlan(PlanModel):
    """What a release says about one of its phases; what it leaves out is as :data:`PHASES` has it.

    :param at: when the calendar starts it
    :param after: phases that have to have succeeded before; none: the one before it
    :param late_minutes: so long after its time the calendar still starts it; later it is only reported
    :param minutes: so long ``staging-deploy`` has staging for itself; the others' times follow from the day
    """

    at: Offset | None = None
    after: tuple[PhaseName, ...] | None = None
    late_minutes: Annotated[float, Field(ge=2, le=7 * 24 * 60, allow_inf_nan=False)] | None = None
    minutes: Minutes | None = None


@dataclass(frozen=True)
class PlannedPhase:
    """A phase as a release has it."""

    phase: Phase
    at: str
    after: tuple[PhaseName, ...]
    late_minutes: float
    minutes: float


def _dashed(name: str) -> str:
    return name.replace("_", "-")


class Timeline(PlanModel):
    """The top-level phases of a release."""

    model_config = ConfigDict(alias_generator=_dashed)

    release_preparation: PhasePlan = PhasePlan()
    staging_deploy: PhasePlan = PhasePlan()
    final_check: PhasePlan = PhasePlan()
    release_day: PhasePlan = PhasePlan()
    post_release: PhasePlan = PhasePlan()

    @model_validator(mode="after")
    def _after_what_comes_before(self) -> Self:
        for index, planned in enumerate(self.phases):
            if wrong := [name for name in planned.after if name not in NAMES[:index]]:
                raise Misplaced(
                    (planned.phase.name, "after"),
                    f"{wrong[0]} does not come before {planned.phase.name}: the phases come in the order "
                    f"{', '.join(NAMES)}",
                )
        return self

    @model_validator(mode="after")
    def _minutes_where_they_count(self) -> Self:
        for phase in PHASES:
            if not phase.minutes and self._own(phase).minutes is not None:
                raise Misplaced(
                    (phase.name, "minutes"),
                    f"{phase.name} has no minutes: release-day has production until the sign-off, others look",
                )
        return self

    def _own(self, phase: Phase) -> PhasePlan:
        own: PhasePlan = getattr(self, phase.name.replace("-", "_"))
        return own

    @property
    def phases(self) -> tuple[PlannedPhase, ...]:
        """Every phase with its time, in the order in which they come."""
        return tuple(self._planned(index) for index in range(len(PHASES)))

    def phase(self, name: PhaseName) -> PlannedPhase:
        """One phase."""
        return self._planned(NAMES.index(name))

    def _planned(self, index: int) -> PlannedPhase:
        phase = PHASES[index]
        own = self._own(phase)
        return PlannedPhase(
            phase,
            at=own.at or phase.at,
            after=NAMES[max(0, index - 1) : index] if own.after is None else own.after,
            late_minutes=phase.late_minutes if own.late_minutes is None else own.late_minutes,
            minutes=phase.minutes if own.minutes is None else own.minutes,
        )


class Day(PlanModel):
    """The hours of T-0, after the preparation with which ``release-day`` begins. They are not the calendar's."""

    database_migration: Clock = "09:00"
    staging_deploy: Clock = "10:00"
    smoke_tests: Clock = "10:30"
    go_no_go: Clock = "11:00"
    production_deploy: Clock = "11:30"
    cutover: Clock = "12:00"
    clean_up: Clock = "13:00"
    verification: Clock = "14:00"
    sign_off: Clock = "15:00"

    @model_validator(mode="after")
    def _one_after_the_other(self) -> Self:
        hours = list(self.hours.items())
        for (before, earlier), (name, clock) in pairwise(hours):
            if clock <= earlier:
                raise Misplaced((name,), f"{name} ({clock}) has to come after {before} ({earlier})")
        return self

    @property
    def hours(self) -> dict[str, str]:
        """Step → its time, in the order in which they come."""
        return {name: getattr(self, name) for name in type(self).model_fields}
