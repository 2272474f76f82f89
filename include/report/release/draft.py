"""From the ledger's entries to the report's model, and what stands at its head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from include.ledger.approvals import DECISION, GO
from include.ledger.entry import Entry
from include.messages.deliver import FAILED, SENT
from include.report.names import INTERNAL, name_of
from include.report.release.decisions import decisions, refusals
from include.report.release.deviations import deviations
from include.report.release.evidence import proofs
from include.report.release.history import PLANNED, History, of_release
from include.report.release.messages import messages
from include.report.release.model import Deviation, ReleaseReport, Step, Switch
from include.report.release.spans import spans
from include.report.release.steps import steps
from include.report.release.windows import FORWARD, happenings, switches, watched
from include.report.text import duration

_NO_STEP = (SENT, FAILED, DECISION, PLANNED, *INTERNAL)


def release_report(entries: Sequence[Entry]) -> ReleaseReport:
    """Make the report of a release. The same entries give the same report.

    :param entries: of one release, every environment and run, in the ledger's order
    :raises LedgerError: there are none, or they belong to several releases
    """
    history = of_release(entries)
    found = watched(history)
    planned, moved = steps(history), switches(found)
    said = messages(history, planned)
    left = deviations(history, planned, moved, said)
    ended = outcome(history.within(history.main))
    return ReleaseReport(
        release=history.release,
        previous=str(history.plan.get("previous") or ""),
        title=str(history.plan.get("title") or ""),
        timezone=history.zone.key,
        outcome=ended,
        short=tuple(_short(history, planned, moved, left)),
        runs=tuple(dict.fromkeys((entry.environment, entry.run_id) for entry in history.entries)),
        started=history.started,
        ended=history.ended,
        steps=planned,
        spans=spans(history),
        deviations=left,
        decisions=decisions(history),
        proofs=proofs(history),
        switches=moved,
        windows=tuple(window for _, window in found if window.series.points),
        messages=said,
        timeline=happenings(found),
        head=history.head,
        entries=len(history.entries),
    )


def outcome(entries: Sequence[Entry]) -> str:
    """How the last attempt in an environment ended, as far as its entries say."""
    begins = [index for index, entry in enumerate(entries) if entry.kind == "release.started"]
    attempt = entries[begins[-1] :] if begins else entries
    back = [entry for entry in attempt if entry.kind in ("switch.back", "rollback.done")]
    if back:
        reasons = [str(entry.payload["reason"]) for entry in back if entry.payload.get("reason")]
        return f"Zurückgerollt: {reasons[0] if reasons else 'ohne Angabe eines Grundes'}"
    if any(entry.kind == "release.verified" for entry in attempt):
        return "Erfolgreich ausgeliefert"
    if refused := refusals(entry for entry in attempt if entry.kind == DECISION):
        who = ", ".join(f"{one.actor} ({one.payload.get('role') or 'ohne Rolle'})" for one in refused)
        return f"Nicht freigegeben: No-Go von {who}"
    done = [entry for entry in attempt if entry.kind not in _NO_STEP]
    return f"Nicht abgeschlossen, letzter Schritt: {name_of(done[-1].kind) if done else 'keiner'}"


def _short(
    history: History, planned: Sequence[Step], moved: Sequence[Switch], left: Sequence[Deviation]
) -> Iterator[str]:
    """What somebody has to know who was not there and reads nothing else."""
    previous = history.plan.get("previous")
    what = f"Release {history.release}" + (f" sollte {previous} ablösen" if previous else "")
    day = f", geplant für den {history.day:%d.%m.%Y}" if history.day else ""
    yield f"{what}{day}; festgehalten ist, was in {' und '.join(history.environments)} geschah."
    yield from _approved(history)
    cutover = next((step for step in planned if step.name == "cutover"), None)
    if cutover and cutover.actual:
        at = cutover.actual.astimezone(history.zone)
        yield f"Der Verkehr ging am {at:%d.%m.%Y um %H:%M:%S Uhr} auf die neue Version."
    yield from _back(history, moved)
    yield from _cost(moved)
    yield from _data(history)
    if left:
        points = "einem Punkt" if len(left) == 1 else f"{len(left)} Punkten"
        yield f"Vom Plan wich der Ablauf in {points} ab, siehe „Abweichungen vom Plan“."
    else:
        yield "Das Ledger zeigt keine Abweichung vom Plan."


def _approved(history: History) -> Iterator[str]:
    people = [
        (str(entry.payload.get("role") or ""), entry.actor)
        for entry in history.of(DECISION, environment=history.main)
        if entry.payload.get("choice") == GO
    ]
    if people:
        yield f"Go gesagt haben {', '.join(dict.fromkeys(f'{who} ({role})' for role, who in people))}."


def _back(history: History, moved: Sequence[Switch]) -> Iterator[str]:
    forward: Switch | None = None
    for switch in moved:
        if switch.what == FORWARD:
            forward = switch
        elif forward is not None and forward.environment == switch.environment:
            took = duration(switch.at - forward.at)
            yield f"{took} nach der Umschaltung ging er in {switch.environment} auf die alte Version zurück."


def _cost(moved: Sequence[Switch]) -> Iterator[str]:
    known = [switch.loss for switch in moved if switch.loss.lost is not None]
    lost, sent = sum(loss.lost or 0 for loss in known), sum(loss.sent or 0 for loss in known)
    unseen = len(moved) - len(known)
    if known:
        yield f"Über die Umschaltungen hinweg gingen {lost} von {sent} Anfragen des unabhängigen Prüfers verloren."
    if unseen:
        yield f"{unseen} Umschaltung(en) hat niemand von außen beobachtet: Verluste sind dort nicht bekannt."


def _data(history: History) -> Iterator[str]:
    course = history.of("migration.applied", "migration.taken-back", "restore.done", environment=history.main)
    if course:
        yield f"Datenbank in {history.main}: {name_of(course[-1].kind)}."
