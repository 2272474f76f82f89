"""The mails about a release to its audiences, with what the ledger knows: its rehearsal, whether it is live."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.messages.announcement import Announced, announcement, completion
from include.messages.deliver import SENT
from include.messages.model import Message
from include.messages.occasion import Occasion
from include.messages.rehearsal import RehearsalOutcome
from include.plan.communication import MailEvent
from include.plan.loader import Plan
from include.plan.models import Release
from include.plan.moments import moment
from include.steps.record import RELEASED, ROLLED_BACK, SWITCHED_BACK
from include.steps.run import ReleaseRun
from include.steps.staging.entries import REHEARSAL_COMPLETED

log = logging.getLogger(__name__)

LIVE_IN: Final = "production"
"""The environment whose users the mails are for, wherever the step runs that sends them."""


SETTLED: Final = timedelta(hours=1)
"""So long another result of the rehearsal has to stand before people are told otherwise than they were: what has
failed is often made good within minutes."""


def for_users(run: ReleaseRun, plan: Plan) -> ReleaseRun:
    """The run as the mails see it: they are about production, and its audiences get them.

    :raises UnknownEnvironment: the plan has no production
    """
    return replace(run, environment=plan.environment(LIVE_IN))


def planned_at(release: Release, event: MailEvent) -> datetime | None:
    """When the plan wants the mail sent; None where it wants none."""
    planned = next((one for one in release.communication.mails if one.event == event), None)
    return moment(release.date, planned.at, release.zone) if planned else None


def release_mail(
    run: ReleaseRun, occasion: Occasion, event: MailEvent, ledger: Ledger, now: datetime
) -> Message | None:
    """The mail of an event; None where there is nothing to tell.

    None goes out before its time in the plan, but that a date has moved is told at once. That a release comes is
    told only as long as it is not there, and that it is there only where the ledger says so.

    :raises LedgerError: the ledger gives no answer
    :raises PlanError: the plan names an audience that nobody knows
    """
    release, live = run.release, _live(run, ledger)
    at = planned_at(release, event)
    if at is None:
        log.info("nothing to send: communication.mails of %s has no %s", release.version, event)
        return None
    if event == "announcement":
        if live or release.at("sign_off") <= now:
            log.warning("nothing to announce: %s is live, or its day is over: %s", release.version, release.date)
            return None
        return _announcement(run, occasion, ledger, at, now)
    if live is None:
        log.warning("nothing to report: the ledger does not say that %s is live", release.version)
        return None
    if now < at:
        log.info("nothing to send yet: the %s goes out at %s", event, at.isoformat())
        return None
    return completion(occasion, release, run.environment.messages.audiences, live.at)


def _announcement(
    run: ReleaseRun, occasion: Occasion, ledger: Ledger, at: datetime, now: datetime
) -> Message | None:
    release, told = run.release, _announced(run, occasion, ledger)
    if told is None and now < at:
        log.info("nothing to send yet: the announcement goes out at %s", at.isoformat())
        return None
    ended = _rehearsal_ended(run, ledger)
    rehearsal = _outcome(ended) if ended else None
    result = rehearsal.result if rehearsal else "open"
    if told and told.day == release.date and told.rehearsed != result and ended and now < ended.at + SETTLED:
        log.info(
            "people were told %s; that it is %s is told when it has stood for an hour", told.rehearsed, result
        )
        return None
    return announcement(occasion, release, run.environment.messages.audiences, rehearsal, told=told)


def _live(run: ReleaseRun, ledger: Ledger) -> Entry | None:
    """The entry that says that the release was proven, if it was not taken back since."""
    kinds = (RELEASED, SWITCHED_BACK, ROLLED_BACK)
    found = ledger.entries(release=run.release.version, environment=run.environment.name, kinds=kinds)
    return found[-1] if found and found[-1].kind == RELEASED else None


def _announced(run: ReleaseRun, occasion: Occasion, ledger: Ledger) -> Announced | None:
    """What people were told last."""
    sent = ledger.entries(release=run.release.version, environment=run.environment.name, kinds=(SENT,))
    found = (Announced.read(occasion, str(entry.payload.get("message", ""))) for entry in reversed(sent))
    return next((told for told in found if told), None)


def _rehearsal_ended(run: ReleaseRun, ledger: Ledger) -> Entry | None:
    found = ledger.entries(release=run.release.version, kinds=(REHEARSAL_COMPLETED,))
    return found[-1] if found else None


def _outcome(ended: Entry) -> RehearsalOutcome | None:
    try:
        return RehearsalOutcome.read(ended.payload)
    except ValueError as error:
        log.warning("ledger entry %s tells nothing of the rehearsal: %s", ended.sequence, error)
        return None
