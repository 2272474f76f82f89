"""Who is told what of a rollback and by when. No message stands before a switch, and none is given up early."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from include.errors import LedgerError, MessageBusy, MessageError, MessageGivenUp, MessageRefused, StellwerkError
from include.ledger.entry import Entry, NewEntry
from include.ledger.store import Ledger
from include.ledger.urgent import urgent
from include.messages.deliver import deliver, key_of
from include.messages.rollback import Duty, Obligation, escalation, refusal
from include.steps.page import Matter
from include.steps.record import ROLLBACK_BLOCKED, ROLLBACK_REFUSED, all_recorded
from include.steps.rollback_story import Desk, Story, Trouble, obligations, page, story_of
from include.steps.run import ReleaseRun
from include.steps.stopping import stands_still

log = logging.getLogger(__name__)

MISSED: Final = "deadline.missed"


def tell(desk: Desk, duty: Duty, *, early: bool = False) -> str:
    """Send one of the rollback's messages, once, and look after its deadline.

    :param early: send it only where the traffic is back already; a later call tells everything else
    :return: what was done, a sentence
    :raises MessageError: it was not taken; it has to be tried again
    :raises MessageGivenUp: it was not taken, long after its deadline
    """
    desk = replace(desk, ledger=urgent(desk.ledger))
    story = story_of(desk)
    if early and story.state != "back":
        return "nothing to tell yet: the traffic is not back"
    if story.state == "refused":
        return _answer(desk, story) if duty == "alert" else "nothing to tell: the rollback was refused"
    if duty in ("alert", "mail") and story.state == "back" and story.trouble:
        _page(desk, story, story.trouble)
    owed = {one.duty: one for one in obligations(desk, story)}.get(duty)
    if owed is None:
        return "nothing to tell: the traffic has not been returned"
    return _fulfil(desk, story, owed)


def overdue(desk: Desk) -> list[str]:
    """Look after every deadline: what is late is sent, recorded and escalated, whoever should have sent it.

    :return: a sentence for each message
    """
    desk = replace(desk, ledger=urgent(desk.ledger))
    story = story_of(desk)
    if story.state == "refused":
        return ["nothing is owed: the rollback was refused"]
    if story.state == "back" and story.trouble:
        _page(desk, story, story.trouble)
    told = []
    for owed in obligations(desk, story):
        now = datetime.now(UTC)
        if now < owed.due:
            told.append(f"{owed.duty}: due {owed.due.isoformat()}")
            continue
        try:
            told.append(_fulfil(desk, story, owed))
        except MessageError as error:
            told.append(f"{owed.duty}: {error}")
    return told


def next_due(desk: Desk) -> datetime | None:
    """The next deadline that has not passed; None when there is none."""
    now, desk = datetime.now(UTC), replace(desk, ledger=urgent(desk.ledger))
    return min((one.due for one in obligations(desk, story_of(desk)) if one.due > now), default=None)


def not_taken_up(run: ReleaseRun, ledger: Ledger | None, task: str, error: BaseException) -> Matter:
    """What people are called for when the application is stopped for a restore and nobody tries to take it up.

    What the ledger knows as a trouble of the run has its key, and is told once, by whomever.

    :param ledger: None when it cannot be opened
    :param task: that has failed
    """
    ours = error if isinstance(error, StellwerkError) else StellwerkError(f"{type(error).__name__}: {error}")
    ledger = urgent(ledger)
    key, down = f"resume:{hashlib.sha256(ours.what.encode()).hexdigest()[:12]}", ""
    try:
        told = all_recorded(ledger, run, ROLLBACK_BLOCKED, ROLLBACK_REFUSED) if ledger else ()
        if told and told[-1].payload.get("what") == ours.what:
            key = str(told[-1].sequence)
        down = "users are down: " if ledger and stands_still(run, ledger) else ""
    except LedgerError as unknown:
        log.warning("%s", unknown)
    what = f"a full restore came to nothing, and the application was not taken up: {down}{ours.what}"
    return Matter(key, what, ours.seen, ours.remedy or f"read the log of {task}, then clear it")


def _fulfil(desk: Desk, story: Story, owed: Obligation) -> str:
    failure: MessageError | None = None
    try:
        done = deliver(desk.ledger, owed.message, desk.send[owed.message.kind], datetime.now(UTC))
    except MessageBusy:
        raise
    except MessageError as error:
        failure = error
    now = datetime.now(UTC)
    told_otherwise = _look_after(desk, story, owed, now, failure)
    if failure is None:
        return str(done)
    if owed.given_up(now):
        raise MessageGivenUp(
            f"{owed.message.key} was not delivered",
            expected=f"it delivered until {owed.due.isoformat()}",
            seen=failure.seen or failure.what,
            remedy="tell people by other means; nobody tries any more",
        ) from failure
    if isinstance(failure, MessageRefused) and not told_otherwise:
        # Nobody knows of it yet: as long as that is so, it is tried again, either way.
        raise MessageError(failure.what, expected=failure.expected, seen=failure.seen, remedy=failure.remedy)
    raise failure


def _look_after(desk: Desk, story: Story, owed: Obligation, now: datetime, failure: MessageError | None) -> bool:
    """Record a deadline that was missed, and take the other way while the message is not out.

    What is refused for good takes it at once.

    :return: whether the other way was taken
    """
    if desk.ledger is None:
        log.warning("without the ledger nobody can tell whether the deadline of %s was kept", owed.message.key)
        return False
    try:
        sent = desk.ledger.find(key_of(owed.message.key))
        verdict = owed.judged(sent.at if sent else None, now)
        why = (failure.seen or failure.what) if failure else "it went out after its deadline"
        if verdict in ("late", "missed"):
            _record_missed(desk.run, desk.ledger, owed, sent, why)
            log.error("%s should have been out by %s", owed.message.key, owed.due.isoformat())
        if verdict == "missed" or (verdict == "open" and isinstance(failure, MessageRefused)):
            other_way = escalation(story.occasion, owed, why, late=verdict == "missed")
            deliver(desk.ledger, other_way, desk.send[other_way.kind], now)
            return True
    except (LedgerError, MessageError) as error:
        log.warning("%s is not told otherwise: %s", owed.message.key, error)
    return False


def _record_missed(run: ReleaseRun, ledger: Ledger, owed: Obligation, sent: Entry | None, why: str) -> None:
    payload = {
        "duty": owed.duty,
        "message": owed.message.key,
        "due": owed.due.isoformat(),
        "delivered": sent.at.isoformat() if sent else None,
        "why": why,
    }
    ledger.append(
        NewEntry(
            kind=MISSED,
            release=run.release.version,
            environment=run.environment.name,
            run_id=run.run_id,
            actor="stellwerk",
            payload=payload,
            key=f"{MISSED}:{owed.message.key}",
        )
    )


def _answer(desk: Desk, story: Story) -> str:
    """Tell whoever asked that it was refused, where it alarms nobody."""
    assert story.trouble is not None, "a refusal has its words"
    words = story.trouble
    by = desk.run.triggered_by or "Stellwerk"
    now = datetime.now(UTC)
    message = refusal(story.occasion, by=by, what=words.what, seen=words.seen, remedy=words.remedy, at=now)
    try:
        done = deliver(desk.ledger, message, desk.send[message.kind], now)
    except LedgerError as error:
        return f"the refusal is in the log only: {error}"
    return str(done)


def _page(desk: Desk, story: Story, trouble: Trouble) -> None:
    message = page(desk, story, trouble)
    try:
        deliver(desk.ledger, message, desk.send[message.kind], datetime.now(UTC))
    except MessageError as error:
        log.warning("%s", error)
