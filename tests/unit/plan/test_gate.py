"""The gate of an environment, and what of an environment has to fit it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from include.plan.models import FROM_FILE, Environment, Gate
from tests.unit.plan.test_models import ENVIRONMENT

ROLES = {"technical-lead": ("anna",), "business-owner": ("bo",)}


def environment(**more: Any) -> Environment:
    return Environment.model_validate({**ENVIRONMENT, **more}, context=FROM_FILE)


def test_a_reminder_comes_before_the_deadline() -> None:
    assert Gate(roles=ROLES, timeout_seconds=60, reminder_seconds=0).reminder_seconds == 0
    with pytest.raises(ValidationError, match="nobody could be reminded before the deadline"):
        Gate(roles=ROLES, timeout_seconds=60, reminder_seconds=60)


@pytest.mark.parametrize("roles", [{"lead": ("anna", "bo")}, {"lead": ("anna",), "owner": ("Anna",)}])
def test_a_gate_has_roles_for_enough_people(roles: dict[str, tuple[str, ...]]) -> None:
    """A role stands with one decision, however many people it names; two spellings are one person."""
    with pytest.raises(ValidationError, match="could never say Go"):
        Gate(roles=roles)


def test_some_of_its_roles_are_enough_people_too() -> None:
    roles = {"lead": ("anna", "bo"), "owner": ("cy",)}
    with pytest.raises(ValidationError, match="could never say Go"):
        Gate(roles=roles).only(("lead",))


def test_some_roles_of_a_gate_wait_and_are_reminded_as_long() -> None:
    some = Gate(roles={**ROLES, "x": ("y",)}, timeout_seconds=60, reminder_seconds=20).only(tuple(ROLES))
    assert (dict(some.roles), some.timeout_seconds, some.reminder_seconds) == (ROLES, 60, 20)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"accounts": {"mallory": "3"}}, "mallory has no role"),
        ({"accounts": {"anna": "3", "bo": "3"}}, "one account is one person"),
        ({"accounts": {"anna": "bo"}}, "is the name of another person"),
        ({"sign_off": ["technical-lead"]}, "nobody signs a release off alone"),
        ({"sign_off": ["tester"], "people": {"tester": ["tim", "tom"]}}, "nobody signs a release off alone"),
        ({"people": {"tester": ["Anna"]}}, "'Anna' and 'anna' are one person"),
        ({"people": {"tester": ["account:7"]}}, "no name begins with 'account:'"),
        (
            {"people": {"tester": ["tim"]}, "checklists": {"go-no-go": [{"text": "Tests", "role": "tester"}]}},
            "tester is not asked at the gate",
        ),
    ],
)
def test_what_nobody_could_answer_is_refused(more: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        environment(**more)


def test_a_point_whose_task_leaves_no_record_is_refused() -> None:
    points = [{"text": "Migrated", "task": "db-migration.wach"}]
    with pytest.raises(ValidationError, match=r"db-migration.wach leaves no record: .* db-migration.watch"):
        environment(checklists={"verification": points})


def test_everybody_is_whoever_has_a_role() -> None:
    known = environment(people={"tester": ["tim", "anna"]}, accounts={"tim": "9"})
    assert known.everybody == {"anna", "bo", "tim"}
    assert known.without_lists().accounts == {"tim": "9"}, "a watch lets people in by their accounts"


@pytest.mark.parametrize(
    ("changes", "hours"),
    [
        ({}, 24),
        ({"valid_seconds": 3600, "timeout_seconds": 60}, 1),
        ({"valid_seconds": 60, "timeout_seconds": 7200}, 2),
        ({"valid_seconds": None}, None),
    ],
)
def test_a_go_counts_for_a_day_and_never_for_less_than_people_are_waited_for(
    changes: dict[str, Any], hours: float | None
) -> None:
    gate, now = Gate(roles=ROLES, **changes), datetime(2030, 1, 15, 12, tzinfo=UTC)
    for one in (gate, gate.only(tuple(ROLES)[:2])):
        assert one.oldest(now) == (None if hours is None else now - timedelta(hours=hours))


def test_a_go_that_counts_for_no_time_is_refused() -> None:
    with pytest.raises(ValidationError, match="valid_seconds"):
        Gate(roles=ROLES, valid_seconds=0)
