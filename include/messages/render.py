"""The texts of ``include/templates``: a name that the facts do not have is an error, never a gap in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parents[1] / "templates"

_LONGEST_FACT = 1500
"""Characters of one fact that a message repeats; the rest is in the ledger and the task's log."""


def render(template: str, facts: Mapping[str, Any], *, timezone: str) -> str:
    """Fill in a template.

    ``*.slack.j2`` templates escape every fact, so that nobody's comment can mention a channel or forge a link.

    :param timezone: in which times are told
    :raises jinja2.UndefinedError: the template needs a fact that was not given
    """
    environment = _environment(slack=template.endswith(".slack.j2"))
    zone = ZoneInfo(timezone)
    environment.filters |= {
        "zeit": lambda moment: f"{_local(moment, zone):%H:%M:%S}",
        "zeitpunkt": lambda moment: f"{_local(moment, zone):%d.%m.%Y, %H:%M:%S} Uhr ({timezone})",
    }
    return environment.get_template(template).render(facts).strip() + "\n"


def shortened(fact: str) -> str:
    """The fact on one line, cut where it becomes too long for a message."""
    line = " ".join(fact.split())
    return line if len(line) <= _LONGEST_FACT else line[: _LONGEST_FACT - 1] + "…"


def _environment(*, slack: bool) -> Environment:
    return Environment(
        loader=_loader(),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - these are plain texts; the model escapes them where HTML is sent
        finalize=_for_slack if slack else None,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


@cache
def _loader() -> FileSystemLoader:
    return FileSystemLoader(TEMPLATES)


def _for_slack(value: object) -> object:
    if not isinstance(value, str):
        return value
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _local(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone)
