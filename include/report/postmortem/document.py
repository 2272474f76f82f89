"""The draft as documents: Markdown with the plot beside it, and one HTML page with the plot inside."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from include.messages.render import render
from include.report.html import page
from include.report.postmortem.model import Loss, MarkName, PostMortem
from include.report.postmortem.plot import description, svg
from include.report.postmortem.questions import FOR_PEOPLE
from include.report.text import cell, duration, percent

_MARKS: Final[dict[MarkName, str]] = {
    "cutover": "Umschaltung",
    "fault": "Erstes Anzeichen",
    "detected": "Erkennung",
    "decided": "Entscheidung",
    "switched": "Rückschaltung",
    "drained": "Offene Verbindungen übergeben",
    "verified": "Alte Version nachgewiesen",
    "closed": "Rollback abgeschlossen",
}
_STATES: Final = {
    "in-time": "rechtzeitig",
    "late": "**verspätet**",
    "missed": "**versäumt**",
    "open": "noch offen",
}


def documents(found: PostMortem, *, stem: str, timezone: str) -> dict[str, str]:
    """File name → content: ``<stem>.md``, ``<stem>.html`` and, where there is a series, ``<stem>.svg``.

    :param stem: name of the files without suffix; letters, digits, ``.``, ``_``, ``-`` only
    :param timezone: in which times are told
    """
    picture = svg(found, timezone=timezone)
    name = f"{stem}.svg"
    text = markdown(found, picture=name if picture else None, timezone=timezone)
    heading = f"Post-Mortem (Entwurf): {found.release} in {found.environment}"
    files = {f"{stem}.md": text, f"{stem}.html": page(text, title=heading, pictures={name: picture or ""})}
    return {**files, name: picture} if picture else files


def markdown(found: PostMortem, *, picture: str | None, timezone: str) -> str:
    """The draft in German Markdown.

    :param picture: name of the plot's file; None when there is no plot
    """
    numbers, turning = found.numbers, found.mark("cutover")
    by_name = {mark.name: mark for mark in found.marks}
    facts = {
        "it": found,
        "marks": [(told, by_name.get(name)) for name, told in _MARKS.items()],
        "share": numbers.errors / numbers.requests if numbers.requests and numbers.errors is not None else None,
        "picture": picture,
        "picture_text": description(found, timezone) if picture else "",
        "timezone": timezone,
        "turning": turning is not None,
        "origin": turning.at if turning else min((event.at for event in found.timeline), default=found.until),
        "states": _STATES,
        "for_people": FOR_PEOPLE,
        "cell": cell,
        "clock": _clock(found, ZoneInfo(timezone)),
        "duration": duration,
        "loss": _loss,
        "number": _number,
        "percent": percent,
    }
    return render("postmortem.md.j2", facts, timezone=timezone)


def _clock(found: PostMortem, zone: ZoneInfo) -> Callable[[datetime], str]:
    """How a moment is told: to a tenth of a second, with its day where the draft knows more than one."""
    moments = [event.at for event in (*found.before, *found.timeline)] + [mark.at for mark in found.marks]
    several = len({moment.astimezone(zone).date() for moment in moments}) > 1

    def told(moment: datetime) -> str:
        local = moment.astimezone(zone)
        return f"{local:%d.%m. }" * several + f"{local:%H:%M:%S},{local.microsecond // 100_000}"

    return told


def _loss(loss: Loss) -> str:
    if loss.sent is None or loss.lost is None:
        return f"nicht bekannt: {loss.sentence}"
    before = f", davon {loss.before} schon vorher" if loss.before else ""
    return f"{loss.lost} von {loss.sent} Anfragen des unabhängigen Prüfers{before}"


def _number(value: int | None) -> str:
    return "nicht festgehalten" if value is None else f"{value:,}".replace(",", ".")
