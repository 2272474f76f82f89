from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.plan.checks import conflicts, holds
from include.plan.models import Environment, Release
from include.plan.staging import Acceptance, UrlCheck
from tests.unit.plan.test_models import ENVIRONMENT, RELEASE, changed

PRODUCTION = Environment.model_validate(ENVIRONMENT)
STAGING = Environment.model_validate({**ENVIRONMENT, "name": "staging"})
BOTH = {"production": PRODUCTION, "staging": STAGING}


def release(version="3.0.0", **more):
    return Release.model_validate({**RELEASE, "version": version, **more})


NOW = datetime(2030, 1, 1, tzinfo=UTC)


def found(*releases, environments=BOTH, now=NOW, begun=()):
    told = conflicts({r.version: r for r in releases}, environments, now, frozenset(begun))
    return [(one.release, one.place, one.why) for one in told]


def test_releases_a_week_apart_are_in_nobodys_way():
    assert found(release(), release("3.0.1", date="2030-05-08")) == []


def test_two_release_days_on_one_day_are_one_too_many():
    told = found(release(), release("3.0.1"))
    assert [(version, place) for version, place, _ in told] == [
        ("3.0.1", ("date",)),
        ("3.0.1", ("day", "staging_deploy")),
        ("3.0.1", ("timeline", "staging-deploy")),
    ]
    assert told[0][2] == (
        "its release day in production begins 2030-05-01 06:00 UTC, within the release day of release 3.0.0 "
        "(2030-05-01 06:00 to 2030-05-01 13:00 UTC): move one of them"
    )


def test_a_rehearsal_must_not_meet_the_final_test_of_another_release():
    told = found(release(), release("3.0.1", date="2030-05-04"))  # its T-3 is the other one's T-0
    assert [(version, place) for version, place, _ in told] == [("3.0.0", ("day", "staging_deploy"))]
    assert "within the rehearsal of release 3.0.1" in told[0][2]


def test_a_long_stay_is_remembered_behind_a_short_one():
    long = release("3.0.0", timeline={"staging-deploy": {"minutes": 3 * 24 * 60 - 1}})
    short = release("3.0.1", date="2030-05-02", timeline={"staging-deploy": {"minutes": 60}})
    third = release("3.0.2", date="2030-05-03", timeline={"staging-deploy": {"minutes": 60}})
    assert {version for version, place, _ in found(long, short, third) if place[0] == "timeline"} == {
        "3.0.1",
        "3.0.2",
    }


def test_a_release_that_has_begun_keeps_its_place_against_one_that_comes_first():
    first = release("3.0.1", timeline={"release-day": {"at": "T-0 07:00"}})
    assert {version for version, _, _ in found(release(), first)} == {"3.0.0", "3.0.1"}
    told = found(release(), first, begun=["3.0.0"])
    assert {version for version, _, _ in told} == {"3.0.1"}, "a new file takes nobody's place"
    assert "and reaches into the release day of release 3.0.0" in told[0][2]


def test_what_is_over_is_in_nobodys_way():
    both = release(), release("3.0.1")
    assert found(*both, now=both[0].at("sign_off") - timedelta(seconds=1))
    assert found(*both, now=both[0].at("sign_off")) == []


def test_an_environment_that_is_missing_is_where_to_go_nowhere():
    assert found(release(), environments={"production": PRODUCTION}) == [
        (
            "3.0.0",
            ("timeline", "staging-deploy"),
            "there is no environment staging to go to: environments/staging.yaml is missing or broken",
        )
    ]


def test_a_watch_longer_than_the_day_leaves_for_it():
    long = Environment.model_validate(changed(ENVIRONMENT, "watch.seconds", 3601))
    assert found(release(), environments={**BOTH, "production": long}) == [
        (
            "3.0.0",
            ("day", "clean_up"),
            "the watch of production lasts 1 h 1 s, and clean_up (13:00) comes 1 h after the cutover (12:00): set "
            "clean_up later, or watch.seconds in environments/production.yaml shorter",
        )
    ]
    assert found(release(day={"clean_up": "13:30"}), environments={**BOTH, "production": long}) == []


