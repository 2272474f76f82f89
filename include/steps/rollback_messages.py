"""Who is told what of a rollback and by when. No message stands before a switch, and none is given up early."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal

from include.bluegreen.slots import other
from include.bluegreen.state import ServiceState
from include.errors import LedgerError, MessageBusy, MessageError, MessageGivenUp, RollbackRefused, TrafficError
from include.ledger.entry import Entry, NewEntry
from include.ledger.store import Ledger
from include.messages import compose
from include.messages.compose import Occasion, Rollback
from include.messages.deliver import deliver, key_of
from include.messages.model import Message
from include.messages.rollback import DUTIES, Duty, Obligation, escalation, invitation, refusal, within
from include.steps.announce import Transports, occasion_of
from include.steps.record import ROLLBACK_BLOCKED, ROLLBACK_REFUSED, ROLLBACK_VERIFIED, recorded
from include.steps.rollback import switch_key
from include.steps.rollback_choice import held_by
from include.steps.run import ReleaseRun, parse_release_id

log = logging.getLogger(__name__)

MISSED: Final = "deadline.missed"


@dataclass(frozen=True)
class Story:
    """What became of a rollback.

    :param state: the traffic is ``back``; the rollback was ``refused``, and nobody is worse off; or ``blocked``:
        it should be back and is not
    :param rollback: what was done, when it is back
    :param trouble: what a step could not do, in its own words
    """

    state: Literal["back", "refused", "blocked"]
    occasion: Occasion
    since: datetime
    rollback: Rollback | None = None
    trouble: Trouble | None = None


@dataclass(frozen=True)
class Trouble:
    """An error's words."""

    what: str
    seen: str
    remedy: str


@dataclass(frozen=True)
class Desk:
    """What is needed to tell anybody anything.

    :param ledger: None when it cannot be opened
    :param service: the traffic Service; None when it cannot be read
    :param asked_at: when somebody asked for the rollback
    """

    run: ReleaseRun
    ledger: Ledger | None
    service: ServiceState | None
    send: Transports
    asked_at: datetime


def tell(desk: Desk, duty: Duty) -> str:
    """Send one of the rollback's messages, once, and look after its deadline.

    :return: what was done, a sentence
    :raises MessageError: it was not taken; it has to be tried again
    :raises MessageGivenUp: it was not taken, long after its deadline
    """
    story = story_of(desk)
    if story.state == "refused":
        return _answer(desk, story) if duty == "alert" else "nothing to tell: the rollback was refused"
    if duty == "mail" and story.state == "back" and story.trouble:
        _page(desk, story, story.trouble)
    owed = {one.duty: one for one in obligations(desk, story)}.get(duty)
    if owed is None:
        return "nothing to tell: the traffic has not been returned"
    return _fulfil(desk, story, owed)


def overdue(desk: Desk) -> list[str]:
    """Look after every deadline: what is late is sent, recorded and escalated, whoever should have sent it.

    :return: a sentence for each message
    """
    story = story_of(desk)
    if story.state == "refused":
        return ["nothing is owed: the rollback was refused"]
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
    now = datetime.now(UTC)
    return min((one.due for one in obligations(desk, story_of(desk)) if one.due > now), default=None)


def story_of(desk: Desk) -> Story:
    """What became of the rollback, as the traffic Service says, else as its steps recorded it."""
    run, occasion = desk.run, occasion_of(desk.run, desk.ledger)
    trouble = _last_trouble(desk)
    words = _words(trouble) if trouble else None
    try:
        found = held_by(run, desk.service) if desk.service else None
    except TrafficError as error:
        state: Literal["refused", "blocked"] = "refused" if isinstance(error, RollbackRefused) else "blocked"
        seen = Trouble(error.what, error.seen, error.remedy)
        return Story(state, occasion, desk.asked_at, trouble=words or seen)
    if found and found.moved.direction == "back":
        moved, holder = found.moved, parse_release_id(found.holder)
        # The messages belong to the release and not to the run of `rollback`, so two of those tell it once.
        about = replace(occasion, run_id=holder[2]) if holder else occasion
        checks, unproven = _proof(desk, trouble)
        warnings = _noticed(desk, found.holder)
        done = Rollback(other(moved.to), moved.to, moved.reason, moved.by, moved.at, checks, warnings)
        return Story("back", about, moved.at, done, words if unproven else None)
    if trouble and trouble.kind == ROLLBACK_REFUSED:
        return Story("refused", occasion, desk.asked_at, trouble=words)
    where = f"users are still on slot {found.moved.to}" if found else "the traffic Service cannot be read"
    unknown = Trouble(where, "", f"read the log of the red task in run {run.run_id} of DAG rollback")
    return Story("blocked", occasion, desk.asked_at, trouble=words or unknown)


