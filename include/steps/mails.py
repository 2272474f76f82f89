"""The mails about a release to its audiences, with what the ledger knows: its rehearsal, whether it is live."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Final

from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.messages.announcement import announced_date, announcement, completion
from include.messages.deliver import SENT
from include.messages.model import Message
from include.messages.occasion import Occasion
from include.messages.rehearsal import RehearsalOutcome
from include.plan.communication import MailEvent
from include.plan.loader import Plan
from include.steps.record import RELEASED, ROLLED_BACK, SWITCHED_BACK
from include.steps.run import ReleaseRun
from include.steps.staging.entries import REHEARSAL_COMPLETED

log = logging.getLogger(__name__)

LIVE_IN: Final = "production"
"""The environment whose users the mails are for, wherever the step runs that sends them."""


def for_users(run: ReleaseRun, plan: Plan) -> ReleaseRun:
    """The run as the mails see it: they are about production, and its audiences get them.

    :raises UnknownEnvironment: the plan has no production
    """
    return replace(run, environment=plan.environment(LIVE_IN))


def release_mail(run: ReleaseRun, occasion: Occasion, event: MailEvent, ledger: Ledger) -> Message | None:
    """The mail of an event; None where there is nothing to tell.

    It is told that a release is coming only as long as it is not there, and that it is there only where the ledger
    says so.

    :raises LedgerError: the ledger gives no answer
    :raises PlanError: the plan names an audience that nobody knows
    """
    release, audiences = run.release, run.environment.messages.audiences
    live = _live(run, ledger)
    if event == "announcement":
        if live or release.at("sign_off") <= datetime.now(UTC):
            log.warning("nothing to announce: %s is live, or its day is over: %s", release.version, release.date)
            return None
        told, rehearsal = _announced(run, occasion, ledger), _rehearsal(run, ledger)
        message = announcement(occasion, release, audiences, rehearsal, announced=told)
    else:
        if live is None:
            log.warning("nothing to report: the ledger does not say that %s is live", release.version)
            return None
        message = completion(occasion, release, audiences, live.at)
    if message is None:
        log.info("nothing to send: communication.mails of %s has no %s", release.version, event)
    return message


def _live(run: ReleaseRun, ledger: Ledger) -> Entry | None:
    """The entry that says that the release was proven, if it was not taken back since."""
    kinds = (RELEASED, SWITCHED_BACK, ROLLED_BACK)
    found = ledger.entries(release=run.release.version, environment=run.environment.name, kinds=kinds)
    return found[-1] if found and found[-1].kind == RELEASED else None


def _announced(run: ReleaseRun, occasion: Occasion, ledger: Ledger) -> date | None:
    """The date that people were told last."""
    sent = ledger.entries(release=run.release.version, environment=run.environment.name, kinds=(SENT,))
    dates = (announced_date(occasion, str(entry.payload.get("message", ""))) for entry in reversed(sent))
    return next((told for told in dates if told), None)


def _rehearsal(run: ReleaseRun, ledger: Ledger) -> RehearsalOutcome | None:
    found = ledger.entries(release=run.release.version, kinds=(REHEARSAL_COMPLETED,))
    try:
        return RehearsalOutcome.read(found[-1].payload) if found else None
    except ValueError as error:
        log.warning("ledger entry %s tells nothing of the rehearsal: %s", found[-1].sequence, error)
        return None
