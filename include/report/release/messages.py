"""What was said to people, and what the plan has that was not said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from include.ledger.entry import Entry
from include.messages.deliver import FAILED, SENT
from include.report.postmortem.timeline import message_name, message_told
from include.report.release.history import History
from include.report.release.model import Message, Step

_AFTER: Final[Mapping[str, str]] = {
    "migration-completed": "database_migration",
    "slot-deployment-started": "production_deploy",
    "cutover": "cutover",
    "cleanup": "clean_up",
    "successful": "verification",
}
"""Message of the plan → the step that it tells: what has not happened is not told."""
_INSTEAD: Final[Mapping[str, str]] = {"migration-needless": "migration-completed"}
"""Message → the plan's message in whose place it is said."""


def messages(history: History, steps: tuple[Step, ...]) -> tuple[Message, ...]:
    """Every message that went out, was tried, or was due by the plan, the oldest first."""
    tried: dict[tuple[str, str], list[Entry]] = {}
    for entry in history.of(SENT, FAILED):
        key = str(entry.payload.get("message") or entry.sequence)
        tried.setdefault((entry.environment, key), []).append(entry)
    told = [_told(history, entries) for entries in tried.values()]
    told += _unsaid(history, steps, {_planned_name(message.name) for message in told})
    return tuple(sorted(told, key=lambda one: (one.at or one.planned or history.ended, one.name)))


def _told(history: History, entries: list[Entry]) -> Message:
    name, first = message_name(entries[0]), entries[0]
    planned = "" if _again(name) else _planned_name(name)
    sent = next((entry for entry in entries if entry.kind == SENT), None)
    return Message(
        name=name,
        told=message_told(name),
        audience=_audience(first),
        environment=first.environment,
        planned=history.planned("status", planned) or history.planned("mails", planned),
        at=sent.at if sent else None,
        failed=sum(entry.kind == FAILED for entry in entries),
    )


def _planned_name(name: str) -> str:
    base = name.partition(":")[0]
    return _INSTEAD.get(base, base)


def _again(name: str) -> bool:
    """Whether it tells anew what has changed since: the plan's time is that of the first one."""
    return name.startswith("announcement:") and not name.endswith(":1")


def _unsaid(history: History, steps: tuple[Step, ...], said: set[str]) -> Iterator[Message]:
    happened = {step.name for step in steps if step.actual}
    for group in ("status", "mails"):
        planned = history.plan.get(group)
        for name in planned if isinstance(planned, dict) else ():
            due = history.planned(group, name)
            step = _AFTER.get(name)
            if name in said or due is None or due > history.ended or (step and step not in happened):
                continue
            via = "Slack" if group == "status" else "E-Mail"
            yield Message(name, message_told(name), via, history.main, due, None, 0)


def _audience(entry: Entry) -> str:
    recipients = entry.payload.get("recipients")
    many = ", ".join(map(str, recipients)) if isinstance(recipients, list) else ""
    via = "Slack" if entry.payload.get("via") == "slack" else "E-Mail"
    return f"{via}: {entry.payload.get('channel') or many or 'niemand'}"
