"""The gate of an environment: which roles decide, by how many people, and for how long they are waited for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from include.plan.quorum import most_people
from include.plan.rules import PlanModel, Seconds
from include.plan.staging import AutomaticPhase


class Gate(PlanModel):
    """Who decides. Every role has to say Go, at least ``quorum`` distinct people have to, silence is No-Go.

    :param reminder_seconds: how long before the deadline people are reminded; 0: never; when three quarters of the
        time are over, where it is not given
    :param valid_seconds: how old a Go may be when something is deployed, migrated or cut over because of it,
        counted from the answer, and at least ``timeout_seconds``; null: as old as it likes
    :param automatic: the phase that the plan itself lets act without people (docs/adr/0015); staging's only
    """

    roles: Mapping[str, tuple[str, ...]]
    timeout_seconds: Seconds = 3600.0
    reminder_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    quorum: Annotated[int, Field(ge=2)] = 2
    valid_seconds: Seconds | None = 86_400.0
    automatic: AutomaticPhase | None = None

    @model_validator(mode="after")
    def _decidable(self) -> Self:
        if not self.roles:
            raise ValueError("roles is empty: a gate without roles could never say Go")
        for role, users in self.roles.items():
            if not users or not all(user.strip() for user in users):
                raise ValueError(f"role {role!r} names no user: its Go could never be given")
        if (most := most_people(self.roles)) < self.quorum:
            raise ValueError(
                f"quorum is {self.quorum} and the roles can be spoken for by {most} distinct user(s), one for "
                "each role: the gate could never say Go"
            )
        return self

    @model_validator(mode="after")
    def _reminded_in_time(self) -> Self:
        if self.reminder_seconds is not None and self.reminder_seconds >= self.timeout_seconds:
            raise ValueError(
                f"reminder_seconds ({self.reminder_seconds:g}) is not shorter than timeout_seconds "
                f"({self.timeout_seconds:g}): nobody could be reminded before the deadline"
            )
        return self

    @property
    def go_lasts(self) -> timedelta | None:
        """How old a Go may be; None: its age plays no part.

        It is never less than people are waited for, so that the first Go outlives the wait for the last.
        """
        seconds = self.valid_seconds
        return None if seconds is None else timedelta(seconds=max(seconds, self.timeout_seconds))

    def oldest(self, now: datetime) -> datetime | None:
        """From when on a Go counts now; None where its age plays no part.

        :param now: aware
        """
        lasts = self.go_lasts
        return None if lasts is None else now - lasts

    def only(self, roles: tuple[str, ...]) -> Gate:
        """The gate with these of its roles only; two of their people are enough.

        :raises ValueError: fewer than two distinct people could speak for them
        """
        some = {role: users for role, users in self.roles.items() if role in roles}
        return Gate(
            roles=some,
            timeout_seconds=self.timeout_seconds,
            reminder_seconds=self.reminder_seconds,
            valid_seconds=self.valid_seconds,
            automatic=self.automatic,
        )
