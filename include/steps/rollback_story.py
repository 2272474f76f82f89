"""What became of a rollback, and which messages are owed because of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from include.bluegreen.slots import other
from include.bluegreen.state import ServiceState
from include.errors import LedgerError, LedgerUnavailable, RollbackRefused, TrafficError
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.messages import compose
from include.messages.compose import DatabaseRestored, Rollback
from include.messages.model import Message
from include.messages.occasion import Occasion
from include.messages.rollback import DUTIES, Duty, Obligation, invitation, within
from include.steps.announce import Transports, occasion_of
from include.steps.database.entries import LOSS_CONFIRMED, RESTORE_STATED, newest
from include.steps.record import CUT_OVER, ROLLBACK_BLOCKED, ROLLBACK_REFUSED, ROLLBACK_VERIFIED, recorded
from include.steps.rollback import switch_key
from include.steps.rollback_choice import held_by
from include.steps.run import ReleaseRun, parse_release_id
from include.steps.schema_course import RESTORE_STOPPED, RESTORED
from include.steps.stopping import stands_still_if_known

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Story:
    """What became of a rollback.

    :param state: the traffic is ``back``; the rollback was ``refused``, and nobody is worse off; or ``blocked``:
        it should be back and is not
    :param rollback: what was done, when it is back
    :param trouble: what a step could not do, in its own words
    :param down: why users are without the application, a sentence; empty where no restore has left them so
    """

    state: Literal["back", "refused", "blocked"]
    occasion: Occasion
    since: datetime
    rollback: Rollback | None = None
    trouble: Trouble | None = None
    down: str = ""


@dataclass(frozen=True)
class Trouble:
    """An error's words.

    :param at: when it came; None for what is seen now
    :param key: tells one trouble from the next, and each is told once; empty for what is seen now
    """

    what: str
    seen: str
    remedy: str
    at: datetime | None = None
    key: str = ""


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


def story_of(desk: Desk) -> Story:
    """What became of the rollback, as the traffic Service says, else as its steps recorded it."""
    run, occasion = desk.run, occasion_of(desk.run, desk.ledger)
    trouble = _last_trouble(desk)
    words = _words(trouble) if trouble else None
    stopped = stands_still_if_known(run, lambda: _opened(desk))
    down = _DOWN[stopped.kind] if stopped else ""
    try:
        found = held_by(run, desk.service) if desk.service else None
    except TrafficError as error:
        state: Literal["refused", "blocked"] = "refused" if isinstance(error, RollbackRefused) else "blocked"
        seen = Trouble(error.what, error.seen, error.remedy)
        return Story(state, occasion, desk.asked_at, trouble=words or seen, down=down)
    if found and found.moved.direction == "back":
        moved, holder = found.moved, parse_release_id(found.holder)
        # The messages belong to the release and not to the run of `rollback`, so two of those tell it once.
        about = replace(occasion, run_id=holder[2]) if holder else occasion
        checks, unproven = _proof(desk, trouble)
        warnings = _noticed(desk, found.holder)
        restored = _restored(desk)
        done = Rollback(other(moved.to), moved.to, moved.reason, moved.by, moved.at, checks, warnings, restored)
        unserved = bool(trouble and stopped and trouble.sequence > stopped.sequence)
        return Story("back", about, moved.at, done, words if unproven or unserved else None, down)
    if trouble and trouble.kind == ROLLBACK_REFUSED and not down:
        return Story("refused", occasion, desk.asked_at, trouble=words)
    where = f"users are still on slot {found.moved.to}" if found else "the traffic Service cannot be read"
    unknown = Trouble(where, "", f"read the log of the red task in run {run.run_id} of DAG rollback")
    told = words or _restoring(desk, where, stopped) or unknown
    return Story("blocked", occasion, _since(desk, occasion, told), trouble=told, down=down)


def _since(desk: Desk, occasion: Occasion, trouble: Trouble) -> datetime:
    """From when the deadline of a page counts: a trouble that comes after it has one of its own."""
    late = trouble.at is not None and trouble.at > desk.asked_at + within(occasion, "alert")
    return trouble.at if late and trouble.at else desk.asked_at


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
        messages = {"alert": page(desk, story, story.trouble)}
    return tuple(
        Obligation(duty, messages[duty], story.since + within(story.occasion, duty))
        for duty in DUTIES
        if duty in messages
    )


def page(desk: Desk, story: Story, trouble: Trouble) -> Message:
    """The message that calls for humans: one for each trouble."""
    version = desk.run.release.version
    if story.down:
        what = f"{version}: {story.down}: {trouble.what}"
    elif story.rollback:
        what = f"{version} was rolled back, but it is not proven: {trouble.what}"
    else:
        what = f"{version} has NOT been rolled back, nothing was moved: {trouble.what}"
    at = trouble.at or story.since
    message = compose.human_needed(story.occasion, what=what, seen=trouble.seen, remedy=trouble.remedy, at=at)
    return replace(message, key=f"{message.key}:{trouble.key}") if trouble.key else message


def _opened(desk: Desk) -> Ledger:
    if desk.ledger is None:
        raise LedgerUnavailable("the ledger cannot be opened")
    return desk.ledger


def _last_trouble(desk: Desk) -> Entry | None:
    try:
        found = [recorded(desk.ledger, desk.run, kind) for kind in _TROUBLES] if desk.ledger else []
    except LedgerError as error:
        log.warning("%s", error)
        return None
    return max((one for one in found if one), key=lambda one: one.sequence, default=None)


_TROUBLES: Final = (ROLLBACK_REFUSED, ROLLBACK_BLOCKED)
_DOWN: Final[Mapping[str, str]] = {
    RESTORE_STOPPED: "users are down, the application is stopped for a restore of the database",
    RESTORED: "users are down, the database was replaced by its backup and the old version is not back",
}
_SINCE: Final[Mapping[str, str]] = {
    RESTORE_STOPPED: "the application is stopped since",
    RESTORED: "the database was replaced at",
}


def _words(entry: Entry) -> Trouble:
    what, seen, remedy = (str(entry.payload.get(name, "")) for name in ("what", "seen", "remedy"))
    return Trouble(what, seen, remedy, entry.at, str(entry.sequence))


def _restoring(desk: Desk, where: str, stopped: Entry | None) -> Trouble | None:
    """A full restore that waits for a human, or is under way because its newest statement is confirmed.

    :param where: users are, unless the restore has left them without the application
    """
    if desk.ledger is None:
        return None
    try:
        found = recorded(desk.ledger, desk.run, RESTORE_STATED)
        given = newest(desk.ledger, desk.run, LOSS_CONFIRMED, digest=found.payload["digest"]) if found else None
    except LedgerError as error:
        log.warning("%s", error)
        return None
    if found is None:
        return None
    if stopped:
        where = f"users are down: {_SINCE[stopped.kind]} {stopped.at:%H:%M} UTC"
    if given is None:
        remedy = "answer under the required actions; silence restores nothing"
        return Trouble("a full restore needs a human's confirmation of what is lost", where, remedy)
    what = f"a full restore is under way, {given.payload['by']} has confirmed what is lost"
    return Trouble(what, where, "wait for it; clear its task that is red, if there is one")


def _restored(desk: Desk) -> DatabaseRestored | None:
    """What became of the database since the cutover: the messages are of all the rollbacks of one."""
    run, kinds = desk.run, (CUT_OVER, RESTORED)
    try:
        found = (
            desk.ledger.entries(release=run.release.version, environment=run.environment.name, kinds=kinds)
            if desk.ledger
            else ()
        )
    except LedgerError as error:
        log.warning("%s", error)
        return None
    if not found or found[-1].kind != RESTORED:
        return None
    told = found[-1].payload
    at = datetime.fromisoformat(str(told["backup_at"]))
    return DatabaseRestored(str(told["backup"]), at, str(told["kept"]), float(told["minutes"]), str(told["by"]))


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