def obligations(desk: Desk, story: Story) -> tuple[Obligation, ...]:
    """The messages that are owed, with their deadlines."""
    messages: dict[Duty, Message] = {}
    if story.rollback:
        messages = {
            "alert": compose.rollback_alert(story.occasion, story.rollback),
            "mail": compose.rollback_mail(story.occasion, story.rollback),
            "post-mortem": invitation(story.occasion, story.rollback, desk.run.environment.messages.post_mortem),
        }
    elif story.state == "blocked" and story.trouble:
        messages = {"alert": _human_needed(desk, story, story.trouble)}
    return tuple(
        Obligation(duty, messages[duty], story.since + within(story.occasion, duty))
        for duty in DUTIES
        if duty in messages
    )


def _fulfil(desk: Desk, story: Story, owed: Obligation) -> str:
    failure: MessageError | None = None
    try:
        done = deliver(desk.ledger, owed.message, desk.send[owed.message.kind], datetime.now(UTC))
    except MessageBusy:
        raise
    except MessageError as error:
        failure = error
    now = datetime.now(UTC)
    _look_after(desk, story, owed, now, failure)
    if failure is None:
        return f"{done.key}: {'sent' if done.sent else 'had been sent before'}"
    if owed.given_up(now):
        raise MessageGivenUp(
            f"{owed.message.key} was not delivered",
            expected=f"it delivered until {owed.due.isoformat()}",
            seen=failure.seen or failure.what,
            remedy="tell people by other means; nobody tries any more",
        ) from failure
    raise failure


def _look_after(desk: Desk, story: Story, owed: Obligation, now: datetime, failure: MessageError | None) -> None:
    """Record a deadline that was missed, and take the other way while the message is not out."""
    if desk.ledger is None:
        log.warning("without the ledger nobody can tell whether the deadline of %s was kept", owed.message.key)
        return
    try:
        sent = desk.ledger.find(key_of(owed.message.key))
        verdict = owed.judged(sent.at if sent else None, now)
        if verdict in ("kept", "open"):
            return
        why = (failure.seen or failure.what) if failure else "it went out after its deadline"
        _record_missed(desk.run, desk.ledger, owed, sent, why)
        log.error("%s should have been out by %s", owed.message.key, owed.due.isoformat())
        if verdict == "missed":
            other_way = escalation(story.occasion, owed, why)
            deliver(desk.ledger, other_way, desk.send[other_way.kind], now)
    except (LedgerError, MessageError) as error:
        log.warning("the missed deadline of %s: %s", owed.message.key, error)


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
    return f"{done.key}: {'sent' if done.sent else 'had been sent before'}"


def _page(desk: Desk, story: Story, trouble: Trouble) -> None:
    message = _human_needed(desk, story, trouble)
    try:
        deliver(desk.ledger, message, desk.send[message.kind], datetime.now(UTC))
    except MessageError as error:
        log.warning("%s", error)


def _human_needed(desk: Desk, story: Story, trouble: Trouble) -> Message:
    run = desk.run
    what = (
        f"{run.release.version} was rolled back, but it is not proven: {trouble.what}"
        if story.rollback
        else f"{run.release.version} has NOT been rolled back, nothing was moved: {trouble.what}"
    )
    return compose.human_needed(
        story.occasion, what=what, seen=trouble.seen, remedy=trouble.remedy, at=story.since
    )


def _last_trouble(desk: Desk) -> Entry | None:
    try:
        found = [recorded(desk.ledger, desk.run, kind) for kind in _TROUBLES] if desk.ledger else []
    except LedgerError as error:
        log.warning("%s", error)
        return None
    return max((one for one in found if one), key=lambda one: one.sequence, default=None)


_TROUBLES: Final = (ROLLBACK_REFUSED, ROLLBACK_BLOCKED)


def _words(entry: Entry) -> Trouble:
    return Trouble(*(str(entry.payload.get(name, "")) for name in ("what", "seen", "remedy")))


def _noticed(desk: Desk, holder: str) -> tuple[str, ...]:
    """What the step that switched says people have to know."""
    try:
        entry = desk.ledger.find(switch_key(holder)) if desk.ledger else None
    except LedgerError as error:
        log.warning("%s", error)
        return ()
    return tuple(str(sentence) for sentence in entry.payload.get("noticed", ())) if entry else ()


def _proof(desk: Desk, trouble: Entry | None) -> tuple[tuple[str, ...], bool]:
    """What was checked after the switch, and whether checking failed."""
    try:
        proven = recorded(desk.ledger, desk.run, ROLLBACK_VERIFIED) if desk.ledger else None
    except LedgerError as error:
        log.warning("%s", error)
        return (), False
    if proven:
        return tuple(str(sentence) for sentence in proven.payload.get("checks", ())), False
    return (), bool(trouble and trouble.payload.get("step") == "verify_traffic")
