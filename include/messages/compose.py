"""Which message says what. The status lines are the deployment plan's own words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from include.ledger.entry import Head
from include.messages.model import Attachment, Message
from include.messages.render import render, shortened
from include.plan.deadlines import MessageDeadlines

Schema = Literal["unchanged", "new", "back", "unknown"]
"""What a migration that has failed has made of the schema; "back": it was the new one and is the old one again."""

_ITSELF = ("watch", "stellwerk", "scheduler")


@dataclass(frozen=True)
class Occasion:
    """The release and run that a message is about, and where its messages go.

    :param timezone: in which times are told, an IANA name
    :param escalation: who gets a mail when Slack takes no alert in time
    :param head: of the ledger when the message was composed; None when the ledger gave no answer
    """

    application: str
    version: str
    previous: str
    environment: str
    run_id: str
    timezone: str
    status_channel: str
    alerts_channel: str
    sender: str
    stakeholders: tuple[str, ...]
    head: Head | None
    escalation: tuple[str, ...] = ()
    deadlines: MessageDeadlines = field(default_factory=MessageDeadlines)

    def key(self, what: str) -> str:
        """The idempotency key of a message of this run."""
        return f"{self.version}@{self.environment}/{self.run_id}:message:{what}"


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
    return _status(occasion, "database-restored", "Database restored from its backup", at)


def migration_completed(occasion: Occasion, *, at: datetime) -> Message:
    """The schema is the release's, and was looked at."""
    return _status(occasion, "migration-completed", "Database migration completed", at)


def migration_needless(occasion: Occasion, *, at: datetime) -> Message:
    """There was nothing to migrate: whoever waits for the schema has it, and not by this run."""
    return _status(occasion, "migration-needless", "Database unchanged: nothing to migrate", at)


def migration_failed(occasion: Occasion, *, schema: Schema, at: datetime) -> Message:
    """It has failed after it was announced; what becomes of the schema is told later."""
    return _status(occasion, "migration-failed", "Database migration failed", at, schema=schema)


def migration_left(occasion: Occasion, *, schema: Schema, at: datetime) -> Message:
    """What a migration that has failed has left, once everybody has decided."""
    line = {"unchanged": "Database unchanged", "back": "Database migration taken back"}.get(
        schema, "Database left as it is"
    )
    # What humans decide later is told as well.
    return _status(occasion, "migration-left", line, at, number=schema, schema=schema)


def traffic_cutover(occasion: Occasion, *, slot: str, at: datetime) -> Message:
    """Users are on the new version from now on."""
    return _status(occasion, "cutover", f"Traffic cutover to {slot}", at, slot=slot)


def slot_cleanup_completed(occasion: Occasion, *, slot: str, at: datetime) -> Message:
    """The old slot is gone, or asleep."""
    return _status(occasion, "cleanup", f"{slot.capitalize()} cleanup completed", at, slot=slot)


def deployment_successful(occasion: Occasion, *, slot: str, at: datetime) -> Message:
    """The release is verified."""
    return _status(occasion, "successful", "Deployment successful", at, slot=slot)


def rollback_alert(occasion: Occasion, rollback: Rollback) -> Message:
    """The alert that goes out at once."""
    facts = rollback_facts(occasion, rollback)
    text = render("rollback_alert.slack.j2", facts, timezone=occasion.timezone)
    return slack(occasion, "rollback-alert", occasion.alerts_channel, text, urgent=True)


def human_needed(occasion: Occasion, *, what: str, seen: str, remedy: str, at: datetime) -> Message:
    """The alert when Stellwerk cannot, or must not, go on by itself.

    :param what: what the matter is, for example the sentence of an error
    :param seen: what was observed
    :param remedy: what the human should do next
    """
    facts = {**facts_of(occasion), "what": shortened(what), "seen": shortened(seen), "remedy": shortened(remedy)}
    text = render("human_needed.slack.j2", {**facts, "at": at}, timezone=occasion.timezone)
    return slack(occasion, "human-needed", occasion.alerts_channel, text, urgent=True)


def rollback_mail(occasion: Occasion, rollback: Rollback) -> Message:
    """The mail that stakeholders get within 15 minutes."""
    text = render("rollback.mail.j2", rollback_facts(occasion, rollback), timezone=occasion.timezone)
    return mail(occasion, "rollback-mail", occasion.stakeholders, text)


def _status(occasion: Occasion, event: str, line: str, at: datetime, *, number: str = "", **told: str) -> Message:
    facts = {**facts_of(occasion), "event": event, "line": line, "at": at, **told}
    text = render("status.slack.j2", facts, timezone=occasion.timezone)
    name = f"{event}:{number}" if number else event
    return slack(occasion, name, occasion.status_channel, text, urgent=False)


def mail(
    occasion: Occasion, name: str, to: tuple[str, ...], text: str, attachments: tuple[Attachment, ...] = ()
) -> Message:
    """An urgent mail of this occasion.

    :param name: makes its key
    :param text: as rendered; the first line is ``Betreff: …``
    """
    subject, _, body = text.partition("\n")
    return Message(
        key=occasion.key(name),
        kind="mail",
        release=occasion.version,
        environment=occasion.environment,
        run_id=occasion.run_id,
        text=body.strip() + "\n",
        sender=occasion.sender,
        recipients=to,
        subject=subject.removeprefix("Betreff:").strip(),
        urgent=True,
        attachments=attachments,
    )


def slack(occasion: Occasion, name: str, channel: str, text: str, *, urgent: bool) -> Message:
    """A post of this occasion; ``name`` makes its key."""
    return Message(
        key=occasion.key(name),
        kind="slack",
        release=occasion.version,
        environment=occasion.environment,
        run_id=occasion.run_id,
        text=text,
        channel=channel,
        urgent=urgent,
    )


def facts_of(occasion: Occasion) -> dict[str, Any]:
    """What every template may name."""
    return {
        "application": occasion.application,
        "version": occasion.version,
        "previous": occasion.previous,
        "environment": occasion.environment,
        "run_id": occasion.run_id,
        "head": occasion.head.short if occasion.head else None,
    }


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
        "restored": rollback.restored,
        "mail_minutes": f"{occasion.deadlines.mail_seconds / 60:g}",
        "post_mortem_minutes": f"{occasion.deadlines.post_mortem_seconds / 60:g}",
    }
