"""What a rehearsal says about a release that is to go to production. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from include.gate.evidence import Found
from include.ledger.entry import Entry, newest_of

REHEARSED: Final = "rehearsal-completed"
TAKEN_BACK: Final = ("switch.back", "rollback.done")
"""What takes the traffic of staging away from a release."""

PASSED: Final = "passed"
BLOCKER: Final = "blocker"


@dataclass(frozen=True)
class Subject:
    """What is tried, or released.

    :param contents: what pods ran, or are to run, by digest; empty where nobody knows
    :param chart: SHA-256 of its content; empty where nobody knows
    """

    image: str
    contents: tuple[str, ...]
    chart: str
    stellwerk: str

    def facts(self) -> dict[str, Any]:
        """As plain JSON, for the ledger."""
        return {
            "image": self.image,
            "contents": list(self.contents),
            "chart": self.chart,
            "stellwerk": self.stellwerk,
        }

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Subject:
        """Read what :meth:`facts` gave.

        :raises KeyError: it is none
        """
        contents = tuple(map(str, facts["contents"]))
        return cls(str(facts["image"]), contents, str(facts["chart"]), str(facts["stellwerk"]))


@dataclass(frozen=True)
class Rehearsal:
    """What staging has shown of a release.

    :param entries: :data:`REHEARSED` and :data:`TAKEN_BACK` of the release in staging, oldest first
    :param released: what is to be released; None when nobody says
    """

    entries: Sequence[Entry] = ()
    released: Subject | None = None

    @property
    def newest(self) -> Entry | None:
        """The last word on how it went."""
        return newest_of(self.entries, REHEARSED)

    @property
    def taken_back(self) -> Entry | None:
        """What took the release out of staging's traffic since; None when nothing did."""
        last = self.entries[-1] if self.entries else None
        return last if last is not None and self.newest is not None and last.kind in TAKEN_BACK else None


@dataclass(frozen=True)
class Differences:
    """In what a release is not what was rehearsed, in sentences.

    :param other: something else is released
    :param unknown: it cannot be compared
    :param beside: the same is released, by other means
    """

    other: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every sentence, what matters most first."""
        return (*self.other, *self.unknown, *self.beside)


def differences(tried: Mapping[str, Any] | None, released: Subject) -> Differences:
    """Hold what is released against what was rehearsed.

    :param tried: a rehearsal's ``subject``; None when it does not tell
    """
    try:
        known = Subject.of_facts(tried or {})
    except (KeyError, TypeError):
        return Differences(unknown=("the rehearsal does not tell what it was about",))
    other, unknown, beside = [], [], []
    if known.image != released.image:
        other.append(f"rehearsed was the image {known.image}, released is {released.image}")
    if known.contents and released.contents:
        was = ", ".join(known.contents)
        others = (one for one in released.contents if not any(ran.endswith(one) for ran in known.contents))
        other += [f"rehearsed was the image's content {was}, released is {one}" for one in others]
    else:
        unknown.append("whether the image's content is what was rehearsed is not known: no digest is")
    if not known.chart:
        unknown.append("which chart was rehearsed is not known")
    elif known.chart != released.chart:
        other.append("the chart has changed since the rehearsal")
    if known.stellwerk != released.stellwerk:
        beside.append(f"rehearsed was with Stellwerk {known.stellwerk}, this is {released.stellwerk}")
    return Differences(tuple(other), tuple(unknown), tuple(beside))


def against(record: Entry, released: Subject | None) -> Found | None:
    """What speaks against a point that a rehearsal is to settle, or leaves it unknown; None where nothing does.

    :param record: a :data:`REHEARSED`
    """
    told = record.payload
    when = f"{record.at:%Y-%m-%d %H:%M} UTC, run {record.run_id}"
    blocking = [str(one.get("text")) for one in told.get("findings", ()) if one.get("severity") == BLOCKER]
    if (result := told.get("result")) != PASSED or blocking:
        return "open", f"rehearsal {result} at {when}: {'; '.join(blocking) or 'it says not why'}"
    if released is None:
        return "unknown", "what is released is not known, so that the rehearsal may be about something else"
    found = differences(told.get("subject"), released)
    if found.other:
        return "open", f"rehearsed at {when} was something else: {'; '.join(found.other)}"
    return ("unknown", f"rehearsed at {when}; {'; '.join(found.unknown)}") if found.unknown else None
