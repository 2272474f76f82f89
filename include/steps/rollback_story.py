"""What became of a rollback, and which messages are owed because of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from include.bluegreen.slots import other
from include.bluegreen.state import ServiceState
from include.errors import LedgerError, RollbackRefused, TrafficError
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.messages import compose
from include.messages.compose import DatabaseRestored, Occasion, Rollback
from include.messages.model import Message
from include.messages.rollback import DUTIES, Duty, Obligation, invitation, within
from include.steps.announce import Transports, occasion_of
from include.steps.database.entries import RESTORE_STATED
from include.steps.record import CUT_OVER, ROLLBACK_BLOCKED, ROLLBACK_REFUSED, ROLLBACK_VERIFIED, recorded
from include.steps.rollback import switch_key
from include.steps.rollback_choice import held_by
from include.steps.run import ReleaseRun, parse_release_id
from include.steps.schema_proof import RESTORED
from include.steps.stopping import open_stop

log = logging.getLogger(__name__)


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
        restored = _restored(desk)
        done = Rollback(other(moved.to), moved.to, moved.reason, moved.by, moved.at, checks, warnings, restored)
        return Story("back", about, moved.at, done, words if unproven else None)
    if trouble and trouble.kind == ROLLBACK_REFUSED:
        return Story("refused", occasion, desk.asked_at, trouble=words)
    where = f"users are still on slot {found.moved.to}" if found else "the traffic Service cannot be read"
    unknown = Trouble(where, "", f"read the log of the red task in run {run.run_id} of DAG rollback")
    return Story("blocked", occasion, desk.asked_at, trouble=words or _restoring(desk, where) or unknown)


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
    """The message that calls for humans."""
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


def _restoring(desk: Desk, where: str) -> Trouble | None:
    """A full restore that waits for a human, or is under way."""
    try:
        found = recorded(desk.ledger, desk.run, RESTORE_STATED) if desk.ledger else None
        stopped = open_stop(desk.run, desk.ledger) if desk.ledger else None
    except LedgerError as error:
        log.warning("%s", error)
        return None
    if found is None:
        return None
    if stopped:
        where = f"users are down: the application is stopped since {stopped.at:%H:%M} UTC"
    remedy = "answer under the required actions, or wait for the restore if that is done; silence restores nothing"
    return Trouble("a full restore needs a human's confirmation of what is lost", where, remedy)


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
