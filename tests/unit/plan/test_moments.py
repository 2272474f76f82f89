from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.plan.moments import ImpossibleMoment, local, moment, zone_of

BERLIN = ZoneInfo("Europe/Berlin")


def test_an_offset_counts_days_of_the_calendar_and_not_hours():
    # The clocks go forward between the two: there are 23 hours from one 09:00 to the next.
    assert moment(date(2027, 3, 29), "T-2 09:00", BERLIN) == datetime(2027, 3, 27, 8, 0, tzinfo=UTC)
    assert moment(date(2027, 3, 29), "T-1 09:00", BERLIN) == datetime(2027, 3, 28, 7, 0, tzinfo=UTC)
    assert moment(date(2027, 3, 29), "T-0 09:00", BERLIN) == moment(date(2027, 3, 29), "T+0 09:00", BERLIN)


@pytest.mark.parametrize(
    ("day", "clock", "zone", "why"),
    [
        (date(2027, 3, 28), "02:30", "Europe/Berlin", "2027-03-28 has no 02:30 in Europe/Berlin"),
        (date(2027, 10, 31), "02:30", "Europe/Berlin", "2027-10-31 has 02:30 twice in Europe/Berlin"),
        (date(2027, 3, 14), "02:00", "America/New_York", "has no 02:00"),
        (date(2027, 4, 4), "01:45", "Australia/Lord_Howe", "has 01:45 twice"),
        (date(2011, 12, 30), "12:00", "Pacific/Apia", "has no 12:00"),
    ],
)
def test_a_time_that_a_clock_change_skips_or_repeats_is_none(day, clock, zone, why):
    with pytest.raises(ImpossibleMoment, match=why):
        local(day, clock, ZoneInfo(zone))


@pytest.mark.parametrize(
    "text", ["T-3", "09:00", "T3 09:00", "T- 3 09:00", "T-3 9:00", "T-3 09:00 ", "T-3\n09:00"]
)
def test_what_is_no_offset(text):
    with pytest.raises(ValueError, match="is not an offset like T-3 09:00"):
        moment(date(2027, 1, 1), text, BERLIN)


@pytest.mark.parametrize(
    "name",
    ["Mars/Olympus", "../../etc/passwd", "/etc/localtime", "", "localtime", "posixrules", "right/UTC", "Factory"],
)
def test_what_is_no_time_zone(name):
    with pytest.raises(ValueError, match="is not a time zone like Europe/Berlin"):
        zone_of(name)


zones = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu", "Africa/Cairo"]
)


@given(st.dates(date(2000, 1, 1), date(2199, 12, 31)), st.integers(0, 24 * 60 - 1), zones)
def test_a_time_that_is_taken_is_shown_by_the_clock_there_and_only_once(day, minute, name):
    zone, clock = ZoneInfo(name), f"{minute // 60:02}:{minute % 60:02}"
    try:
        found = local(day, clock, zone)
    except ImpossibleMoment:
        around = [
            datetime.combine(day, datetime.min.time(), UTC) + timedelta(minutes=minute + quarter * 15)
            for quarter in range(-26 * 4, 26 * 4)
        ]
        offsets = {one.astimezone(zone).utcoffset() for one in around}
        assert len(offsets) > 1, "only a clock change takes a time away"
        return
    assert found.tzinfo is UTC
    shown = found.astimezone(zone)
    assert (shown.date(), f"{shown:%H:%M}") == (day, clock)
