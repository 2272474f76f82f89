"""What users say of a release after its cutover: recorded, shown at the watch's end, heard when critical.

A critical report (data lost, a security hole) is a rollback trigger of the plan, but a human's word: people of the
gate decide about it, and nothing rolls back by their silence.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from include.bluegreen.fence import last_switch, release_id
from include.clients.kubernetes import Cluster
from include.errors import ClusterError, PlanError
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.markdown import literal
from include.plan.models import Environment
from include.steps.feedback_form import CONFIRM, DISMISS, LONGEST_TEXT, VERDICTS
from include.steps.gate import Question
from include.steps.record import (
    CUT_OVER,
    FEEDBACK_DECIDED,
    FEEDBACK_GIVEN,
    FEEDBACK_SILENCE,
    WATCH_STARTED,
    all_recorded,
    record,
    recorded,
)
from include.steps.run import ReleaseRun, parse_release_id
from include.watch.steer import Answer

log = logging.getLogger(__name__)

Standing = Literal["given", "undecided", "confirmed", "dismissed"]


@dataclass(frozen=True)
class Report:
    """What one person said.

    :param run_id: of the DAG run of ``user-feedback`` that took it
    :param at: when it was said
    :param standing: what was decided about it; ``given`` when there is nothing to decide
    :param decided_by: who decided, and why
    """

    verdict: str
    text: str
    user: str
    at: datetime
    run_id: str
    standing: Standing = "given"
    decided_by: str = ""

    @property
    def critical(self) -> bool:
        """Whether somebody has to decide about it."""
        return self.verdict.startswith("critical-")

    @property
    def sentence(self) -> str:
        """For logs, messages and the report."""
        said = f"{self.user} at {self.at.isoformat(timespec='seconds')}: {VERDICTS[self.verdict]}"
        told = f" ({self.text})" if self.text else ""
        decided = {
            "undecided": "; nobody has decided yet",
            "confirmed": f"; confirmed by {self.decided_by}",
            "dismissed": f"; no rollback, says {self.decided_by}",
        }.get(self.standing, "")
        return said + told + decided

    def facts(self) -> dict[str, str]:
        """As plain JSON."""
        return {
            "verdict": self.verdict,
            "text": self.text,
            "user": self.user,
            "at": self.at.isoformat(),
            "run_id": self.run_id,
            "standing": self.standing,
            "decided_by": self.decided_by,
            "sentence": self.sentence,
        }


def give(run: ReleaseRun, ledger: Ledger, verdict: str, text: str) -> Report:
    """Record what the user who started this run says, once.

    :raises PlanError: no such verdict, a text too long, or a critical report without a word on what happened
    :raises LedgerError: it is not recorded
    """
    told = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    _require_sense(verdict, told)
    payload = {"verdict": verdict, "text": told}
    entry = record(ledger, run, FEEDBACK_GIVEN, payload, actor=run.triggered_by or "somebody")
    return _report(entry, None)


def _require_sense(verdict: str, text: str) -> None:
    if verdict not in VERDICTS:
        raise PlanError("no such verdict", expected=" or ".join(VERDICTS), seen=repr(verdict))
    if len(text) > LONGEST_TEXT:
        raise PlanError("the text is too long", expected=f"{LONGEST_TEXT} characters", seen=str(len(text)))
    if verdict.startswith("critical-") and not text:
        raise PlanError(
            "a critical report says what happened",
            expected="one sentence: what, where, since when",
            seen="an empty text",
            remedy="fill in the form again; nothing was recorded and nobody was called",
        )


def reports(ledger: Ledger, release: str, environment: str, *, since: datetime) -> tuple[Report, ...]:
    """What users said of a release since a moment, with what was decided about it; oldest first.

    :raises LedgerError: the ledger cannot be read
    """
    kinds = (FEEDBACK_GIVEN, FEEDBACK_DECIDED)
    entries = ledger.entries(release=release, environment=environment, kinds=kinds)
    decided = {entry.run_id: entry for entry in entries if entry.kind == FEEDBACK_DECIDED}
    given = (entry for entry in entries if entry.kind == FEEDBACK_GIVEN and entry.at >= since)
    return tuple(_report(entry, decided.get(entry.run_id)) for entry in given)


def since_cutover(run: ReleaseRun, ledger: Ledger) -> tuple[Report, ...]:
    """What users said of this release since its run moved the traffic.

    :raises LedgerError: the ledger cannot be read
    """
    cut, watched = recorded(ledger, run, CUT_OVER), recorded(ledger, run, WATCH_STARTED)
    if cut is not None:
        since = datetime.fromisoformat(str(cut.payload["at"])) if "at" in cut.payload else cut.at
    elif watched is not None:
        # A cutover that is not proven is watched all the same.
        since = datetime.fromtimestamp(float(watched.payload["config"]["cutover_at"]), UTC)
    else:
        return ()
    return reports(ledger, run.release.version, run.environment.name, since=since)


def against_passing(given: Iterable[Report]) -> tuple[str, ...]:
    """The critical reports that nobody has dismissed: with one of them a watch does not pass."""
    return tuple(report.sentence for report in given if report.critical and report.standing != "dismissed")


def _report(entry: Entry, decision: Entry | None) -> Report:
    verdict = str(entry.payload.get("verdict", ""))
    standing: Standing = "undecided" if verdict.startswith("critical-") else "given"
    decided_by = ""
    if decision is not None:
        standing = "confirmed" if decision.payload.get("choice") == CONFIRM else "dismissed"
        why = str(decision.payload.get("why", ""))
        decided_by = decision.actor + (f": {why}" if why else "")
    return Report(
        verdict if verdict in VERDICTS else "problem",
        str(entry.payload.get("text", "")),
        entry.actor,
        entry.at,
        entry.run_id,
        standing,
        decided_by,
    )


def rollback_question(run: ReleaseRun, report: Report) -> Question:
    """What the people of the gate are asked about a critical report."""
    where = f"{run.release.version} in {run.environment.name}"
    lines = [
        f"**{literal(report.user)}**: {VERDICTS[report.verdict]}",
        "",
        f"> {literal(report.text)}",
        "",
        f"- **{CONFIRM}**: DAG `rollback` returns users to {run.release.previous}.",
        f"- **{DISMISS}**: say why in the comment.",
        "",
        "No answer rolls nothing back and pages again. Until somebody decides, the watch does not pass.",
    ]
    return Question(f"{where}: critical report. Roll back now?", "\n".join(lines))


def record_decided(run: ReleaseRun, ledger: Ledger, answer: Answer) -> Entry:
    """Write what somebody decided about this run's report, once.

    :raises LedgerError: it is not recorded
    """
    return record(ledger, run, FEEDBACK_DECIDED, answer.facts(), actor=answer.user or "nobody", at=answer.at)


def record_silence(run: ReleaseRun, ledger: Ledger) -> int:
    """Write that nobody answered; how often that has happened by now, 1 for the first time.

    :raises LedgerError: it is not recorded
    """
    number = len(all_recorded(ledger, run, FEEDBACK_SILENCE)) + 1
    payload = {"question": "roll back now?", "number": number}
    record(ledger, run, FEEDBACK_SILENCE, payload, actor="nobody", number=number)
    return number


async def in_traffic(run: ReleaseRun, cluster: Cluster) -> bool:
    """Whether users are on this release, so that there is something to roll back; in doubt they are."""
    try:
        service = await cluster.service(run.environment.traffic.service)
    except ClusterError as error:
        log.warning("whether %s takes the traffic is not known: %s", run.release.version, error)
        return True
    moved = last_switch(service) if service else None
    parsed = parse_release_id((release_id(service) if service else None) or "")
    if moved is None or parsed is None or parsed[:2] != (run.release.version, run.environment.name):
        return False
    return moved.direction == "forward"


def patience_seconds(environment: Environment) -> float:
    """How long an answer to a critical report is waited for before people are paged again."""
    return min(environment.gate.timeout_seconds, 900.0)
