"""A key user's form: only theirs, asked again while it says nothing, not tested when nobody answers."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput

from include.steps import page
from include.steps.staging.entries import UAT_ANSWERED, UAT_ASKED, UAT_SILENT
from stellwerk.operators import uat as tasks
from stellwerk.operators.uat import SUBMIT, ConcludeUat, KeyUsers, UatForm
from tests.unit.steps.staging.rehearsals import USERS, a_ledger, a_run

WORKS = {"case_articles": "passed", "case_order": "passed"}
SILENCE = {"error": "The timeout has passed", "error_type": "timeout"}


class World:
    """The task with its surroundings replaced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run, self.ledger = a_run(), a_ledger()
        self.asked: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.context = cast(Any, {"ti": SimpleNamespace(id=uuid4())})
        self.monkeypatch = monkeypatch
        self.paged: list[Any] = []
        monkeypatch.setattr(page, "page", lambda run, ledger, matter, send: self.paged.append(matter))
        monkeypatch.setattr("stellwerk.notifiers.transport.transports", lambda *_: {})
        monkeypatch.setattr(tasks, "release_run", lambda context, **_: self.run)
        monkeypatch.setattr("stellwerk.operators.base.release_run", lambda context, **_: self.run)
        monkeypatch.setattr(tasks, "upsert_hitl_detail", lambda _, *a, **more: self.asked.append((a, more)))

    def prepared(self, task: Any) -> Any:
        self.monkeypatch.setattr(task, "ledger", lambda run: self.ledger)
        self.monkeypatch.setattr(task, "note_ledger_head", lambda: None)
        return task

    def form(self, user: str = "test-user") -> Any:
        return self.prepared(UatForm(task_id="uat", user=user))

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.ledger.entries()]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def answered(user: str | None = "test-user", **form: Any) -> dict[str, Any]:
    return {
        "chosen_options": [SUBMIT],
        "params_input": form,
        "responded_at": datetime(2026, 1, 12, 12, 5, tzinfo=UTC),
        "responded_by_user": {"id": user, "name": user} if user else None,
        "timedout": user is None,
    }


def test_each_key_user_gets_a_form_of_their_own(world: World) -> None:
    task = world.prepared(KeyUsers(task_id="key_users"))
    assert task.execute(world.context) == [{"user": user} for user in USERS]
    with pytest.raises(TaskAwaitingInput) as waiting:
        world.form().execute(world.context)
    assert 0 < waiting.value.timeout.total_seconds() <= 2 * 24 * 3600
    [((options, subject, body), more)] = world.asked
    assert (options, more["assigned_users"]) == ([SUBMIT], [{"id": "test-user", "name": "test-user"}])
    assert "test-user" in subject
    assert "Artikel" in body
    fields = more["params"]
    assert list(fields) == [
        *("case_articles", "note_articles", "case_order", "note_order", "other", "other_severity")
    ]
    assert fields["case_articles"]["value"] == "not tested", "nobody passes a case by overlooking it"
    assert world.kinds() == [UAT_ASKED]


def test_somebody_else_is_not_asked_whatever_the_task_is_mapped_over(world: World) -> None:
    with pytest.raises(AirflowFailException, match="'mallory' is no key user"):
        world.form("mallory").execute(world.context)
    assert world.asked == []


def test_an_answer_is_recorded_once_with_who_gave_it(world: World) -> None:
    event = answered(**{**WORKS, "case_order": "major", "note_order": "langsam"})
    for _ in range(2):
        told = world.form().execute_complete(world.context, event)
        assert told == {"user": "test-user", "tested": True, "findings": 1}
    [entry] = world.ledger.entries(kinds=(UAT_ANSWERED,))
    assert (entry.actor, entry.payload["cases"]["order"]) == ("test-user", "major")
    assert entry.at == event["responded_at"]


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (answered(), "nothing is filled in"),
        (answered(case_order="blocker"), "Auftrag: say what was wrong"),
        (answered("somebody", **WORKS), "somebody has answered, and test-user was asked"),
        ({**answered(), "params_input": None}, "nothing is filled in"),
    ],
)
def test_what_does_not_count_is_asked_for_again_with_the_reason(world: World, event: Any, why: str) -> None:
    with pytest.raises(TaskAwaitingInput):
        world.form().execute_complete(world.context, event)
    [((_, _, body), _)] = world.asked
    assert f"**Once more, please:** {why}" in body
    assert UAT_ANSWERED not in world.kinds()


def test_what_was_filled_in_is_still_there_when_it_is_asked_again(world: World) -> None:
    event = answered(case_order="blocker", case_articles="passed", other=["no text"], other_severity="awful")
    with pytest.raises(TaskAwaitingInput):
        world.form().execute_complete(world.context, event)
    [(_, more)] = world.asked
    values = {name: field["value"] for name, field in more["params"].items()}
    assert (values["case_order"], values["case_articles"]) == ("blocker", "passed")
    assert (values["other"], values["other_severity"]) == ("", "none"), "what the form does not offer is left out"


@pytest.mark.parametrize("event", [SILENCE, answered(None, **WORKS)])
def test_silence_is_recorded_as_not_tested_and_fails_nothing(world: World, event: Any) -> None:
    with pytest.raises(TaskAwaitingInput):
        world.form().execute(world.context)
    assert world.form().execute_complete(world.context, event) == {"user": "test-user", "tested": False}
    assert world.kinds() == [UAT_ASKED, UAT_SILENT]


def test_people_are_called_as_soon_as_somebody_finds_a_blocker(world: World) -> None:
    world.form("test-admin").execute_complete(world.context, answered("test-admin", **WORKS))
    bad = answered(**{**WORKS, "case_order": "blocker", "note_order": "weg"})
    for _ in range(2):
        world.form().execute_complete(world.context, bad)
    assert {matter.key.rpartition(":")[0] for matter in world.paged} == {"uat:test-user"}
    assert len({matter.key for matter in world.paged}) == 1, "one call for one matter"
    assert "blocker: order: weg (test-user)" in world.paged[0].seen


def test_the_conclusion_stops_what_is_not_accepted(world: World) -> None:
    for user in USERS:
        world.form(user).execute_complete(world.context, answered(user, **WORKS))
    conclude = world.prepared(ConcludeUat(task_id="conclude"))
    assert conclude.execute(world.context)["result"] == "passed"
    later = {**answered(**{**WORKS, "case_order": "blocker", "note_order": "weg"})}
    later["responded_at"] = datetime(2026, 1, 12, 13, tzinfo=UTC)
    world.form().execute_complete(world.context, later)
    with pytest.raises(AirflowFailException, match="do not accept"):
        conclude.execute(world.context)
