"""What humans make a watch do: the question, the record of each answer, the switch that a human orders.

Rolling back waits for nothing but the cluster; extending and accepting are going forward and wait for their record
(DESIGN, invariant 11).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from include.clients.kubernetes import Cluster
from include.errors import ClusterUnreachable
from include.ledger.store import Ledger
from include.plan.models import Environment
from include.slo.account import Account
from include.steps.feedback import Report, against_passing
from include.steps.gate import Question
from include.steps.record import (
    SWITCHED_BACK,
    WATCH_ACCEPTED,
    WATCH_ANSWER_REFUSED,
    WATCH_ANSWERED_LATE,
    WATCH_EXTENDED,
    WATCH_ROLLBACK_ORDERED,
    OfRun,
    all_recorded,
    record,
)
from include.steps.run import ReleaseRun
from include.watch.back import drain_after_back, moved_by_others, ordered_by, switch_back
from include.watch.config import Armed, WatchConfig, WatchOutcome
from include.watch.steer import ACCEPT, EXTEND, ROLL_BACK, Answer, Extended

log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 120.0
_RETRY_SECONDS: Final = 0.5


def people_of(environment: Environment) -> tuple[str, ...]:
    """Everybody who may steer a watch: the people of the gate's roles, each once."""
    return tuple(dict.fromkeys(user for users in environment.gate.roles.values() for user in users))


def watch_question(config: Armed) -> Question:
    """What people read under the required actions for as long as the watch runs; its words cannot change."""
    environment = config.environment
    lines = [
        f"**{config.version}** goes live in **{environment.name}** (slot {config.target}) and is watched from its"
        " cutover on. It goes on by itself; nobody has to answer.",
        "",
        f"- **{EXTEND}**: watch *minutes* longer.",
        f"- **{ACCEPT}**: end the watch now, clean-up follows; the *comment* has to say why. Points of checklists"
        f" that the watch settles stay open until environments/{environment.name}.yaml gives them to a role.",
        f"- **{ROLL_BACK}**: {config.source} takes the traffic again, at once (or keeps it).",
        "",
        "How it is doing: XCom `watch` and the log of this task. The question comes back after an answer that"
        " cannot be acted upon; the log says what was missing.",
    ]
    return Question(f"{config.version} in {environment.name} is watched", "\n".join(lines))


def resumed(config: WatchConfig, run: OfRun, ledger: Ledger) -> WatchConfig:
    """The window with every extension that humans gave it before this process began."""
    deadlines = [
        float(entry.payload["deadline"])
        for entry in all_recorded(ledger, run, WATCH_EXTENDED)
        if entry.payload.get("number") == config.number
    ]
    return config.model_copy(update={"deadline": max([config.deadline, *deadlines])})


def standing_order(config: Armed, run: OfRun, ledger: Ledger) -> Answer | None:
    """The rollback that a human ordered in this window and that a killed process may have left undone.

    Whoever extended the watch after that took the order back.
    """
    said = [
        entry
        for entry in all_recorded(ledger, run, WATCH_ROLLBACK_ORDERED, WATCH_EXTENDED)
        if entry.payload.get("number") == config.number
    ]
    last = max(said, key=lambda entry: entry.at, default=None)
    if last is None or last.kind != WATCH_ROLLBACK_ORDERED:
        return None
    return Answer(ROLL_BACK, last.actor, last.at, str(last.payload.get("why", "")))


def record_extended(config: WatchConfig, ledger: Ledger, answer: Answer, decision: Extended) -> None:
    """Write who made the watch longer.

    :raises LedgerError: it is not recorded, so it must not be done
    """
    told = {"minutes": decision.minutes, "deadline": decision.config.deadline}
    _record(config, ledger, WATCH_EXTENDED, answer, told)


def record_accepted(config: WatchConfig, ledger: Ledger, answer: Answer, reports: tuple[str, ...]) -> None:
    """Write who vouches for the release, and which critical reports of users that overrules.

    :raises LedgerError: it is not recorded, so it must not be done
    """
    _record(config, ledger, WATCH_ACCEPTED, answer, {"overruled": list(reports)})


def record_order(config: Armed, ledger: Ledger, answer: Answer) -> None:
    """Write who ordered the rollback; nobody waits for it.

    :raises LedgerError: it is not recorded
    """
    _record(config, ledger, WATCH_ROLLBACK_ORDERED, answer, {})


def record_switch(config: WatchConfig, ledger: Ledger, answer: Answer, outcome: WatchOutcome) -> None:
    """Write the switch that a human ordered, after the fact.

    :raises LedgerError: it is not recorded
    """
    at = datetime.fromtimestamp(outcome.switched_at or outcome.at, UTC)
    by = ordered_by(answer.user or "nobody")
    told = {"from": config.target, "to": config.source, "by": by, "reason": outcome.sentence, "at": at.isoformat()}
    payload = {**answer.facts(), "number": config.number, **told}
    # The key of every other record of this switch: whoever is first writes it.
    record(ledger, config, SWITCHED_BACK, payload, actor=answer.user or "nobody", at=at)


