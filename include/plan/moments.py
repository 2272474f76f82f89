"""Points in time as a plan names them: ``T-3 09:00``, days from the release's date in its own time zone.

A local time that a clock change skips, or that it repeats, names no point in time: both are refused.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from pydantic import Field

OFFSET_PATTERN: Final = r"^T[+-](0|[1-9]\d{0,2}) ([01]\d|2[0-3]):[0-5]\d$"
CLOCK_PATTERN: Final = r"^([01]\d|2[0-3]):[0-5]\d$"

Offset = Annotated[str, Field(pattern=OFFSET_PATTERN, examples=["T-3 09:00", "T+1 08:00"])]
"""Days before or after T-0, and the time of that day."""

Clock = Annotated[str, Field(pattern=CLOCK_PATTERN, examples=["09:00"])]
"""A time of the day, ``HH:MM``."""

_OFFSET: Final = re.compile(r"T([+-]\d+) (\d\d:\d\d)")
# Of /usr/share/zoneinfo, and what they mean depends on the machine.
_NO_ZONES: Final = re.compile(r"(posix|right)/.*|localtime|posixrules|Factory")


class ImpossibleMoment(ValueError):
    """A clock change skips this local time, or repeats it."""


def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    :raises ValueError: there is none, or it depends on the machine
    """
    wrong = f"{name!r} is not a time zone like Europe/Berlin"
    if _NO_ZONES.fullmatch(name):
        raise ValueError(wrong)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(wrong) from None


def moment(t_zero: date, offset: str, zone: ZoneInfo) -> datetime:
    """The point in time (UTC) that ``offset`` names.

    :param t_zero: the release's date
    :raises ImpossibleMoment: a clock change skips or repeats it
    :raises ValueError: not an offset
    """
    found = _OFFSET.fullmatch(offset)
    if found is None:
        raise ValueError(f"{offset!r} is not an offset like T-3 09:00")
    return local(t_zero + timedelta(days=int(found[1])), found[2], zone)


def local(day: date, clock: str, zone: ZoneInfo) -> datetime:
    """The point in time (UTC) at which ``zone`` shows this day and clock.

    :param clock: ``HH:MM``
    :raises ImpossibleMoment: a clock change skips or repeats it
    """
    wall = datetime.combine(day, time.fromisoformat(clock))
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    # Skipped: it does not come back. Repeated: the second pass is another point in time.
    if first.astimezone(zone).replace(tzinfo=None) != wall:
        raise ImpossibleMoment(
            f"{day} has no {clock} in {zone.key}: the clocks go forward then; choose a time before or after"
        )
    if first != second:
        raise ImpossibleMoment(
            f"{day} has {clock} twice in {zone.key}: the clocks go back then; choose a time before or after"
        )
    return first


def clock_of(offset: str) -> str:
    """The time of the day that ``offset`` names, ``HH:MM``."""
    return offset.rpartition(" ")[2]
