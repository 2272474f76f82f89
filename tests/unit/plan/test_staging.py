"""What a plan may say about a rehearsal; nothing of it may be said about production."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from include.plan.loader import load_plan, plan_folder
from include.plan.models import FROM_FILE, Environment
from include.plan.staging import Acceptance, LoadTest

PLAN = load_plan(plan_folder())
KINDS = [{"name": "reader", "requests": [{"path": "/"}]}]
CASES = [{"id": "login", "title": "Anmelden"}]


def environment(name: str, **changes: Any) -> Environment:
    content = PLAN.environment(name).model_dump(mode="json", exclude_unset=True)
    return Environment.model_validate({**content, **changes}, context=FROM_FILE)


@pytest.mark.parametrize("changes", [{"load": {"kinds": KINDS}}, {"uat": {"cases": CASES}}])
def test_production_is_neither_loaded_nor_tried(changes: dict[str, Any]) -> None:
    environment("staging", **changes)
    with pytest.raises(ValidationError, match="production is where users work"):
        environment("production", **changes)


def test_production_never_acts_without_people() -> None:
    gate = {"roles": {"a": ["x"], "b": ["y"]}, "automatic": "staging-deploy"}
    with pytest.raises(ValidationError, match="production is never changed without people"):
        environment("production", gate=gate, database=None, sign_off=[], checklists={})


@pytest.mark.parametrize("phase", ["production-blue-green", "db-migration", "yes", True])
def test_no_other_phase_acts_by_itself(phase: object) -> None:
    gate = {"roles": {"a": ["x"], "b": ["y"]}, "automatic": phase}
    with pytest.raises(ValidationError, match="'staging-deploy'"):
        environment("staging", gate=gate, database=None)


def test_a_role_that_nobody_has_cannot_test() -> None:
    with pytest.raises(ValidationError, match="there is no role 'tester'"):
        environment("staging", uat={"cases": CASES, "role": "tester"})


def test_a_case_that_somebody_else_would_have_to_try_is_refused() -> None:
    with pytest.raises(ValidationError, match="mallory is no key-user"):
        environment("staging", uat={"cases": [{**CASES[0], "users": ["mallory"]}]})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"users": 100, "spawn_rate": 1, "seconds": 60},
            "100 users at 1 per second are not all there within 60 s",
        ),
        ({"kinds": []}, "at least 1 item"),
        ({"kinds": [*KINDS, *KINDS]}, "kinds share a name: reader"),
        ({"kinds": [{"name": "reader", "requests": []}]}, "at least 1 item"),
        ({"kinds": [{"name": "reader", "requests": [{"path": "http://other/"}]}]}, "is not a path"),
        ({"users": 0}, "greater than or equal to 1"),
        ({"seconds": 5 * 3600}, "less than or equal to 14400"),
        ({"thresholds": {"error_rate": 1.5}}, "less than 1"),
        ({"thresholds": {"p95_second": 1}}, "Extra inputs"),
    ],
)
def test_a_load_that_makes_no_sense(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        LoadTest.model_validate({"kinds": KINDS, **changes})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"cases": []}, "at least 1 item"),
        ({"cases": [*CASES, *CASES]}, "cases share an id: login"),
        ({"cases": [{"id": "Log in", "title": "x"}]}, "String should match"),
        ({"required": "some"}, "'all', 'one' or 'none'"),
        ({"blocking": ["awful"]}, "'blocker', 'major' or 'minor'"),
        ({"blocking": []}, "at least 1 item"),
        ({"timeout_seconds": 0}, "greater than 0"),
    ],
)
def test_an_acceptance_that_makes_no_sense(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Acceptance.model_validate({"cases": CASES, **changes})


def test_a_watch_carries_none_of_it() -> None:
    slim = PLAN.environment("staging").without_lists()
    assert (slim.load, slim.uat, slim.urls) == (None, None, {})