def held_by_feedback(outcome: WatchOutcome, given: Sequence[Report]) -> WatchOutcome:
    """A window that is over, and does not pass with a critical report that nobody has dismissed."""
    against = against_passing(given)
    if outcome.result not in ("PASSED", "HELD") or not against:
        return outcome
    sentence = f"critical feedback: {'; '.join(against)}; the figures: {outcome.sentence}"
    return outcome.model_copy(update={"result": "HELD", "sentence": sentence, "pages": ("held",)})


def record_refused(config: Armed, ledger: Ledger, answer: Answer, why: str) -> None:
    """Write an answer that could not be acted upon.

    :raises LedgerError: it is not recorded
    """
    _record(config, ledger, WATCH_ANSWER_REFUSED, answer, {"refused": why})


def record_late(run: ReleaseRun, ledger: Ledger, answer: Answer, why: str) -> None:
    """Write an answer that came when there was nothing to steer any more.

    :raises LedgerError: it is not recorded
    """
    told = {**answer.facts(), "late": why}
    when = answer.at.isoformat()
    record(ledger, run, WATCH_ANSWERED_LATE, told, actor=answer.user or "nobody", number=when, at=answer.at)


def was_heard(run: ReleaseRun, ledger: Ledger, answer: Answer) -> bool:
    """Whether the watch acted upon this answer: the last one stands in the question until it is asked again.

    :raises LedgerError: the ledger cannot be read
    """
    heard = (WATCH_ACCEPTED, WATCH_ROLLBACK_ORDERED, WATCH_EXTENDED, WATCH_ANSWER_REFUSED, WATCH_ANSWERED_LATE)
    return any(entry.at == answer.at for entry in all_recorded(ledger, run, *heard))


def accepted_outcome(
    config: WatchConfig, answer: Answer, *, now: float, account: Account | None = None
) -> WatchOutcome:
    """How a watch ends that a human ended.

    :param now: seconds since the epoch
    :param account: of the window so far; None where none was kept
    """
    who = {"accepted_by": answer.user, "reason": answer.comment}
    sentence = f"accepted by {answer.user}: {answer.comment}{_seen(account)}"
    return WatchOutcome(result="ACCEPTED", sentence=sentence, at=now, measures=who, number=config.number)


def _seen(account: Account | None) -> str:
    """What was seen of a release that somebody accepted, as far as an account of it was kept."""
    if account is None or account.tally.last_at is None:
        return ""
    stats = account.stats(account.source)
    rate, p95 = stats.error_rate, stats.p95_seconds
    told = [f"{stats.requests} requests"]
    told += [f"error rate {100 * rate:.2f} %"] if rate is not None else []
    told += [f"P95 {p95:.3g} s"] if p95 is not None else []
    return f"; seen until {datetime.fromtimestamp(account.tally.last_at, UTC):%H:%M} UTC: {', '.join(told)}"


async def left_meanwhile(config: WatchConfig, cluster: Cluster) -> WatchOutcome | None:
    """How the watch has ended without us; None while the traffic is where it is watched.

    :raises ClusterError: nobody can tell
    """
    service = await cluster.service(config.environment.traffic.service)
    return moved_by_others(config, service, now=time.time())


async def roll_back_now(config: WatchConfig, cluster: Cluster, answer: Answer) -> WatchOutcome:
    """Do what a human ordered: switch back through the same guard as the watch, then drain the bad slot.

    :return: ROLLED_BACK; ROLLED_BACK_BY_HAND or FENCED when somebody was faster; ROLLBACK_BLOCKED when nobody can
        take the traffic
    :raises ClusterUnreachable: the cluster gave no answer for two minutes
    """
    user, began = answer.user or "nobody", time.monotonic()
    reason = f"ordered by {user}" + (f": {answer.comment}" if answer.comment else "")
    spoken = answer.at.timestamp()
    while True:
        outcome = await switch_back(
            config, cluster, reason, detected_at=spoken, now=time.time(), by=ordered_by(user)
        )
        if outcome is not None:
            break
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise ClusterUnreachable(
                f"{user} ordered a rollback and the cluster gives no answer",
                expected=f"the traffic Service of {config.environment.name} switched back to {config.source}",
                seen=f"no answer for {PATIENCE_SECONDS:g} s",
                remedy="bring the Kubernetes API back; the task tries again",
            )
        await asyncio.sleep(_RETRY_SECONDS)
    if outcome.result == "ROLLED_BACK" and outcome.switched_at is not None:
        at = datetime.fromtimestamp(outcome.switched_at, UTC)
        await drain_after_back(config.environment, cluster, config.target, at)
    return outcome.model_copy(update={"number": config.number})


def _record(config: Armed, ledger: Ledger, kind: str, answer: Answer, told: Mapping[str, Any]) -> None:
    """The record of an answer, once for each answer."""
    payload = {**answer.facts(), "number": config.number, **told}
    when = answer.at.isoformat()
    record(ledger, config, kind, payload, actor=answer.user or "nobody", number=when, at=answer.at)
