"""A key user's form: only theirs, asked again while it says nothing, not tested when nobody answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskAwaitingInput

from include.errors import LedgerUnavailable, MessageError, UnknownEnvironment
from include.steps import page
from include.steps.record import CUT_OVER, STARTED, record
from include.steps.staging import acceptance, invitation
from include.steps.staging.entries import UAT_ANSWERED, UAT_ASKED, UAT_NOT_COUNTED, UAT_SILENT
from stellwerk.operators import uat as tasks
from stellwerk.operators.uat import SUBMIT, ConcludeUat, KeyUsers, UatForm
from stellwerk.uat_form import Kept
from tests.memory import DyingLedger
from tests.unit.steps.staging.rehearsals import USERS, a_ledger, a_run
from tests.unit.steps.staging.rehearsals import acceptance as acceptance_plan
from tests.unit.steps.staging.served import Staging

WORKS = {"case_articles": "passed", "case_order": "passed"}
SILENCE = {"error": "The timeout has passed", "error_type": "timeout"}


class Store:
    """What Airflow keeps for a task."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def set(self, key: str, value: Any) -> None:
        self.kept[key] = json.loads(json.dumps(value))

    def get(self, key: str) -> Any:
        return self.kept.get(key)

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


class World:
    """The task with its surroundings replaced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run, self.ledger = a_run(), a_ledger()
        self.asked: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.told: list[tuple[str, str]] = []
        self.ti = SimpleNamespace(
            id=uuid4(), dag_id="staging-deploy", run_id="r1", task_id="uat", map_index=1,
            try_number=1, max_tries=8, xcom_push=self.push,
        )  # fmt: skip
        self.password = "known to workers"
        self.store = Store()
        self.context = cast(Any, {"ti": self.ti, "task_state_store": self.store})
        self.staging = Staging(self.run)
        self.slack_is_down = False
        self.held: list[float] = []
        record(self.ledger, self.run, STARTED, {"from": "blue", "to": "green"})
        record(self.ledger, self.run, CUT_OVER, {})
        self.monkeypatch = monkeypatch
        self.paged: list[Any] = []
        monkeypatch.setattr(page, "call", self.call)
        monkeypatch.setattr(acceptance, "hold", self.hold)
        monkeypatch.setattr(invitation, "invite", self.invite)
        monkeypatch.setattr("stellwerk.notifiers.transport.transports", lambda *_: {})
        monkeypatch.setattr("stellwerk.hooks.ledger.ledger_password", lambda _: self.password)
        monkeypatch.setattr(tasks, "release_run", lambda context, **_: self.run)
        monkeypatch.setattr("stellwerk.operators.base.release_run", lambda context, **_: self.run)
        monkeypatch.setattr(tasks, "upsert_hitl_detail", lambda _, *a, **more: self.asked.append((a, more)))

    def call(self, run: Any, ledger: Any, matter: Any, send: Any) -> None:
        if self.slack_is_down:
            raise MessageError("Slack gives no answer")
        self.paged.append(matter)

    async def hold(self, *_: Any, take_over: bool, seconds: float) -> None:
        self.held.append(seconds)

    def invite(self, *given: Any, reminder: bool = False) -> None:
        self.told.append((given[2], "reminder" if reminder else given[5]))

    def push(self, key: str, value: str) -> None:
        self.told.append((key, value))

    def prepared(self, task: Any) -> Any:
        self.monkeypatch.setattr(task, "ledger", lambda run: self.ledger)
        self.monkeypatch.setattr(task, "note_ledger_head", lambda: None)
        with_cluster = lambda run, step: asyncio.run(step(run, cast(Any, self.staging)))  # noqa: E731
        self.monkeypatch.setattr(task, "with_cluster", with_cluster)
        return task

    def form(self, user: str = "test-user") -> Any:
        return self.prepared(UatForm(task_id="uat", user=user, retries=8))

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.ledger.entries() if entry.kind.startswith("uat.")]


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
    assert world.store.kept == {}, "what is recorded is kept no longer"
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
    assert len(world.asked) == 1
    [(key, told), (user, problem)] = world.told
    assert (key, user, problem) == ("asked_again", "test-user", told)
    assert why in told, "Airflow shows the first words again"
    assert UAT_ANSWERED not in world.kinds()
    assert world.store.kept == {}


def test_a_form_that_opens_is_told_and_keeps_others_out_of_staging(world: World) -> None:
    with pytest.raises(TaskAwaitingInput):
        world.form().execute(world.context)
    assert (world.told, world.held) == ([("test-user", "")], [2 * 24 * 3600.0])


def test_where_accounts_are_not_names_the_person_answers_by_account(world: World) -> None:
    world.run = a_run(accounts={"test-user": "7"})
    with pytest.raises(TaskAwaitingInput):
        world.form().execute(world.context)
    assert world.asked[0][1]["assigned_users"] == [{"id": "7", "name": "test-user"}]
    told = world.form().execute_complete(world.context, answered("7", **WORKS))
    assert told["tested"] is True
    [entry] = world.ledger.entries(kinds=(UAT_ANSWERED,))
    assert entry.actor == "test-user"
    with pytest.raises(TaskAwaitingInput):
        world.form().execute_complete(world.context, answered("test-user", **WORKS))


def test_an_answer_outlives_the_ledger_and_the_worker(world: World) -> None:
    form = world.form()
    ledger, world.ledger = world.ledger, cast(Any, DyingLedger())
    with pytest.raises(AirflowException) as failed:
        form.execute_complete(world.context, answered(**WORKS))
    assert not isinstance(failed.value, AirflowFailException)
    world.ledger, world.ti.try_number = ledger, 2
    assert world.form().execute(world.context) == {"user": "test-user", "tested": True, "findings": 0}
    [entry] = world.ledger.entries(kinds=(UAT_ANSWERED,))
    assert entry.at == answered()["responded_at"]
    assert world.asked == [], "nobody is asked twice"


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("stellwerk.operators.uat.release_run", UnknownEnvironment("environments/staging.yaml is being saved")),
        ("stellwerk.hooks.ledger.ledger_password", LedgerUnavailable("no such connection")),
    ],
)
def test_an_answer_that_cannot_be_kept_yet_stays_with_airflow(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str, error: Exception
) -> None:
    def out(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(tasks, "sleep", lambda _: None)
    event = {**answered(**WORKS), "responded_at": datetime.now(UTC)}
    with monkeypatch.context() as failing:
        failing.setattr(what, out)
        with pytest.raises(TaskAwaitingInput) as held:
            world.form().execute_complete(world.context, event)
        assert (held.value.method_name, held.value.timeout) == ("execute_complete", tasks.PAUSE)
        long_ago = {**event, "responded_at": datetime.now(UTC) - timedelta(minutes=31)}
        for ended in (long_ago, SILENCE):
            with pytest.raises(AirflowException):
                world.form().execute_complete(world.context, ended)
    assert world.asked == [], "asking would take the answer away"
    assert world.form().execute_complete(world.context, event)["tested"] is True


def lost(world: World) -> None:
    """An answer is given while the ledger is out, and the next try begins when it is back."""
    form, ledger = world.form(), world.ledger
    world.ledger = cast(Any, DyingLedger())
    with pytest.raises(AirflowException):
        form.execute_complete(world.context, answered(**{**WORKS, "case_order": "blocker", "note_order": "weg"}))
    world.ledger, world.ti.try_number = ledger, 2


def forged(world: World) -> None:
    world.store.kept["answer"] = json.loads(json.dumps(answered(**WORKS), default=str))


def written_by_a_worker_of_another_task(world: World) -> None:
    world.ti.map_index = 2
    Kept(world.context, "stellwerk_ledger").write(answered(**WORKS))
    world.ti.map_index = 1


def changed(world: World) -> None:
    kept = world.store.kept["answer"]
    world.store.kept["answer"] = ("B" if kept[0] == "A" else "A") + kept[1:]


def written_with_another_password(world: World) -> None:
    world.password = "guessed"
    Kept(world.context, "stellwerk_ledger").write(answered(**WORKS))
    world.password = "known to workers"


def given_before_the_form_was_cleared(world: World) -> None:
    world.ti.max_tries = 3
    Kept(world.context, "stellwerk_ledger").write(answered(**WORKS))
    world.ti.max_tries = 8


def written_without_a_password(world: World) -> None:
    world.password = ""


@pytest.mark.parametrize(
    "act",
    [
        *(forged, written_by_a_worker_of_another_task, changed),
        *(written_with_another_password, written_without_a_password, given_before_the_form_was_cleared),
    ],
)
def test_an_answer_that_somebody_else_puts_into_airflows_store_is_none(
    world: World, act: Callable[[World], None]
) -> None:
    lost(world)
    act(world)
    with pytest.raises(TaskAwaitingInput):
        world.form().execute(world.context)
    assert (len(world.asked), world.store.kept) == (1, {})
    assert UAT_ANSWERED not in world.kinds()


def test_a_ledger_without_a_password_keeps_no_answer(world: World) -> None:
    world.password = ""
    assert world.form().execute_complete(world.context, answered(**WORKS))["tested"] is True
    assert world.store.kept == {}


def test_who_clears_a_form_has_it_filled_in_anew(world: World) -> None:
    world.form().execute_complete(world.context, answered(**WORKS))
    world.ti.try_number, world.ti.max_tries = 2, 9
    with pytest.raises(TaskAwaitingInput):
        world.form().execute(world.context)
    assert world.store.kept == {}


def test_what_is_said_of_another_release_does_not_count(world: World) -> None:
    world.staging.switched_back()
    bad = answered(**{**WORKS, "case_order": "blocker", "note_order": "weg"})
    with pytest.raises(AirflowFailException, match=r"the test of test-user of 3\.0\.0 in staging would show"):
        world.form().execute_complete(world.context, bad)
    [entry] = world.ledger.entries(kinds=(UAT_NOT_COUNTED,))
    assert entry.payload["findings"][0]["text"] == "weg"
    assert "the traffic is on blue" in entry.payload["problem"]
    with pytest.raises(AirflowFailException, match=r"a test of 3\.0\.0"):
        world.form().execute(world.context)
    assert (world.asked, world.paged, UAT_ANSWERED in world.kinds()) == ([], [], False)


def test_that_nobody_could_be_called_is_tried_again_and_stops_no_test(world: World) -> None:
    bad = answered(**{**WORKS, "case_order": "blocker", "note_order": "weg"})
    world.slack_is_down = True
    with pytest.raises(AirflowException, match="Slack gives no answer"):
        world.form().execute_complete(world.context, bad)
    world.ti.try_number = 9
    assert world.form().execute(world.context)["tested"] is True
    assert world.kinds() == [UAT_ANSWERED]


@pytest.mark.parametrize("event", [SILENCE, answered(None, **WORKS)])
def test_silence_is_recorded_as_not_tested_and_fails_nothing(world: World, event: Any) -> None:
    world.run = a_run(uat=acceptance_plan(timeout_seconds=0.001))
    with pytest.raises(TaskAwaitingInput):
        world.form().execute(world.context)
    assert world.form().execute_complete(world.context, event) == {"user": "test-user", "tested": False}
    assert world.kinds() == [UAT_ASKED, UAT_SILENT]


def test_who_is_silent_is_reminded_and_waited_for_until_the_deadline(world: World) -> None:
    with pytest.raises(TaskAwaitingInput) as first:
        world.form().execute(world.context)
    assert 0 < first.value.timeout.total_seconds() <= 1.5 * 24 * 3600
    with pytest.raises(TaskAwaitingInput):
        world.form().execute_complete(world.context, SILENCE)
    assert world.told == [("test-user", ""), ("test-user", "reminder")]
    assert (len(world.asked), world.kinds(), world.store.kept) == (1, [UAT_ASKED], {})


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
