from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.plan.calendar import (
    FORGOTTEN_AFTER,
    PhaseKey,
    Say,
    Standing,
    current,
    decide,
    entries,
    run_id,
    spoken,
)
from include.plan.models import Release
from include.plan.timeline import NAMES, PHASES
from tests.unit.plan.test_models import RELEASE

ONE = Release.model_validate(RELEASE)
REHEARSAL = PhaseKey("3.0.0", "staging-deploy")
PREPARED = {PhaseKey("3.0.0", "release-preparation"): Standing.SUCCEEDED}
DUE = datetime(2030, 4, 28, 7, 0, tzinfo=UTC)  # T-3 09:00 in Berlin


def said(key, standings, now, release=ONE, refused=None):
    known = {entry.key: Standing.NOT_STARTED for entry in entries([release])} | standings
    found = {one.entry.key: one for one in decide(entries([release], refused), known, now)}
    return found[key]


def test_every_phase_of_a_release_is_in_it_and_none_of_the_hours_of_the_day():
    assert [entry.key.phase for entry in entries([ONE])] == list(NAMES)
    entry = next(entry for entry in entries([ONE]) if entry.key == REHEARSAL)
    assert (entry.at, entry.until) == (DUE, DUE + timedelta(hours=6))
    assert entry.conf == {"release": "3.0.0", "environment": "staging", "mode": "rehearsal"}
    assert entry.after == ("release-preparation",)


@pytest.mark.parametrize(
    ("minutes", "say"),
    [(-1, Say.WAITING), (0, Say.START), (1, Say.START), (360, Say.START), (361, Say.MISSED), (10000, Say.MISSED)],
)
def test_it_is_started_from_its_time_on_and_not_by_surprise_later(minutes, say):
    assert said(REHEARSAL, PREPARED, DUE + timedelta(minutes=minutes)).say is say


def test_a_second_before_it_is_not_yet_due():
    assert said(REHEARSAL, PREPARED, DUE - timedelta(seconds=1)).why == "due in 1 s"


@pytest.mark.parametrize("standing", [one for one in Standing if one is not Standing.SUCCEEDED])
def test_it_waits_for_what_it_depends_on(standing):
    found = said(REHEARSAL, {PhaseKey("3.0.0", "release-preparation"): standing}, DUE)
    assert found.say is Say.BLOCKED
    assert found.why == f"waits for release-preparation ({standing.value}); it is given up in 6 h"


def test_what_a_release_does_not_make_it_wait_for_holds_nothing_up():
    free = Release.model_validate({**RELEASE, "timeline": {"staging-deploy": {"after": []}}})
    assert said(REHEARSAL, {}, DUE, free).say is Say.START


@pytest.mark.parametrize(
    ("standing", "say"),
    [
        (Standing.STARTED, Say.RUNNING),
        (Standing.SUCCEEDED, Say.DONE),
        (Standing.FAILED, Say.FAILED),
        (Standing.UNKNOWN, Say.UNKNOWN),
    ],
)
def test_what_was_started_or_is_not_known_is_not_started(standing, say):
    for late in (0, 1, 100_000):
        assert said(REHEARSAL, {**PREPARED, REHEARSAL: standing}, DUE + timedelta(minutes=late)).say is say


def test_where_nobody_looked_nothing_is_started():
    decisions = {one.entry.key: one.say for one in decide(entries([ONE]), {}, DUE)}
    assert decisions[REHEARSAL] is Say.UNKNOWN
    assert decisions[PhaseKey("3.0.0", "release-day")] is Say.WAITING


def test_a_moved_release_is_the_same_release():
    for days in (-400, -30, -3, 0, 3, 30, 400):
        moved = Release.model_validate({**RELEASE, "date": str(ONE.date + timedelta(days=days))})
        keys = {run_id(entry.key) for entry in entries([moved])}
        assert keys == {run_id(entry.key) for entry in entries([ONE])}
        ran = said(REHEARSAL, {**PREPARED, REHEARSAL: Standing.SUCCEEDED}, DUE, moved)
        assert ran.say is Say.DONE


def test_a_release_moved_into_the_past_is_reported_and_one_moved_a_little_is_caught_up():
    long_ago = Release.model_validate({**RELEASE, "date": "2030-04-30"})
    assert said(REHEARSAL, PREPARED, DUE, long_ago).say is Say.MISSED
    earlier = Release.model_validate({**RELEASE, "timeline": {"staging-deploy": {"at": "T-3 07:30"}}})
    assert said(REHEARSAL, PREPARED, DUE, earlier).say is Say.START


