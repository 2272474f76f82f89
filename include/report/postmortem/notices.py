"""Who was told when: the plan's three deadlines after a rollback (DEPLOYMENT-PLAN, "Rollback-Communication")."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from include.messages.deliver import FAILED, SENT
from include.report.postmortem.incident import Incident
from include.report.postmortem.model import Mark, Notice
from include.report.postmortem.timeline import message_name


@dataclass(frozen=True)
class _Due:
    """A message the plan asks for.

    :param message: its name in the ledger
    :param setting: of its deadline in the environment's ``messages.deadlines``
    :param default: seconds, where the watch recorded no such setting
    """

    name: str
    duty: str
    message: str
    setting: str
    default: float


_DUE: Final = (
    _Due("Slack-Alarm (sofort)", "alert", "rollback-alert", "alert_seconds", 60.0),
    _Due("E-Mail an die Stakeholder", "mail", "rollback-mail", "mail_seconds", 900.0),
    _Due("Einladung zum Post-Mortem", "post-mortem", "post-mortem", "post_mortem_seconds", 3600.0),
)


def notices(incident: Incident, switched: Mark | None, now: datetime) -> tuple[Notice, ...]:
    """What the plan asks for, and what became of it; nothing when the traffic never went back."""
    if switched is None:
        return ()
    deadlines = _deadlines(incident)
    return tuple(_notice(incident, due, deadlines, switched.at, now) for due in _DUE)


def missed(incident: Incident) -> tuple[str, ...]:
    """What the rollback recorded itself as missed, one sentence each."""
    names = {due.duty: due.name for due in _DUE}
    found = []
    for entry in incident.of("deadline.missed"):
        told = entry.payload
        duty = str(told.get("duty") or told.get("message") or "eine Nachricht")
        out = f"hinausgegangen {told['delivered']}" if told.get("delivered") else "nicht hinausgegangen"
        why = told.get("why") or "kein Grund festgehalten"
        found.append(f"{names.get(duty, duty)}, fällig {told.get('due') or 'ohne Frist'}: {out}; {why}")
    return tuple(found)


def _deadlines(incident: Incident) -> dict[str, Any]:
    value: Any = incident.config
    for name in ("environment", "messages", "deadlines"):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _notice(
    incident: Incident, due: _Due, deadlines: dict[str, Any], switched_at: datetime, now: datetime
) -> Notice:
    told = deadlines.get(due.setting)
    limit = timedelta(seconds=told if isinstance(told, int | float) and 0 < told < 1e8 else due.default)
    sent = [entry for entry in incident.of(SENT) if message_name(entry) == due.message]
    failed = sum(message_name(entry) == due.message for entry in incident.of(FAILED))
    if not sent:
        return Notice(due.name, limit, None, "missed" if now - switched_at > limit else "open", failed)
    delay = max(timedelta(), sent[0].at - switched_at)
    return Notice(due.name, limit, delay, "in-time" if delay <= limit else "late", failed)
