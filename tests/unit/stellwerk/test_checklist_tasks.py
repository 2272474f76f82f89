"""A checklist as tasks: each role is asked once for its points, machines settle theirs, silence settles none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput, TaskDeferred

from include.gate.answers import box
from include.gate.checklist import CHECKED, TICKED
from include.steps.record import all_recorded, record
from stellwerk.operators.checklist import DONE, NOT_DONE, ChecklistPoints, ChecklistSettled, TickPoints
from tests.unit.stellwerk.gate_tasks import SILENT, World

NAMES = ("preparation",)
DAY = 24 * 3600.0
MINE = ("Alle TODOs abgeschlossen", "Code-Review durchgeführt")
LEAD = "technical-lead"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def roles(world: World, names: tuple[str, ...] = NAMES) -> list[dict[str, str]]:
    task = ChecklistPoints(task_id="checklist.points", names=names, asks="tick")
    return cast("list[dict[str, str]]", task.execute(world.context()))


def tick(role: str, names: tuple[str, ...] = NAMES, **more: str) -> TickPoints:
    return TickPoints(task_id="checklist.tick", names=names, patience=DAY, role=role, **more)


def ask(world: World, role: str, place: int = 0) -> timedelta:
    with pytest.raises(TaskAwaitingInput) as waiting:
        tick(role).execute(world.context(place))
    return cast(timedelta, waiting.value.timeout)


def waits(world: World, role: str, event: Mapping[str, Any], place: int = 0) -> None:
    with pytest.raises(TaskAwaitingInput):
        tick(role).execute_complete(world.context(place), dict(event))


def settle(world: World, names: tuple[str, ...] = NAMES) -> Any:
    return ChecklistSettled(task_id="checklist.settled", names=names).execute(world.context())


def test_each_role_is_asked_once_for_all_of_its_points_and_everything_is_recorded(world: World) -> None:
    asked = roles(world)
    assert [one["role"] for one in asked] == [
        LEAD, "security-officer", "business-owner", "release-manager", "on-call-lead"
    ]  # fmt: skip
    for place, (one, user) in enumerate(
        zip(asked, ("tina", "sue", "bert", "release-manager", "otto"), strict=True)
    ):
        with pytest.raises(AirflowFailException, match="not every point is settled"):
            settle(world)
        ask(world, one["role"], place)
        tick(one["role"]).execute_complete(world.context(place), world.says(user, DONE))
    assert [field["schema"]["title"] for field in world.asked[0]["params"].values()] == [*MINE, "Comment"]
    assert settle(world)["lists"]["preparation"]["Alle TODOs abgeschlossen"] == "tina: fine"
    assert [len(entry.payload["points"]) for entry in all_recorded(world.ledger, world.run, TICKED)] == [
        2, 1, 1, 1, 1
    ]  # fmt: skip
    assert CHECKED in world.kinds()
    assert [one["over"] for one in roles(world)] == ["yes"] * 5


def test_the_form_tells_its_deadline_by_the_releases_clock(world: World) -> None:
    ask(world, LEAD)
    assert re.search(r"\*\*Waits until \S+ \S+ \(CES?T\)\.\*\*", world.asked[0]["body"])


def test_what_is_ticked_counts_and_the_rest_is_asked_again(world: World) -> None:
    ask(world, LEAD)
    waits(world, LEAD, world.says("tina", DONE, **{box(MINE[1]): False}))
    assert world.pushed["asked_again"] == f"not ticked yet: {MINE[1]}"
    [ticked] = all_recorded(world.ledger, world.run, TICKED)
    assert ticked.payload["points"] == [MINE[0]]
    world.later(1)
    tick(LEAD).execute_complete(world.context(), world.says("tina", DONE, **{box(MINE[0]): False}))
    assert LEAD not in [one["role"] for one in roles(world) if not one["over"]]


@pytest.mark.parametrize(
    ("user", "fields", "why"),
    [
        ("tina", {"comment": " "}, "say in the comment how you know"),
        ("bert", {}, "bert is not of technical-lead"),
    ],
)
def test_a_tick_needs_a_person_of_the_role_and_a_comment(
    world: World, user: str, fields: dict[str, str], why: str
) -> None:
    ask(world, LEAD)
    waits(world, LEAD, world.says(user, DONE, **fields))
    assert world.pushed["asked_again"] == why
    assert TICKED not in world.kinds()


def test_not_done_and_silence_end_the_gate_after_a_reminder(world: World) -> None:
    assert ask(world, LEAD) == timedelta(seconds=0.75 * DAY)
    with pytest.raises(AirflowFailException, match="tina: Not done: fine"):
        tick(LEAD).execute_complete(world.context(), world.says("tina", NOT_DONE))
    world.later(0.75 * DAY + 1)
    waits(world, LEAD, SILENT)
    [reminder] = world.sent
    assert "• technical-lead: tina" in reminder.text
    world.later(0.25 * DAY)
    with pytest.raises(AirflowFailException, match="no answer of technical-lead"):
        tick(LEAD).execute_complete(world.context(), dict(SILENT))


def test_a_machine_settles_its_points_and_nobody_can_tick_them(world: World) -> None:
    names = ("first-hour",)
    for look in (roles, settle):
        with pytest.raises(
            AirflowFailException, match=r"Error-Rate < 1 %.*no record of production-blue-green\.watch"
        ):
            look(world, names)
    rules = ("error_rate", "p95_seconds", "sse_connections", "memory_bytes", "cpu_ratio")
    findings = [[f"criteria.{rule}", "HEALTHY", "well"] for rule in rules]
    record(world.ledger, world.run, "watch.passed", {"result": "PASSED", "findings": findings})
    assert roles(world, names) == [], "nobody is asked"
    assert set(settle(world, names)["lists"]["first-hour"].values()) == {"well"}


def went_well(world: World, **observation: Any) -> None:
    """What machines leave of a release that has gone to production."""
    findings = [["criteria.sse_reconnect_ratio", "HEALTHY", "well"]]
    record(world.ledger, world.run, "watch.passed", {"result": "PASSED", "findings": findings})
    record(world.ledger, world.run, "release.verified", {})
    record(world.ledger, world.run, "cutover.done", {"observation": {"sentence": "seen", **observation}})


def test_where_people_could_tick_what_they_like_nobody_is_asked_and_people_are_called(world: World) -> None:
    went_well(world)
    for _ in range(2):
        with pytest.raises(
            AirflowFailException, match=r"Zero-Downtime achieved: seen.*given to a role.*clear checklist\.points"
        ):
            roles(world, ("verification", "business-success"))
    [page] = world.sent
    assert "nobody is asked for their points; users are on 3.0.0, and nothing has to be done at once" in page.text
    assert "Zero-Downtime achieved" in page.text
    assert "clear checklist.points" in page.text


@pytest.mark.parametrize("kind", ["switch.back", "rollback.done"])
def test_nobody_is_told_that_there_is_no_hurry_where_users_are_not_on_the_release(world: World, kind: str) -> None:
    went_well(world)
    record(world.ledger, world.run, kind, {})
    with pytest.raises(AirflowFailException, match="nobody is asked for their points; expected"):
        roles(world, ("verification", "business-success"))


def test_a_watch_that_a_person_accepted_leaves_its_points_open_and_the_page_says_how_to_go_on(
    world: World,
) -> None:
    accepted = {"result": "ACCEPTED", "sentence": "accepted by tina: bots", "findings": []}
    record(world.ledger, world.run, "watch.passed", accepted)
    went_well(world, lost=0)
    with pytest.raises(AirflowFailException):
        roles(world, ("verification",))
    [page] = world.sent
    for words in ("accepted by tina", "given to a role in environments/", "nothing has to be done at once"):
        assert words in page.text


def test_a_role_is_asked_once_for_several_lists(world: World) -> None:
    went_well(world, lost=0, old_after_new=3)
    asked = [one["role"] for one in roles(world, ("verification", "business-success"))]
    assert asked == ["business-owner", "key-user", LEAD]


def test_an_environment_without_lists_asks_nobody_and_passes(world: World) -> None:
    environment = world.run.environment.model_copy(update={"checklists": {}})
    world.run = replace(world.run, environment=environment)
    assert roles(world) == []
    assert settle(world)["lists"] == {"preparation": {}}


def test_a_place_that_is_over_and_a_role_without_open_points_ask_nobody(world: World) -> None:
    with pytest.raises(TaskDeferred):
        tick(LEAD, over="yes").execute(world.context())
    assert tick("stranger").execute(world.context()) == {"role": "stranger", "points": []}
    assert world.asked == []


def test_what_was_ticked_for_another_date_is_asked_again(world: World) -> None:
    ask(world, LEAD)
    tick(LEAD).execute_complete(world.context(), world.says("tina", DONE))
    assert LEAD not in [one["role"] for one in roles(world) if not one["over"]]
    moved = world.run.release.model_copy(update={"date": world.run.release.date + timedelta(days=60)})
    world.run = replace(world.run, release=moved)
    assert LEAD in [one["role"] for one in roles(world) if not one["over"]]
