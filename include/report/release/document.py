"""The report as documents: Markdown with the pictures beside it, and one HTML page with them inside."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from include.messages.render import render
from include.report.html import page
from include.report.postmortem.model import Loss
from include.report.postmortem.plot import description, svg
from include.report.release import plot
from include.report.release.model import ReleaseReport, Step, StepState
from include.report.text import cell, duration
from include.version import VERSION

_STATES: Final[dict[StepState, str]] = {
    "on-time": "wie geplant",
    "late": "**später**",
    "early": "früher",
    "missing": "**nicht festgehalten**",
    "open": "noch nicht fällig",
    "unplanned": "ohne Plan im Ledger",
}


def documents(found: ReleaseReport, *, stem: str) -> dict[str, str]:
    """File name → content: ``<stem>.md``, ``<stem>.html``, and a picture ``<stem>-….svg`` for all that has one.

    :param stem: name of the files without suffix; letters, digits, ``.``, ``_``, ``-`` only
    """
    text = markdown(found, stem=stem)
    pictures = {}
    if plot.drawable(found):
        pictures[_day(stem)] = plot.day(found, name="tag")
    for number, window in enumerate(found.windows, 1):
        name = _window(stem, number)
        pictures[name] = svg(window, timezone=found.timezone, name=f"beobachtung-{number}") or ""
    heading = f"Release-Bericht: {found.release}"
    return {f"{stem}.md": text, f"{stem}.html": page(text, title=heading, pictures=pictures), **pictures}


def markdown(found: ReleaseReport, *, stem: str) -> str:
    """The report in German Markdown, which names the pictures that :func:`documents` draws."""
    facts = {
        "it": found,
        "day": (_day(stem), plot.description(found)) if plot.drawable(found) else None,
        "windows": [
            (window, _window(stem, number), description(window, found.timezone))
            for number, window in enumerate(found.windows, 1)
        ],
        "states": _STATES,
        "version": VERSION,
        "cell": cell,
        "clock": _clock(found),
        "delay": _delay,
        "duration": duration,
        "loss": _loss,
    }
    return render("release.md.j2", facts, timezone=found.timezone)


def _day(stem: str) -> str:
    return f"{stem}-tag.svg"


def _window(stem: str, number: int) -> str:
    return f"{stem}-beobachtung-{number}.svg"


def _clock(found: ReleaseReport) -> Callable[[datetime], str]:
    zone = ZoneInfo(found.timezone)
    return lambda moment: f"{moment.astimezone(zone):%d.%m.%Y %H:%M:%S}"


def _delay(step: Step) -> str:
    """By how much a step missed its time; empty where it did not, or where nobody knows."""
    if step.delay is None or step.state == "on-time":
        return ""
    days = abs(step.delay) // timedelta(days=1)
    return f"{days} d" if days else duration(abs(step.delay))


def _loss(loss: Loss) -> str:
    if loss.sent is None or loss.lost is None:
        return f"nicht bekannt: {loss.sentence}"
    before = f", davon {loss.before} schon vorher" if loss.before else ""
    return f"{loss.lost} von {loss.sent} Anfragen des unabhängigen Prüfers{before}"
