"""Who was told when: the plan's three deadlines after a rollback (DEPLOYMENT-PLAN, "Rollback-Communication")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from include.messages.deliver import FAILED, SENT
from include.report.postmortem.incident import Incident
from include.report.postmortem.model import Mark, Notice, NoticeState
from include.report.postmortem.timeline import message_name

SOON: Final = timedelta(minutes=1)
"""What "at once" may take before it is asked about."""


@dataclass(frozen=True)
class _Due:
    """A message the plan asks for; ``limit`` None means at once."""

    name: str
    limit: timedelta | None
    fits: Callable[[str], bool]


_DUE: Final = (
    _Due("Slack-Alarm", None, lambda name: name == "rollback-alert"),
    _Due("E-Mail an die Stakeholder", timedelta(minutes=15), lambda name: name == "rollback-mail"),
    _Due(
        "Termin für das Post-Mortem",
        timedelta(hours=1),
        lambda name: "appointment" in name or "mortem" in name,
    ),
)


def notices(incident: Incident, switched: Mark | None, now: datetime) -> tuple[Notice, ...]:
    """What the plan asks for, and what became of it; nothing when the traffic never went back."""
    if switched is None:
        return ()
    return tuple(_notice(incident, due, switched.at, now) for due in _DUE)


def missed(incident: Incident) -> tuple[str, ...]:
    """What the rollback recorded itself as missed, one sentence each."""
    found = []
    for entry in incident.entries:
        if "missed" in entry.kind or "deadline" in entry.kind:
            told = entry.payload.get("sentence") or entry.payload.get("what") or entry.payload.get("message")
            found.append(str(told or entry.kind))
    return tuple(dict.fromkeys(found))


def _notice(incident: Incident, due: _Due, switched_at: datetime, now: datetime) -> Notice:
    sent = [entry for entry in incident.of(SENT) if due.fits(message_name(entry))]
    failed = sum(due.fits(message_name(entry)) for entry in incident.of(FAILED))
    if not sent:
        overdue = now - switched_at > (due.limit or SOON)
        return Notice(due.name, due.limit, None, "missed" if overdue else "open", failed)
    delay = max(timedelta(), sent[0].at - switched_at)
    state: NoticeState = "sent" if due.limit is None else ("in-time" if delay <= due.limit else "late")
    return Notice(due.name, due.limit, delay, state, failed)
