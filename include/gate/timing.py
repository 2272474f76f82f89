"""Until when an answer counts, and when people are reminded of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

REMINDED_AT: Final = 0.75
"""Share of the time after which people are reminded, where the plan does not say."""


@dataclass(frozen=True)
class Wait:
    """How long a question waits.

    :param asked_at: aware
    :param deadline: silence until then is a No
    :param remind_at: when people are reminded; None where there is no time for it
    """

    asked_at: datetime
    deadline: datetime
    remind_at: datetime | None

    def next(self, now: datetime) -> timedelta:
        """For how long to wait before looking again: until the reminder, then until the deadline."""
        until = self.remind_at if self.remind_at and now < self.remind_at else self.deadline
        return max(until - now, timedelta(0))

    def is_over(self, now: datetime) -> bool:
        """Whether an answer given now comes too late."""
        return now >= self.deadline

    def reminds(self, now: datetime) -> bool:
        """Whether people are to be reminded now."""
        return self.remind_at is not None and self.remind_at <= now and not self.is_over(now)


def wait(asked_at: datetime, timeout_seconds: float, reminder_seconds: float | None = None) -> Wait:
    """How long a question that is asked now waits.

    :param reminder_seconds: how long before the deadline people are reminded; 0: never; None: when
        :data:`REMINDED_AT` of the time is over
    """
    deadline = asked_at + timedelta(seconds=timeout_seconds)
    before = (1 - REMINDED_AT) * timeout_seconds if reminder_seconds is None else reminder_seconds
    remind_at = deadline - timedelta(seconds=before)
    return Wait(asked_at, deadline, remind_at if asked_at < remind_at < deadline else None)
