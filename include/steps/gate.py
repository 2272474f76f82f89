"""What a gate asks, and how an answer is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.errors import ApprovalMissing
from include.ledger.approvals import GO, NO_GO, Choice, decision
from include.ledger.entry import Entry, NewEntry
from include.ledger.store import Ledger
from include.plan.rules import Rule, Triggers
from include.steps.run import ReleaseRun

__all__ = ["GO", "NO_GO", "Question", "must_be_as_shown", "question", "record_decision"]


@dataclass(frozen=True)
class Question:
    """What those who decide read; ``body`` is Markdown, short enough for a phone."""

    subject: str
    body: str


def question(run: ReleaseRun, role: str, evidence: Mapping[str, Any]) -> Question:
    """Compose the question of one role.

    :param evidence: what the preflight found; it informs and decides nothing
    """
    release, environment = run.release, run.environment
    lines = [
        f"**{release.version}** goes to **{environment.name}** (now {release.previous}).",
        "",
        "| | |",
        "|---|---|",
        f"| image | `{release.image.reference}` |",
        f"| slot | {evidence.get('from', '?')} → {evidence.get('to', '?')} |",
        f"| watch | {environment.watch.seconds:g} s |",
        f"| rollback at | {', '.join(_triggers(environment.slo.triggers))} |",
        f"| automatic switch back | {evidence.get('switch_back', 'unknown')} |",
        f"| fingerprint | `{run.fingerprint[:16]}` |",
        f"| started by | {run.triggered_by or 'the scheduler'} |",
        "",
        *(f"- {line}" for line in evidence.get("changes", ())),
        *(f"- {fact}" for fact in evidence.get("facts", ())),
        "",
        "The whole preview is in the log of `preflight` and in the ledger.",
        "",
        f"Every role has to say Go, at least {environment.gate.quorum} people have to. "
        f"No answer within {environment.gate.timeout_seconds:g} s is No-Go.",
    ]
    return Question(f"{release.version} to {environment.name}: Go or No-Go as {role}?", "\n".join(lines))


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
            remedy="clear this task: it asks again, about what is so now",
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
) -> Entry:
    """Write one answer to the ledger, once; ``None`` stands for silence until the deadline.

    :param shown: fingerprint of what was shown to who answers; None when it is the run's own
    """
    fingerprint = run.fingerprint if shown is None else shown
    if user is None or at is None or choice is None:
        silence = {"role": role, "comment": comment, "fingerprint": fingerprint, "phase": run.phase}
        return ledger.append(
            NewEntry(
                kind="gate.silence",
                release=run.release.version,
                environment=run.environment.name,
                run_id=run.run_id,
                actor="nobody",
                payload=silence,
            )
        )
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
        )
    )
