"""From the ledger's entries to the draft's model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from include.ledger.chain import head_of
from include.ledger.entry import Entry
from include.report.postmortem.answers import orders
from include.report.postmortem.incident import BACK, Incident, chosen, incidents
from include.report.postmortem.marks import BY_HAND, marks, person, spans, switcher
from include.report.postmortem.model import How, PostMortem
from include.report.postmortem.notices import missed, notices
from include.report.postmortem.numbers import numbers
from include.report.postmortem.questions import Asked
from include.report.postmortem.series import limits, over, series
from include.report.postmortem.timeline import timeline

_OUTCOMES: Final = {
    "automatic": "Stellwerk hat selbst zurückgeschaltet",
    "order": "Auf Anweisung von {who} zurückgeschaltet",
    "by-hand": "Von {who} mit dem Rollback von Hand zurückgeschaltet",
    "outside": "An Stellwerk vorbei von Hand zurückgeschaltet",
    "blocked": "Eine Rückschaltung war fällig und nicht möglich",
    "unknown": "Aus dem Ledger geht keine Rückschaltung hervor",
}


def post_mortem(
    entries: Sequence[Entry], *, now: datetime, timezone: str, run_id: str | None = None
) -> PostMortem:
    """Make the draft of one rollback.

    The same entries give the same draft, but for deadlines that pass meanwhile.

    :param entries: of one release in one environment, all runs, in the ledger's order
    :param now: decides whether a message that was not sent is missed or still open
    :param timezone: in which questions tell times
    :param run_id: of the run that cut over, or of one about it; None for the last that was rolled back
    :raises LedgerError: no entries, entries of several releases, or no such run
    """
    found = incidents(entries)
    incident = chosen(found, run_id)
    recorded = series(incident)
    known = marks(incident, recorded)
    by_name = {mark.name: mark for mark in known}
    turning, switched = by_name.get("cutover"), by_name.get("switched")
    recorded = over(recorded, turning.at if turning else None, switched.at if switched else None)
    how, (by, reason) = _how(incident), switcher(incident)
    if not reason:
        reason = _last_words(incident)
    counted, told, allowed = numbers(incident, recorded), notices(incident, switched, now), limits(incident)
    events = timeline(incident, known)
    asked = Asked(incident, how, known, timezone)
    return PostMortem(
        release=incident.release,
        environment=incident.environment,
        run_id=incident.run_id,
        rollback_runs=incident.rollback_runs,
        other_runs=tuple(one.run_id for one in found if one.rolled_back and one.run_id != incident.run_id),
        how=how,
        outcome=_OUTCOMES[how].format(who=_who(incident, by)),
        reason=reason,
        marks=known,
        before=tuple(event for event in events if turning and event.at < turning.at),
        timeline=tuple(event for event in events if not turning or event.at >= turning.at),
        spans=spans(known),
        notices=told,
        missed=missed(incident),
        numbers=counted,
        series=recorded,
        limits=allowed,
        questions=asked.all(reason, recorded, allowed, counted, told),
        until=max(entry.at for entry in incident.entries),
        head=head_of(incident.entries).short,
    )


def _how(incident: Incident) -> How:
    if incident.blocked:
        return "blocked"
    if not incident.rolled_back:
        return "unknown"
    by, _ = switcher(incident)
    if by in ("watch", "scheduler"):
        return "automatic"
    if orders(incident):
        return "order"
    outside = any(entry.payload.get("result") == BACK[1] for entry in incident.ends)
    if by == BY_HAND:
        return "outside"
    if not by:
        return "outside" if outside else "unknown"
    return "by-hand"


def _who(incident: Incident, by: str) -> str:
    return next((order.who for order in orders(incident)), person(by))


def _last_words(incident: Incident) -> str:
    """What the watch or the rollback said last where nobody switched."""
    for entry in reversed(incident.of("watch.ended", "rollback.blocked")):
        if told := entry.payload.get("sentence") or entry.payload.get("what"):
            return str(told)
    return ""
