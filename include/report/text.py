"""What the reports share: how a time, a duration and somebody's text are told."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from include.ledger.entry import Entry

_EARLIEST = timedelta(days=7)
_LATEST = timedelta(days=1)
_MARKUP = "\\`*_|[]#~"
_BLOCK = re.compile(r"^(\d{0,9})([-+.)](?=\s|$)|[-=](?=[-=\s]*$))")


def duration(length: timedelta) -> str:
    """``4,2 s``, ``12 min 03 s`` or ``1 h 02 min``."""
    seconds = length.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s".replace(".", ",")
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def percent(share: float) -> str:
    """``4,2 %``."""
    return f"{100 * share:.1f} %".replace(".", ",")


def clock(at: float, zone: ZoneInfo) -> str:
    """``12:00:08``, of seconds since the epoch."""
    return f"{datetime.fromtimestamp(at, zone):%H:%M:%S}"


def cell(value: object) -> str:
    """A value inside a line of Markdown: on one line, nothing of it interpreted."""
    text = " ".join(str(value).split()).replace("&", "&amp;")
    for character in _MARKUP:
        text = text.replace(character, f"\\{character}")
    # At the beginning of a line these would open a list or a rule.
    return _BLOCK.sub(r"\1\\\2", text.replace("<", "&lt;").replace(">", "&gt;"))


def happened(entry: Entry) -> datetime:
    """When it happened, which may be before it was recorded: the payload's ``at``, else the entry's own time."""
    return moment(entry.payload.get("at"), near=entry.at) or entry.at


def moment(value: object, *, near: datetime) -> datetime | None:
    """A time of a payload, ISO 8601 with its zone or seconds since the epoch; None when it is none.

    :param near: when it was recorded; a number far away from it is no time
    """
    if isinstance(value, str):
        try:
            told = datetime.fromisoformat(value)
        except ValueError:
            return None
        return told if told.tzinfo is not None else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        earliest, latest = (near - _EARLIEST).timestamp(), (near + _LATEST).timestamp()
        return datetime.fromtimestamp(value, UTC) if earliest <= value <= latest else None
    return None
