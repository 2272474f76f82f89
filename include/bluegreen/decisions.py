"""The answers a guard can give: go ahead, nothing to do, or no."""

from __future__ import annotations

from dataclasses import dataclass

from include.errors import ReleaseFenced, TrafficError


@dataclass(frozen=True)
class Permitted:
    """It may be done. ``warning`` is for humans; with ``page`` they are called, and it is done all the same."""

    warning: str = ""
    page: bool = False


@dataclass(frozen=True)
class AlreadyThere:
    """The world is as wanted: a retry of something that was done, or somebody did it by hand."""

    reason: str


@dataclass(frozen=True)
class Refused:
    """It must not be done. ``page``: a human has to act now; ``error`` is what a task raises for it."""

    reason: str
    page: bool = False
    kind: type[TrafficError] = TrafficError
    expected: str = ""
    seen: str = ""
    remedy: str = ""

    def error(self) -> TrafficError:
        """The refusal as an exception."""
        return self.kind(self.reason, expected=self.expected, seen=self.seen, remedy=self.remedy)

    @classmethod
    def of(cls, error: TrafficError, *, page: bool = False) -> Refused:
        """A refusal because of ``error``."""
        return cls(error.what, page, type(error), error.expected, error.seen, error.remedy)


Decision = Permitted | AlreadyThere | Refused


def fenced(service: str, held_by: str | None, release_id: str, *, page: bool = False) -> Refused:
    """The refusal of a run that does not hold (or no longer holds) the traffic Service."""
    return Refused(
        f"Service {service} is not held by this release",
        page=page,
        kind=ReleaseFenced,
        expected=f"release id {release_id}",
        seen=held_by or "no release id",
        remedy="let the release that holds it finish, or roll that one back",
    )