def test_a_release_that_does_not_fit_is_not_started_and_says_why():
    found = said(REHEARSAL, PREPARED, DUE, refused={"3.0.0": "overlaps with 2.9.9"})
    assert (found.say, found.why) == (Say.REFUSED, "overlaps with 2.9.9")


def test_two_releases_due_in_the_same_minute_are_both_started():
    other = Release.model_validate({**RELEASE, "version": "3.0.1"})
    known = {entry.key: Standing.NOT_STARTED for entry in entries([ONE, other])}
    at = entries([ONE])[0].at
    started = [one.entry.key.release for one in decide(entries([other, ONE]), known, at) if one.say is Say.START]
    assert started == ["3.0.0", "3.0.1"]


def test_a_release_is_forgotten_as_a_whole():
    every = entries([ONE])
    last = every[-1].at
    assert current(every, last + FORGOTTEN_AFTER - timedelta(seconds=1)) == every
    assert current(every, last + FORGOTTEN_AFTER) == ()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (40, "40 s"), (60, "1 min"), (3600, "1 h"), (5400, "1 h 30 min"), (86400 * 3 + 61, "3 d 1 min")],
)
def test_spans_are_spoken(seconds, text):
    assert spoken(timedelta(seconds=seconds)) == text


# -- a calendar that lives through outages, moves and hands -----------------------------------------------------

MINUTE = timedelta(minutes=1)


@st.composite
def _lives(draw):
    """A release that is moved now and then, a calendar that is away now and then, phases that end somehow."""
    events = st.tuples(
        st.integers(0, 14 * 24 * 60),
        st.sampled_from(["move", "away", "by-hand"]),
        st.integers(-12, 12),
        st.sampled_from(NAMES),
    )
    return draw(st.lists(events, max_size=12)), draw(st.lists(st.booleans(), min_size=5, max_size=5))


@given(_lives())
def test_whatever_happens_nothing_starts_twice_too_late_or_before_what_it_depends_on(life):
    happenings, succeeds = life
    calendar, away_until = entries([ONE]), None
    start = datetime(2030, 4, 20, tzinfo=UTC)
    standings = {entry.key: Standing.NOT_STARTED for entry in entries([ONE])}
    starts: dict[PhaseKey, int] = {}
    ticks = sorted({minute for minute, *_ in happenings} | set(range(0, 14 * 24 * 60, 29)))
    by_minute = {minute: (what, number, phase) for minute, what, number, phase in happenings}
    for minute in ticks:
        now = start + minute * MINUTE
        match by_minute.get(minute):
            case ("move", days, _):
                moved = Release.model_validate({**RELEASE, "date": str(ONE.date + timedelta(days=days))})
                calendar = entries([moved])
            case ("away", hours, _):
                away_until = now + timedelta(hours=abs(hours))
            case ("by-hand", _, phase):
                standings[PhaseKey("3.0.0", phase)] = Standing.SUCCEEDED
        if away_until and now < away_until:
            continue
        for one in decide(calendar, standings, now):
            if one.say is not Say.START:
                continue
            key, entry = one.entry.key, one.entry
            assert standings[key] is Standing.NOT_STARTED
            assert entry.at <= now <= entry.until
            assert all(standings[PhaseKey(key.release, name)] is Standing.SUCCEEDED for name in entry.after)
            starts[key] = starts.get(key, 0) + 1
            index = NAMES.index(key.phase)
            standings[key] = Standing.SUCCEEDED if succeeds[index] else Standing.FAILED
    assert all(number == 1 for number in starts.values())


@given(
    at=st.integers(0, 20_000),
    late=st.integers(2, 7 * 24 * 60),
    standing=st.sampled_from(list(Standing)),
    before=st.sampled_from(list(Standing)),
    look=st.integers(0, 40_000),
)
def test_a_start_needs_every_one_of_its_reasons(at, late, standing, before, look):
    begin = datetime(2030, 1, 1, tzinfo=UTC)
    base = next(entry for entry in entries([ONE]) if entry.key == REHEARSAL)
    entry = replace(base, at=begin + at * MINUTE, until=begin + (at + late) * MINUTE)
    known = {entry.key: standing, PhaseKey("3.0.0", "release-preparation"): before}
    (one,) = decide([entry], known, begin + look * MINUTE)
    reasons = standing is Standing.NOT_STARTED and before is Standing.SUCCEEDED and at <= look <= at + late
    assert (one.say is Say.START) == reasons
    assert one.why


def test_the_phases_stand_in_the_order_of_their_times():
    assert [due.name for due in ONE.phases] == [phase.name for phase in PHASES]
    assert ONE.date == date(2030, 5, 1)
