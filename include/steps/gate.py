"""What a gate asks about a release, and how an answer is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.errors import ApprovalMissing
from include.gate.checklist import TICKED
from include.gate.form import MOST_CHANGES, Frame, framed, packed, shortened
from include.ledger.approvals import GO, NO_GO, Choice, decision
from include.ledger.entry import Entry, NewEntry
from include.ledger.store import Ledger
from include.markdown import literal
from include.plan.rules import Rule, Triggers
from include.steps.run import ReleaseRun

__all__ = ["GO", "NO_GO", "SILENCE", "Question", "must_be_as_shown", "question", "record_decision"]

SILENCE = "gate.silence"
REFUSED = "gate.answer-refused"


@dataclass(frozen=True)
class Question:
    """What those who decide read; ``body`` is Markdown, short enough for a phone."""

    subject: str
    body: str


def question(
    run: ReleaseRun, role: str, evidence: Mapping[str, Any], frame: Frame, rehearsed: Sequence[str] = ()
) -> Question:
    """Compose the question of one role.

    :param evidence: what the preflight found; it informs and decides nothing
    :param rehearsed: what the ledger tells of the rehearsal that a Go is bound to, in sentences
    """
    release, environment = run.release, run.environment
    rows = [
        f"image: `{release.image.reference}`",
        f"slot: {literal(evidence.get('from', '?'))} → {literal(evidence.get('to', '?'))}",
        f"watch: {environment.watch.seconds:g} s",
        *packed("rollback at", [literal(trigger) for trigger in _triggers(environment.slo.triggers)]),
        f"automatic switch back: {literal(evidence.get('switch_back', 'unknown'))}",
        f"fingerprint: `{run.fingerprint[:16]}`",
        f"started by: {literal(run.triggered_by or 'the scheduler')}",
        *shortened([literal(line) for line in evidence.get("changes", ())], MOST_CHANGES),
    ]
    facts = [*rehearsed, *map(str, evidence.get("facts", ())), "the whole preview is in the log of preflight"]
    head = f"**{release.version}** goes to **{environment.name}** (now {release.previous})."
    subject = f"{release.version} to {environment.name}: Go or No-Go as {role}?"
    return Question(subject, framed(head, rows, facts, frame, role))


def _triggers(triggers: Triggers) -> list[str]:
    """The rollback triggers in words, each with the time it has to last."""
    rates: list[tuple[str, Rule]] = [
        (f"error rate > {100 * triggers.error_rate.limit:g}%", triggers.error_rate),
        (f"P95 > {triggers.p95_seconds.limit:g} s", triggers.p95_seconds),
    ]
    for rule in triggers.more:
        side = "<" if rule.crossed == "below" else ">"
        rates.append((f"{rule.name} {side} {rule.limit:g} {rule.unit}".rstrip(), rule))
    said = [f"{text} for {rule.for_seconds:g} s" if rule.for_seconds else text for text, rule in rates]
    said.append(f"down > {triggers.down_seconds:g} s")
    if triggers.crash_restarts is not None:
        said.append(f"a crash loop ({triggers.crash_restarts:g} restarts a pod)")
    return [*said, "a critical bug that a human reports"]


def must_be_as_shown(shown: str, present: str) -> None:
    """Refuse a Go to something else than what is so now: it stands in the ledger for what was shown.

    :raises ApprovalMissing: something has changed between the question and the answer
    """
    if shown != present:
        raise ApprovalMissing(
            "what was asked about has changed before the answer",
            expected=f"a Go for {present[:16]}, which is so now",
            seen=f"one for {shown[:16]}" if shown else "one that does not say what was shown",
            remedy="clear the first task of this gate, with what comes after it: it asks anew",
        )


def record_decision(
    ledger: Ledger,
    run: ReleaseRun,
    *,
    role: str,
    choice: Choice | None,
    user: str | None,
    at: datetime | None,
    comment: str,
    shown: str | None = None,
    ticked: Sequence[str] = (),
) -> Entry:
    """Write one answer to the ledger, once; ``None`` stands for silence until the deadline.

    :param shown: fingerprint of what was shown to who answers; None when it is the run's own
    :param ticked: the points of the gate's checklist that the person vouches for
    """
    fingerprint = run.fingerprint if shown is None else shown
    if user is None or at is None or choice is None:
        silence = {"role": role, "comment": comment, "fingerprint": fingerprint, "phase": run.phase}
        return ledger.append(_of(run, SILENCE, "nobody", silence))
    if ticked:
        planned = run.release.date.isoformat()
        points = {
            "checklist": "go-no-go",
            "role": role,
            "points": list(ticked),
            "comment": comment,
            "planned": planned,
        }
        key = f"{TICKED}/{run.release_id}/{run.phase}/{role}/{user}/{at.timestamp():.6f}"
        ledger.append(_of(run, TICKED, user, points, key=key, at=at))
    return ledger.append(
        decision(
            phase=run.phase,
            role=role,
            user=user,
            choice=choice,
            comment=comment,
            fingerprint=fingerprint,
            release=run.release.version,
            environment=run.environment.name,
            run_id=run.run_id,
            at=at,
            ticked=ticked,
            born=run.born,
        )
    )


def record_refused(
    ledger: Ledger, run: ReleaseRun, *, role: str, user: str | None, choice: str, why: str, at: datetime
) -> Entry:
    """Write an answer that decides nothing."""
    payload = {"phase": run.phase, "role": role, "choice": choice, "why": why}
    key = f"{REFUSED}/{run.release_id}/{run.phase}/{role}/{user or 'nobody'}/{at.timestamp():.6f}"
    return ledger.append(_of(run, REFUSED, user or "nobody", payload, key=key, at=at))


def _of(
    run: ReleaseRun,
    kind: str,
    actor: str,
    payload: Mapping[str, Any],
    *,
    key: str | None = None,
    at: datetime | None = None,
) -> NewEntry:
    return NewEntry(kind, run.release.version, run.environment.name, run.run_id, actor, payload, key=key, at=at)