def test_a_channel_and_an_audience_that_do_not_exist():
    status = {"event": "cutover", "at": "12:00", "channel": "#erp-statsu"}
    mail = {"event": "completion", "at": "T+1 09:00", "to": ["everybody"]}
    told = found(release(communication={"status": [status], "mails": [mail]}))
    assert told == [
        (
            "3.0.0",
            ("communication", "status", 0, "channel"),
            "there is no channel '#erp-statsu': messages of environments/production.yaml has #erp-alerts, "
            "#erp-status",
        ),
        (
            "3.0.0",
            ("communication", "mails", 0, "to"),
            "there is no audience 'everybody': messages.audiences of environments/production.yaml has none",
        ),
    ]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2000)), min_size=2, max_size=5))
def test_without_a_conflict_nobody_shares_an_environment_and_the_first_one_keeps_its_place(plans):
    releases = [
        release(
            f"3.0.{number}",
            date=str(release().date + timedelta(days=days)),
            timeline={"staging-deploy": {"minutes": minutes}},
        )
        for number, (days, minutes) in enumerate(plans)
    ]
    refused = {version for version, *_ in found(*releases)}
    every = [hold for one in releases if one.version not in refused for hold in holds(one, BOTH)]
    for one in every:
        for other in every:
            apart = one.ends <= other.begins or other.ends <= one.begins
            assert one.release == other.release or one.environment != other.environment or apart
    overlap = any(
        a.release != b.release and a.environment == b.environment and a.begins < b.ends and b.begins < a.ends
        for r in releases
        for a in holds(r, BOTH)
        for s in releases
        for b in holds(s, BOTH)
    )
    assert bool(refused) == overlap


@pytest.mark.parametrize("minutes", [0, 60])
def test_a_phase_that_only_looks_holds_nothing(minutes):
    assert len(holds(release(timeline={"staging-deploy": {"minutes": minutes}}), BOTH)) == (3 if minutes else 2)


def test_a_rehearsal_lasts_at_least_as_long_as_key_users_may_test():
    uat = {"cases": [{"id": "a", "title": "A"}], "timeout_seconds": 48 * 3600}
    tested = {**BOTH, "staging": STAGING.model_copy(update={"uat": Acceptance.model_validate(uat)})}
    first = release("3.0.0", timeline={"staging-deploy": {"minutes": 60}})
    second = release("3.0.1", date="2030-05-02", timeline={"staging-deploy": {"minutes": 60}})
    assert found(first, second) == []
    [(version, place, why)] = found(first, second, environments=tested)
    assert (version, place) == ("3.0.1", ("timeline", "staging-deploy"))
    assert "within the rehearsal of release 3.0.0" in why


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"traffic": {"public_url": PRODUCTION.traffic.public_url}}, "traffic.public_url"),
        ({"traffic": {"preview_url": PRODUCTION.traffic.public_url.upper()}}, "traffic.preview_url"),
        ({"urls": {"frontend": UrlCheck(url=PRODUCTION.traffic.public_url)}}, "urls.frontend"),
    ],
)
def test_staging_never_leads_to_production(changes, what):
    own = {"public_url": "http://staging.example", "preview_url": "http://preview.staging.example"}
    traffic = STAGING.traffic.model_copy(update={**own, **changes.get("traffic", {})})
    apart = STAGING.model_copy(
        update={"namespace": "elsewhere", "urls": changes.get("urls", {}), "traffic": traffic}
    )
    [(_, place, why)] = found(release(), environments={**BOTH, "staging": apart})
    assert place == ("timeline", "staging-deploy")
    assert why.startswith(f"{what} of environments/staging.yaml is")
    assert found(release(), environments=BOTH) == [], "one place under two names, as in a sandbox"
