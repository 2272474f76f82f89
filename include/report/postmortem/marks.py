"""The moments a rollback is measured by, each with how the record knows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from include.ledger.entry import Entry
from include.report.postmortem.answers import orders, reports
from include.report.postmortem.incident import BACK, Incident
from include.report.postmortem.model import Mark, MarkName, Series, Span
from include.report.postmortem.series import first_bad, limits
from include.report.text import happened, moment

STELLWERK: Final = "stellwerk"
BY_HAND: Final = "by hand"
"""Who switched where a rollback met a selector that somebody had changed past Stellwerk."""

_STARTED_AT = re.compile(r"^manual__(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d:\d\d)")
_SPANS: Final[tuple[tuple[str, MarkName, MarkName], ...]] = (
    ("Umschaltung bis zum ersten Anzeichen", "cutover", "fault"),
    ("Erstes Anzeichen bis Erkennung", "fault", "detected"),
    ("Erkennung bis Entscheidung", "detected", "decided"),
    ("Entscheidung bis Rückschaltung", "decided", "switched"),
    ("Erkennung bis Rückschaltung", "detected", "switched"),
    ("Erstes Anzeichen bis Rückschaltung", "fault", "switched"),
    ("Umschaltung bis Rückschaltung", "cutover", "switched"),
    ("Rückschaltung bis zur Übergabe der offenen Verbindungen", "switched", "drained"),
    ("Rückschaltung bis zum Nachweis", "switched", "verified"),
    ("Rückschaltung bis zum Abschluss", "switched", "closed"),
)


def marks(incident: Incident, series: Series) -> tuple[Mark, ...]:
    """Every moment the record knows, in the order they belong in."""
    switched = _switched(incident)
    detected = _detected(incident)
    back_at = switched.at if switched else None
    found = (
        _cutover(incident),
        _fault(incident, series, detected, back_at),
        detected,
        _decided(incident, detected, switched),
        switched,
        _drained(incident, switched),
        *_proven(incident, switched),
    )
    return tuple(mark for mark in found if mark)


def spans(known: Iterable[Mark]) -> tuple[Span, ...]:
    """How long it took between the marks that are known.

    Times of different clocks may contradict each other: such a span is left out here and asked about.
    """
    by_name = {mark.name: mark for mark in known}
    result = []
    for name, begins, ends in _SPANS:
        first, last = by_name.get(begins), by_name.get(ends)
        if first and last and first.at <= last.at:
            result.append(Span(name, last.at - first.at, first.exact and last.exact))
    return tuple(result)


def contradictions(known: Iterable[Mark]) -> tuple[tuple[Mark, Mark], ...]:
    """Pairs of marks whose order in time is not the order they must have happened in."""
    by_name = {mark.name: mark for mark in known}
    pairs: tuple[tuple[MarkName, MarkName], ...] = (
        ("cutover", "detected"),
        ("detected", "switched"),
        ("decided", "switched"),
        ("cutover", "switched"),
        ("switched", "closed"),
    )
    both = ((by_name.get(first), by_name.get(second)) for first, second in pairs)
    return tuple((one, two) for one, two in both if one and two and one.at > two.at)


def switcher(incident: Incident) -> tuple[str, str]:
    """(who switched back, why), as it was recorded; empty where it was not."""
    for entry in incident.of("switch.back", "rollback.done"):
        by = entry.payload.get("by") or entry.payload.get("switched_by")
        if by:
            return str(by), str(entry.payload.get("reason") or "")
    for entry in reversed(incident.ends):
        if entry.payload.get("result") in BACK:
            by = "watch" if entry.payload["result"] == BACK[0] else ""
            return by, str(entry.payload.get("sentence") or "")
    return "", ""


def person(by: str) -> str:
    """The one who acted: ``rollback (rita)`` and ``watch (rita)`` are rita, ``watch`` is Stellwerk."""
    name = re.sub(r"^(?:rollback|watch) \((.*)\)$", r"\1", by.strip(), flags=re.DOTALL)
    if name in ("watch", "scheduler", STELLWERK):
        return STELLWERK
    return "nicht festgehalten" if name in ("", BY_HAND) else name


def _cutover(incident: Incident) -> Mark | None:
    for entry in reversed(incident.of("cutover.done")):
        return Mark("cutover", happened(entry), entry.actor, "Eintrag der Umschaltung")
    for entry in incident.of("watch.baseline"):
        config = incident.config
        at = moment(config.get("cutover_at") or config.get("started_at"), near=entry.at)
        return Mark("cutover", at or entry.at, STELLWERK, "Beginn der Beobachtung", exact="cutover_at" in config)
    return None


def _switched(incident: Incident) -> Mark | None:
    by, _ = switcher(incident)
    who = person(by)
    backs = incident.of("switch.back")
    # The rollback's own entry repeats the time on the traffic Service to the microsecond.
    for entry in (*(e for e in backs if isinstance(e.payload.get("at"), str)), *backs):
        return Mark("switched", happened(entry), who, "Eintrag der Rückschaltung")
    for entry in (*incident.of("rollback.done"), *reversed(incident.ends)):
        if at := moment(entry.payload.get("switched_at"), near=entry.at):
            return Mark("switched", at, who, "Stand am Traffic-Service, wie ihn der Eintrag wiedergibt")
    for entry in incident.of("rollback.done"):
        return Mark("switched", entry.at, who, "Eintrag des Rollbacks", exact=False)
    for entry in reversed(incident.ends):
        if entry.payload.get("result") in BACK:
            return Mark("switched", happened(entry), who, "von der Beobachtung bemerkt", exact=False)
    return None


def _detected(incident: Incident) -> Mark | None:
    """When a rule fired. An order's own time stands in the same place: there no rule did."""
    ordered = {order.at for order in orders(incident)}
    for entry in incident.ends:
        at = moment(entry.payload.get("detected_at"), near=entry.at)
        if at and not any(abs(at - order) < timedelta(seconds=1) for order in ordered):
            return Mark("detected", at, STELLWERK, str(entry.payload.get("sentence") or "ein Auslöser"))
    return None


