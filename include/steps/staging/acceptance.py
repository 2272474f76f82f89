"""Key users test a release: asked, recorded, judged. What somebody said stays until the same user says more."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from include.clients.kubernetes import Cluster
from include.errors import NotAccepted, PlanError
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.markdown import literal
from include.plan.staging import Acceptance
from include.steps.gate import Question
from include.steps.lease import hold
from include.steps.page import Matter
from include.steps.record import all_recorded, record
from include.steps.run import ReleaseRun
from include.steps.staging.entries import (
    UAT_ANSWERED,
    UAT_ASKED,
    UAT_CONCLUDED,
    UAT_NOT_COUNTED,
    UAT_SILENT,
)
from include.steps.staging.serving import must_serve
from include.steps.staging.uat import Accepted, UatReport, judge

log = logging.getLogger(__name__)


def acceptance_of(run: ReleaseRun) -> Acceptance:
    """What the plan has key users test.

    :raises PlanError: nothing
    """
    if run.environment.uat is None:
        raise PlanError(
            f"nobody tests {run.environment.name}",
            expected="a section `uat` with its cases",
            remedy=f"add it to environments/{run.environment.name}.yaml",
        )
    return run.environment.uat


def key_users(run: ReleaseRun) -> tuple[str, ...]:
    """Who tests, each once.

    :raises PlanError: nobody
    """
    role = acceptance_of(run).role
    users = tuple(dict.fromkeys(run.environment.roles.get(role, ())))
    if not users:
        raise PlanError(f"nobody has role {role}", expected="its users in `people`", remedy="add them")
    return users


def must_be_key_user(run: ReleaseRun, user: str) -> None:
    """Refuse to ask somebody else: what a task is mapped over can be overwritten.

    :raises NotAccepted: the plan does not name the user
    """
    if user not in key_users(run):
        raise NotAccepted(
            f"{user!r} is no key user of {run.environment.name}",
            expected=" or ".join(key_users(run)),
            remedy="clear the task that names the key users",
        )


def asked(run: ReleaseRun, ledger: Ledger, user: str, now: datetime) -> datetime:
    """Record that a user is asked, and return until when an answer is waited for.

    A killed task asks again and gives no more time; who is asked after an answer or a silence gets the whole time.

    :raises LedgerError: it is not recorded
    """
    before = all_recorded(ledger, run, UAT_ANSWERED, UAT_SILENT)
    attempt = sum(entry.payload.get("user") == user for entry in before) + 1
    deadline = now + timedelta(seconds=acceptance_of(run).timeout_seconds)
    payload = {"user": user, "deadline": deadline.isoformat()}
    entry = record(ledger, run, UAT_ASKED, payload, number=f"{user}:{attempt}")
    return datetime.fromisoformat(str(entry.payload["deadline"]))


async def hold_for_test(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> None:
    """Have key users test this run's release, and no other: nobody else deploys until their time is over.

    :raises EnvironmentHeld: another release has the environment
    :raises EvidenceError: users do not get what this run has deployed
    """
    await hold(run, cluster, ledger, take_over=True, seconds=acceptance_of(run).timeout_seconds)
    await must_serve(run, cluster, ledger, what="a test")


def record_tested(run: ReleaseRun, ledger: Ledger, tested: UatReport, at: datetime) -> Entry:
    """Write what a user has tested, once for each answer.

    :raises LedgerError: it is not recorded
    """
    number = f"{tested.user}:{at.timestamp():.6f}"
    return record(ledger, run, UAT_ANSWERED, tested.facts(), actor=tested.user, number=number, at=at)


def record_not_counted(run: ReleaseRun, ledger: Ledger, tested: UatReport, at: datetime, problem: str) -> Entry:
    """Write what a user has said of something else than this run's release, once for each answer.

    :raises LedgerError: it is not recorded
    """
    number = f"{tested.user}:{at.timestamp():.6f}"
    payload = {**tested.facts(), "problem": problem}
    return record(ledger, run, UAT_NOT_COUNTED, payload, actor=tested.user, number=number, at=at)


def record_silence(run: ReleaseRun, ledger: Ledger, user: str, deadline: datetime) -> Entry:
    """Write that a user has not tested, once for each deadline.

    :raises LedgerError: it is not recorded
    """
    payload = {"user": user, "deadline": deadline.isoformat()}
    return record(ledger, run, UAT_SILENT, payload, actor="nobody", number=f"{user}:{deadline.isoformat()}")


def reports_of(run: ReleaseRun, ledger: Ledger) -> dict[str, UatReport]:
    """User → the newest test.

    :raises LedgerError: the ledger cannot be read
    """
    entries = all_recorded(ledger, run, UAT_ANSWERED)
    return {str(entry.payload["user"]): UatReport.of_facts(entry.payload) for entry in entries}


def conclude(run: ReleaseRun, ledger: Ledger) -> dict[str, Any]:
    """Judge all tests and record it, good or bad.

    :return: the recorded facts: ``result``, ``reasons``, ``findings``, ``silent``
    :raises NotAccepted: something blocks the release, or nobody knows
    """
    accepted = judge(acceptance_of(run), key_users(run), reports_of(run, ledger))
    facts = _facts(accepted)
    number = len(all_recorded(ledger, run, UAT_CONCLUDED)) + 1
    record(ledger, run, UAT_CONCLUDED, facts, number=number)
    for one in accepted.findings:
        log.warning("%s: %s", one.severity, one.sentence)
    for user in accepted.silent:
        log.warning("%s has not tested", user)
    if accepted.result != "passed":
        raise _error(run, accepted)
    return facts


def _facts(accepted: Accepted) -> dict[str, Any]:
    return {
        "result": accepted.result,
        "reasons": list(accepted.reasons),
        "findings": [{"severity": one.severity, "text": one.sentence} for one in accepted.findings],
        "silent": list(accepted.silent),
    }


def _error(run: ReleaseRun, accepted: Accepted) -> NotAccepted:
    version = run.release.version
    if accepted.result == "failed":
        return NotAccepted(
            f"key users do not accept {version}",
            expected="no finding that blocks",
            seen="; ".join(accepted.reasons),
            remedy="mend it and rehearse again (a new run with repeat_reason); where it was no fault of the "
            "release, clear the form of who found it: the new answer counts",
        )
    return NotAccepted(
        f"whether key users accept {version} is not known",
        expected="the tests that uat.required asks for",
        seen="; ".join(accepted.reasons),
        remedy="clear the form of who has not tested and have it filled in, or change uat.required",
    )


def question(run: ReleaseRun, user: str, deadline: datetime) -> Question:
    """What one key user reads above the form."""
    release, environment, plan = run.release, run.environment, acceptance_of(run)
    places = {
        "backend": environment.traffic.public_url,
        **{name: one.url for name, one in environment.urls.items()},
    }
    lines = [
        f"**{release.version}** is in {environment.name} (before: {release.previous}). Please try, and say for "
        "each case whether it works. A case you leave alone counts as not tested.",
        "",
        *(f"- {literal(name)}: {_link(url)}" for name, url in places.items()),
        "",
        "| case | you should see |",
        "|---|---|",
        *(f"| {literal(case.title)} | {literal(case.expected or 'it works')} |" for case in plan.cases_of(user)),
        "",
        "A finding needs both, how severe it is and a sentence. A form that comes back empty could not be "
        f"counted: why is told in {literal(environment.messages.status_channel)} and beside the task "
        "(XCom asked_again).",
        "",
        f"Findings that are {' or '.join(plan.blocking)} stop the release. "
        f"Your answer is waited for until {deadline.astimezone(release.zone):%Y-%m-%d %H:%M %Z}.",
    ]
    return Question(f"{release.version} in {environment.name}: does it work, {user}?", "\n".join(lines))


def _link(url: str) -> str:
    """An address that can be followed, whatever signs it has."""
    return f"<{url}>" if re.fullmatch(r"https?://[^\s<>]+", url) else literal(url)


def blockers(run: ReleaseRun, report: UatReport) -> Matter | None:
    """What people are called for as soon as somebody finds what stops the release: others may test for days."""
    found = [one for one in report.findings if one.severity in acceptance_of(run).blocking]
    if not found:
        return None
    seen = "; ".join(f"{one.severity}: {one.sentence}" for one in found)
    return Matter(
        f"uat:{report.user}:{hashlib.sha256(seen.encode()).hexdigest()[:12]}",
        f"{report.user} has found what stops {run.release.version} in {run.environment.name}",
        seen,
        "look at it now: the rehearsal stops when all key users have answered",
    )


def told(facts: Mapping[str, Any]) -> str:
    """A test in a sentence, for the log."""
    cases = ", ".join(f"{case} {said}" for case, said in facts["cases"].items())
    return f"{facts['user']}: {cases}; {len(facts['findings'])} finding(s)"
