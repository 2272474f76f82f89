"""Which message says what. The status lines are the deployment plan's own words."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from include.messages.limits import shortened
from include.messages.model import Message
from include.messages.occasion import Occasion, facts_of, mail, slack, told

Schema = Literal["unchanged", "new", "back", "unknown"]
"""What a migration that has failed has made of the schema; "back": it was the new one and is the old one again."""

_ITSELF = ("watch", "stellwerk", "scheduler")


@dataclass(frozen=True)
class Rollback:
    """What a rollback did.

    :param from_slot: the slot that was left
    :param to_slot: the slot that takes traffic again
    :param reason: why, one sentence
    :param by: who switched, as the traffic Service says: ``watch``, ``rollback (<user>)`` or a name
    :param switched_at: when the traffic moved
    :param verified: what was checked afterwards, one sentence each
    :param warnings: what people have to look at, for example that too few pods took the traffic
    :param restored: what became of the database, where it was restored
    """

    from_slot: str
    to_slot: str
    reason: str
    by: str
    switched_at: datetime
    verified: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    restored: DatabaseRestored | None = None


@dataclass(frozen=True)
class DatabaseRestored:
    """What a full restore did.

    :param backup_at: the database is what it was then
    :param kept: what the database of until then is called now; empty when there was none
    :param minutes: of writing that were lost
    :param by: who has confirmed that
    """

    backup: str
    backup_at: datetime
    kept: str
    minutes: float
    by: str


def deployment_started(occasion: Occasion, *, by: str, at: datetime) -> Message:
    """The release has begun."""
    return _status(occasion, "deployment-started", "Deployment started", at, by=by)


def slot_deployment_started(occasion: Occasion, *, slot: str, at: datetime) -> Message:
    """The idle slot gets the new version."""
    line = f"{slot.capitalize()} deployment started"
    return _status(occasion, "slot-deployment-started", line, at, slot=slot)


def migration_started(occasion: Occasion, *, at: datetime) -> Message:
    """The schema is about to change under the running version."""
    return _status(occasion, "migration-started", "Database migration started", at)


def database_restored(occasion: Occasion, *, at: datetime) -> Message:
    """The database is its backup's, whatever users have written since then."""
    return _status(occasion, "database-restored", "Database restored from its backup", at, broadcast=True)


def migration_completed(occasion: Occasion, *, at: datetime) -> Message:
    """The schema is the release's, and was looked at."""
    return _status(occasion, "migration-completed", "Database migration completed", at)


def migration_needless(occasion: Occasion, *, at: datetime) -> Message:
    """There was nothing to migrate: whoever waits for the schema has it, and not by this run."""
    message = _status(occasion, "migration-needless", "Database unchanged: nothing to migrate", at)
    return replace(message, channel=occasion.channels.get("migration-completed", message.channel))


def migration_failed(occasion: Occasion, *, schema: Schema, at: datetime) -> Message:
    """It has failed after it was announced; what becomes of the schema is told later."""
    return _status(occasion, "migration-failed", "Database migration failed", at, broadcast=True, schema=schema)


def migration_left(occasion: Occasion, *, schema: Schema, at: datetime) -> Message:
    """What a migration that has failed has left, once everybody has decided."""
    line = {"unchanged": "Database unchanged", "back": "Database migration taken back"}.get(
        schema, "Database left as it is"
    )
    # What humans decide later is told as well.
    return _status(occasion, "migration-left", line, at, number=schema, broadcast=True, schema=schema)


def traffic_cutover(occasion: Occasion, *, slot: str, at: datetime) -> Message:
    """Users are on the new version from now on."""
    return _status(occasion, "cutover", f"Traffic cutover to {slot}", at, broadcast=True, slot=slot)


def slot_cleanup_completed(occasion: Occasion, *, slot: str, at: datetime, accepted_by: str = "") -> Message:
    """The old slot is gone, or asleep.

    :param accepted_by: who has ended a watch that did not pass by itself
    """
    line = f"{slot.capitalize()} cleanup completed"
    return _status(occasion, "cleanup", line, at, slot=slot, accepted_by=accepted_by)


def deployment_successful(occasion: Occasion, *, slot: str, at: datetime) -> Message:
    """The release is verified."""
    return _status(occasion, "successful", "Deployment successful", at, broadcast=True, slot=slot)


def rollback_alert(occasion: Occasion, rollback: Rollback) -> Message:
    """The alert that goes out at once."""
    facts = rollback_facts(occasion, rollback)
    return slack(
        occasion, "rollback-alert", occasion.alerts_channel, "rollback_alert.slack.j2", facts, urgent=True
    )


def human_needed(occasion: Occasion, *, what: str, seen: str, remedy: str, at: datetime) -> Message:
    """The alert when Stellwerk cannot, or must not, go on by itself.

    :param what: what the matter is, for example the sentence of an error
    :param seen: what was observed
    :param remedy: what the human should do next
    """
    facts = {**facts_of(occasion), "what": shortened(what), "seen": shortened(seen), "remedy": shortened(remedy)}
    facts |= {"at": at, "contacts": told(occasion.contacts)}
    return slack(occasion, "human-needed", occasion.alerts_channel, "human_needed.slack.j2", facts, urgent=True)


def rollback_mail(occasion: Occasion, rollback: Rollback) -> Message:
    """The mail that stakeholders get within 15 minutes."""
    facts = {**rollback_facts(occasion, rollback), "support": told(occasion.support)}
    return mail(occasion, "rollback-mail", occasion.stakeholders, "rollback.mail.j2", facts)


def _status(
    occasion: Occasion,
    event: str,
    line: str,
    at: datetime,
    *,
    number: str = "",
    broadcast: bool = False,
    **said: str,
) -> Message:
    """A post in the release's thread.

    :param number: tells apart what a run may have to tell more than once
    :param broadcast: it changes what users work with: the channel shows it as well
    """
    facts = {**facts_of(occasion), "event": event, "line": line, "at": at}
    facts |= {name: shortened(fact) for name, fact in said.items()}
    channel = occasion.channels.get(event, occasion.status_channel)
    name = f"{event}:{number}" if number else event
    post = slack(occasion, name, channel, "status.slack.j2", facts, urgent=False)
    return replace(post, threaded=True, broadcast=broadcast)


def rollback_facts(occasion: Occasion, rollback: Rollback) -> dict[str, Any]:
    """What a template may name that tells of a rollback."""
    by = re.sub(r"^rollback \((.*)\)$", r"\1", rollback.by)
    return {
        **facts_of(occasion),
        "from_slot": rollback.from_slot,
        "to_slot": rollback.to_slot,
        "reason": shortened(rollback.reason),
        "by": shortened(by),
        "itself": by in _ITSELF,
        "switched_at": rollback.switched_at,
        "verified": [shortened(sentence) for sentence in rollback.verified],
        "warnings": [shortened(sentence) for sentence in rollback.warnings],
        "restored": _shown(rollback.restored) if rollback.restored else None,
        "mail_minutes": f"{occasion.deadlines.mail_seconds / 60:g}",
        "post_mortem_minutes": f"{occasion.deadlines.post_mortem_seconds / 60:g}",
    }


def _shown(restored: DatabaseRestored) -> DatabaseRestored:
    return replace(
        restored, backup=shortened(restored.backup), kept=shortened(restored.kept), by=shortened(restored.by)
    )
