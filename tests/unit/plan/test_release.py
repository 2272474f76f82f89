from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from include.plan.models import Release
from include.plan.timeline import NAMES
from tests.unit.plan.test_models import RELEASE


def release(**more):
    return Release.model_validate({**RELEASE, **more})


def refused(message, **more):
    with pytest.raises(ValidationError, match=message):
        release(**more)


def test_the_defaults_are_the_times_of_the_deployment_plan():
    told = {due.name: due.at for due in release().phases}
    assert told == {
        "release-preparation": datetime(2030, 4, 24, 7, 0, tzinfo=UTC),
        "staging-deploy": datetime(2030, 4, 28, 7, 0, tzinfo=UTC),
        "final-check": datetime(2030, 4, 30, 7, 0, tzinfo=UTC),
        "release-day": datetime(2030, 5, 1, 6, 0, tzinfo=UTC),
        "post-release": datetime(2030, 5, 1, 13, 0, tzinfo=UTC),
    }
    assert release().at("cutover") == datetime(2030, 5, 1, 10, 0, tzinfo=UTC)


def test_what_a_release_leaves_out_of_a_phase_stays_as_it_is():
    planned = release(timeline={"staging-deploy": {"at": "T-4 10:00"}}).timeline.phase("staging-deploy")
    assert (planned.at, planned.after) == ("T-4 10:00", ("release-preparation",))
    assert (planned.late_minutes, planned.minutes) == (360, 480)
    assert release(timeline={"staging-deploy": {"after": []}}).timeline.phase("staging-deploy").after == ()


@pytest.mark.parametrize(
    ("timeline", "message"),
    [
        ({"staging-deploy": {"at": "T+3 09:00"}}, "each phase has to come after the one before it"),
        ({"staging-deploy": {"at": "T-7 09:00"}}, "staging-deploy is at T-7 09:00 and release-preparation at T-7"),
        ({"final-check": {"at": "T-0 08:00"}}, "release-day is at T-0 08:00 and final-check at T-0 08:00"),
        ({"release-day": {"at": "T-1 10:00"}}, "release-day has to be on T-0"),
        ({"release-day": {"at": "T-0 09:30"}}, "has to come after the preparation"),
        ({"post-release": {"at": "T+0 12:00"}}, "it comes after the day"),
        ({"staging-deploy": {"after": ["final-check"]}}, "final-check does not come before staging-deploy"),
        ({"staging-deploy": {"after": ["staging-deploy"]}}, "does not come before"),
        ({"staging-deploy": {"after": ["rollback"]}}, "Input should be 'release-preparation'"),
        ({"staging-deploy": {"at": "T-3"}}, "match pattern"),
        ({"staging-deploy": {"at": "T-3 24:00"}}, "match pattern"),
        ({"staging-deploy": {"at": "T-1000 09:00"}}, "match pattern"),
        ({"release-day": {"minutes": 60}}, "release-day has no minutes"),
        ({"staging-deploy": {"late_minutes": 1}}, "greater than or equal to 2"),
        ({"staging-deploy": {"late_minutes": float("nan")}}, "finite"),
        ({"staging_deployment": {"at": "T-3 09:00"}}, "not permitted"),
        ({"db-migration": {"at": "T-0 09:00"}}, "not permitted"),
    ],
)
def test_a_timeline_that_is_impossible(timeline, message):
    refused(message, timeline=timeline)


@pytest.mark.parametrize(
    ("day", "message"),
    [
        ({"cutover": "11:00"}, r"cutover \(11:00\) has to come after production_deploy \(11:30\)"),
        ({"clean_up": "12:00"}, r"clean_up \(12:00\) has to come after cutover \(12:00\)"),
        ({"cutover": "noon"}, "match pattern"),
        ({"lunch": "12:30"}, "not permitted"),
    ],
)
def test_a_day_that_is_impossible(day, message):
    refused(message, day=day)


def test_no_time_of_a_release_falls_into_a_clock_change():
    spring = {"date": "2027-03-31", "timezone": "Europe/Berlin"}
    assert release(**spring)
    refused("2027-03-28 has no 02:30", **spring, timeline={"staging-deploy": {"at": "T-3 02:30"}})
    autumn = {"date": "2027-10-30", "timezone": "Europe/Berlin"}
    completion = {"event": "completion", "at": "T+1 02:15", "to": ["all"]}
    refused("2027-10-31 has 02:15 twice", **autumn, communication={"mails": [completion]})


@pytest.mark.parametrize("day", ["1999-12-31", "2200-01-01", "0001-01-01", "9999-12-31"])
def test_a_date_that_nobody_means(day):
    refused("date", date=day)


@pytest.mark.parametrize(
    ("communication", "message"),
    [
        ({"mails": [{"event": "announcement", "at": "T+1 09:00", "to": ["all"]}]}, "goes out before T-0"),
        ({"mails": [{"event": "completion", "at": "T-3 09:00", "to": ["all"]}]}, "goes out at T-0 or later"),
        ({"mails": [{"event": "completion", "at": "T+1 09:00", "to": []}]}, "at least 1 item"),
        ({"mails": [{"event": "party", "at": "T+1 09:00", "to": ["all"]}]}, "'announcement' or 'completion'"),
        ({"status": [{"event": "cutover", "at": "12:00", "channel": "#a"}] * 2}, "cutover is told twice"),
        ({"status": [{"event": "cutover", "at": "12:00", "channel": ""}]}, "is not a Slack channel"),
        ({"language": "fr"}, "'de' or 'en'"),
    ],
)
def test_a_communication_that_is_impossible(communication, message):
    refused(message, communication=communication)


offsets = st.tuples(st.integers(-999, 999), st.integers(0, 24 * 60 - 1)).map(
    lambda one: f"T{one[0]:+d} {one[1] // 60:02}:{one[1] % 60:02}"
)


@given(st.dictionaries(st.sampled_from(NAMES), offsets, max_size=5), st.dates())
def test_every_release_that_is_taken_has_its_phases_in_order_and_its_day_on_t_zero(times, day):
    try:
        found = release(date=str(day), timeline={name: {"at": at} for name, at in times.items()})
    except ValidationError:
        return
    at = [due.at for due in found.phases]
    assert at == sorted(set(at))
    assert found.phase("release-day").at.astimezone(found.zone).date() == found.date == day
    assert found.phase("release-day").at < found.at("database_migration") < found.at("sign_off")
    assert found.at("sign_off") <= found.phase("post-release").at
    assert found.at("sign_off") - found.phase("release-day").at < timedelta(days=1)