def _fault(incident: Incident, series: Series, detected: Mark | None, switched_at: datetime | None) -> Mark | None:
    """The earliest sign: a bucket that was bad, what a user reported, else the detection itself."""
    bad = first_bad(series.points, limits(incident), detected.at.timestamp() if detected else None)
    signs = []
    if bad:
        how = f"erster Abschnitt der Messreihe jenseits der Grenzen; Abschnitte von {bad.seconds:g} s"
        signs.append(Mark("fault", datetime.fromtimestamp(bad.at, UTC), "Messreihe", how))
    signs += [
        Mark("fault", report.at, report.who, "Rückmeldung eines Nutzers", exact=False)
        for report in reports(incident)
        if report.bad and (switched_at is None or report.at <= switched_at)
    ]
    if detected:
        signs.append(Mark("fault", detected.at, STELLWERK, "die Erkennung selbst", exact=False))
    return min(signs, key=lambda sign: sign.at, default=None)


def _decided(incident: Incident, detected: Mark | None, switched: Mark | None) -> Mark | None:
    by, _ = switcher(incident)
    if by == "watch" and detected:
        return Mark("decided", detected.at, STELLWERK, "die Regel entscheidet; kein Mensch wird gefragt")
    for order in orders(incident):
        if switched is None or order.at <= switched.at:
            return Mark("decided", order.at, order.who, f"Anweisung: {order.why or 'ohne Begründung'}")
    if switched and by:
        for run in incident.rollback_runs:
            asked = _STARTED_AT.match(run)
            at = datetime.fromisoformat(asked.group(1)) if asked else None
            if at and at <= switched.at:
                return Mark("decided", at, person(by), "Start des Laufs rollback von Hand")
    return None


def _drained(incident: Incident, switched: Mark | None) -> Mark | None:
    if not (entry := drain_of_the_bad_slot(incident, switched)) or entry.payload.get("policy") == "leave":
        return None
    return Mark("drained", entry.at, entry.actor, str(entry.payload.get("sentence") or ""), exact=False)


def drain_of_the_bad_slot(incident: Incident, switched: Mark | None) -> Entry | None:
    """The entry that tells how the connections on the faulty version were moved; None without one."""
    _, bad = incident.slots
    for entry in reversed(incident.of("drain.done")):
        late = switched is None or entry.at >= switched.at
        if late and (entry.payload.get("slot") == bad or entry.run_id in incident.rollback_runs):
            return entry
    return None


def _proven(incident: Incident, switched: Mark | None) -> Sequence[Mark]:
    """When users were shown to get the old version again, and when the rollback was over."""
    after = [e for e in incident.entries if switched is None or happened(e) >= switched.at - timedelta(seconds=1)]
    checked = [e for e in after if e.kind == "rollback.verified"]
    done = [e for e in after if e.kind == "rollback.done"]
    found = []
    for entry in checked[:1]:
        checks = entry.payload.get("checks")
        told = "; ".join(map(str, checks)) if isinstance(checks, list) else ""
        sentence = str(entry.payload.get("sentence") or told or "Eintrag der Prüfung")
        found.append(Mark("verified", happened(entry), entry.actor, sentence))
    for entry in done[:1]:
        if not checked:
            how = "der Abschluss wird erst nach bestandener Prüfung festgehalten"
            found.append(Mark("verified", entry.at, entry.actor, how, exact=False))
        found.append(Mark("closed", entry.at, entry.actor, "Eintrag des Rollbacks"))
    return found
