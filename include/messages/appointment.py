"""The post-mortem as a calendar entry that mail programs offer to accept (iTIP, METHOD:REQUEST)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event, vCalAddress, vText

from include.messages.model import Attachment
from include.plan.communication import Language
from include.plan.deadlines import PostMortem

_SATURDAY: Final = 5
FILE: Final = "post-mortem.ics"


@dataclass(frozen=True)
class Appointment:
    """Who meets when about what.

    :param key: the same for every version of the same appointment; mail programs replace the former one
    :param starts: in the time zone that the calendar shows
    :param noted: when it was made; the same each time it is sent
    :param sequence: raised when the appointment is changed
    """

    key: str
    summary: str
    description: str
    starts: datetime
    minutes: int
    organizer: str
    attendees: tuple[str, ...]
    noted: datetime
    place: str = ""
    sequence: int = 0
    language: Language = "de"

    @property
    def uid(self) -> str:
        """The calendar's name for it."""
        domain = self.organizer.rpartition("@")[2] or "stellwerk.invalid"
        return f"{hashlib.sha256(self.key.encode()).hexdigest()[:32]}@{domain}"

    def attachment(self) -> Attachment:
        """The appointment as a file that goes with a mail."""
        parameters = (("method", "REQUEST"), ("charset", "utf-8"))
        return Attachment(FILE, "text/calendar", self._calendar().to_ical(), parameters)

    def _calendar(self) -> Calendar:
        calendar = Calendar()
        calendar.add("prodid", f"-//Stellwerk//Post-Mortem//{self.language.upper()}")
        calendar.add("version", "2.0")
        calendar.add("method", "REQUEST")
        event = Event()
        event.add("uid", self.uid)
        event.add("sequence", self.sequence)
        event.add("dtstamp", self.noted.astimezone(UTC))
        event.add("dtstart", self.starts)
        event.add("dtend", self.starts + timedelta(minutes=self.minutes))
        event.add("summary", self.summary)
        event.add("description", self.description)
        if self.place:
            event.add("location", self.place)
        event.add("status", "CONFIRMED")
        event.add("organizer", vCalAddress(f"mailto:{self.organizer}"))
        for address in self.attendees:
            attendee = vCalAddress(f"mailto:{address}")
            for name, value in (("ROLE", "REQ-PARTICIPANT"), ("PARTSTAT", "NEEDS-ACTION"), ("RSVP", "TRUE")):
                attendee.params[name] = vText(value)
            event.add("attendee", attendee)
        calendar.add_component(event)
        year = self.starts.year
        calendar.add_missing_timezones(first_date=date(year - 1, 1, 1), last_date=date(year + 1, 12, 31))
        return calendar


def meeting_time(since: datetime, plan: PostMortem, timezone: str) -> datetime:
    """When the post-mortem is: so many days later, at the plan's time of that place, never on a weekend."""
    zone = ZoneInfo(timezone)
    day = since.astimezone(zone).date() + timedelta(days=plan.after_days)
    while day.weekday() >= _SATURDAY:
        day += timedelta(days=1)
    local = datetime.combine(day, time.fromisoformat(plan.time), zone)
    # A time that this day does not have (the clocks go forward) becomes the one an hour later.
    return local.astimezone(UTC).astimezone(zone)
