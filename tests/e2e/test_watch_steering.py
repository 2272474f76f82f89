"""Humans and a running watch, through Airflow's REST API as the UI uses it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from include.bluegreen.slots import other
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.plan.values import merged
from include.sandbox.airflow_client import AirflowClient, AirflowRefused, Question, Run
from include.sandbox.environment import Sandbox
from include.sandbox.people import answer_gate, trigger_release
from include.sandbox.processes import wait_until
from include.sandbox.story import constant_load
from tests.e2e.conftest import World
from tests.e2e.worlds import staging_like_production

FAILED, SUCCESS = frozenset({"failed"}), frozenset({"success"})
DEFERRED = frozenset({"deferred"})
LEAD, ON_CALL, KEY_USER = "technical-lead", "on-call-lead", "test-user"


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[AirflowClient]:
    with sandbox.airflow.client() as session:
        yield session


@contextmanager
def watched(
    sandbox: Sandbox, client: AirflowClient, version: str, seconds: float, **changes: Any
) -> Iterator[Run]:
    """A release that has cut over and is being watched; the environment is the sandbox's, with a longer watch.

    A test that fails leaves the old version in traffic: the tests after it begin as if it had not been.
    """
    with staging_like_production(sandbox, merged({"watch": {"seconds": seconds}}, changes)):
        run = trigger_release(sandbox.airflow, version, "staging")
        answer_gate(sandbox.airflow, run)
        client.wait_for_task(run, "cutover", deadline_seconds=150, states=SUCCESS)
        client.wait_for_task(run, "watch", deadline_seconds=60, states=DEFERRED)
        try:
            yield run
        except BaseException:
            with contextlib.suppress(Exception):
                print(client.log(run, "watch"))
                say(sandbox, LEAD, client.questions(run)[0], "Roll back now", comment="the test has failed")
                client.wait_for_run(run, deadline_seconds=120)
            raise


def ask(client: AirflowClient, run: Run) -> Question:
    """The open question of the watch, while it is deferred."""
    question = client.wait_for_question(run, "watch", deadline_seconds=60)
    client.wait_for_task(run, "watch", deadline_seconds=60, states=DEFERRED)
    return question


def say(sandbox: Sandbox, user: str, question: Question, choice: str, **fields: Any) -> None:
    with sandbox.airflow.client(user) as person:
        person.answer(question, choice, fields)


def entries(sandbox: Sandbox, run: Run, *kinds: str) -> list[Entry]:
    ledger = Ledger(sandbox.postgres.url("stellwerk", "stellwerk_append"))
    return list(ledger.entries(run_id=run.run_id, kinds=kinds))


def _progress(client: AirflowClient, run: Run) -> dict[str, Any]:
    try:
        return dict(client.xcom(run, "watch", "watch"))
    except AirflowRefused:
        return {}


def test_a_watch_is_seen_extended_and_accepted_and_nonsense_is_asked_again(
    sandbox: Sandbox, world: World, client: AirflowClient
) -> None:
    source = world.active()
    with constant_load(sandbox, "e2e-steering", 40), watched(sandbox, client, "3.0.0", 60) as run:
        question = ask(client, run)
        assert set(question.assigned_users) == {LEAD, "business-owner", ON_CALL}
        for user in (KEY_USER, "admin", "release-manager"):
            with pytest.raises(AirflowRefused) as refused:
                say(sandbox, user, question, "Roll back now")
            assert refused.value.status == 403
        wait_until(lambda: _progress(client, run), deadline_seconds=30, what="progress while deferred")
        assert {"state", "sentence", "seconds_left", "changes"} <= set(_progress(client, run))
        assert client.task(run, "watch").state == "deferred"

        say(sandbox, LEAD, question, "Accept", comment="  ")
        say(sandbox, LEAD, ask(client, run), "Extend", minutes="a while")
        say(sandbox, ON_CALL, ask(client, run), "Extend", minutes="10", comment="slow start")
        question = ask(client, run)
        say(sandbox, LEAD, question, "Accept", comment="key users have tried everything")
        client.wait_for_task(run, "watch", deadline_seconds=60, states=SUCCESS)
        with pytest.raises(AirflowRefused) as refused:
            say(sandbox, ON_CALL, question, "Roll back now", comment="too late")
        assert refused.value.status == 409
        client.wait_for_task(run, "clean_up", deadline_seconds=90, states=SUCCESS)
        client.wait_for_run(run, deadline_seconds=60, states=SUCCESS)

    assert world.active() == other(source)
    log = client.log(run, "watch")
    assert "accepting needs a reason" in log
    assert "extending needs minutes" in log
    [first, second] = entries(sandbox, run, "watch.answer-refused")
    assert (first.actor, second.payload["refused"].startswith("extending needs minutes")) == (LEAD, True)
    [extended] = entries(sandbox, run, "watch.extended")
    assert (extended.actor, extended.payload["minutes"], extended.payload["why"]) == (ON_CALL, 10, "slow start")
    [accepted] = entries(sandbox, run, "watch.accepted")
    assert (accepted.actor, accepted.payload["why"]) == (LEAD, "key users have tried everything")
    [passed] = entries(sandbox, run, "watch.passed")
    assert passed.payload["result"] == "ACCEPTED"
    answered = [event for event in client.events(run) if event["event"] == "update_hitl_detail"]
    assert {LEAD, ON_CALL} <= {event["owner"] for event in answered}, "Airflow's own audit"


def test_roll_back_now_switches_back_in_the_task_and_the_rollback_follows(
    sandbox: Sandbox, world: World, client: AirflowClient
) -> None:
    source = world.active()
    with watched(sandbox, client, "3.0.0", 600) as run:
        assert world.active() == other(source)
        say(sandbox, ON_CALL, ask(client, run), "Roll back now", comment="orders vanish")
        wait_until(lambda: world.active() == source, deadline_seconds=30, what="the switch back")
        client.wait_for_run(run, deadline_seconds=120, states=FAILED)
        [back] = [r for r in client.runs("rollback") if r.run_id == f"after__{run.run_id}"]
        client.wait_for_run(back, deadline_seconds=120, states=SUCCESS)

    states = {task.task_id: task.state for task in client.tasks(run)}
    assert (states["watch"], states["start_rollback"], states["late_answers"]) == ("failed", "success", "success")
    assert "RolledBack" in client.log(run, "watch")
    assert f"watch ({ON_CALL})" in world.service().annotations["stellwerk.io/last-switch"]
    [ordered] = entries(sandbox, run, "watch.rollback-ordered")
    assert (ordered.actor, ordered.payload["why"]) == (ON_CALL, "orders vanish")
    [switched] = entries(sandbox, run, "switch.back")
    assert switched.payload["by"] == f"watch ({ON_CALL})"


@pytest.mark.exhaustive
def test_critical_feedback_holds_the_watch_calls_people_and_is_rolled_back_when_they_say_so(
    sandbox: Sandbox, world: World, client: AirflowClient
) -> None:
    source = world.active()
    alerts = len(world.inbox("slack"))
    conf = {"release": "3.0.0", "environment": "staging"}
    with constant_load(sandbox, "e2e-feedback", 40), watched(sandbox, client, "3.0.0", 20) as run:
        with sandbox.airflow.client(KEY_USER) as user:
            works = user.trigger("user-feedback", {**conf, "verdict": "works", "text": "as fast as before"})
            lost = user.trigger(
                "user-feedback", {**conf, "verdict": "critical-data-loss", "text": "order 17 <gone>"}
            )
            with pytest.raises(AirflowRefused):
                user.trigger("user-feedback", {**conf, "verdict": "dreadful"})
        client.wait_for_run(works, deadline_seconds=90, states=SUCCESS)
        question = client.wait_for_question(lost, "roll_back_now", deadline_seconds=90)
        assert set(question.assigned_users) == {LEAD, "business-owner", ON_CALL}
        assert "order 17" in question.body
        client.wait_for_task(lost, "slack_alert", deadline_seconds=60, states=SUCCESS)
        assert any("order 17 &lt;gone&gt;" in text for text in world.inbox("slack")[alerts:])

        # The window ends, the figures are fine, and it does not pass.
        wait_until(
            lambda: any("without proof of health" in text for text in world.inbox("slack")[alerts:]),
            deadline_seconds=60,
            what="the page that the watch is held",
        )
        assert client.task(run, "watch").state in ("deferred", "running", "scheduled", "queued")
        ask(client, run)
        assert "critical feedback" in client.log(run, "watch")
        with sandbox.airflow.client(LEAD) as lead:
            lead.answer(question, "Roll back now", {"comment": "seen in the database"})
        client.wait_for_run(lost, deadline_seconds=60, states=SUCCESS)
        [back] = [r for r in client.runs("rollback") if r.run_id == f"feedback__{lost.run_id}"]
        client.wait_for_run(back, deadline_seconds=120, states=SUCCESS)
        client.wait_for_run(run, deadline_seconds=120, states=FAILED)

    assert world.active() == source
    [ended] = entries(sandbox, run, "watch.ended")
    assert ended.payload["result"] == "ROLLED_BACK_BY_HAND"
    assert sorted(report["standing"] for report in ended.payload["feedback"]) == ["confirmed", "given"]
    [decided] = entries(sandbox, lost, "feedback.decided")
    assert (decided.actor, decided.payload["why"]) == (LEAD, "seen in the database")


def test_a_critical_report_needs_a_word_and_one_about_nothing_in_traffic_asks_nobody(
    sandbox: Sandbox, client: AirflowClient
) -> None:
    conf = {"release": "3.0.8", "environment": "staging", "verdict": "critical-security"}
    with sandbox.airflow.client(KEY_USER) as user:
        empty = user.trigger("user-feedback", conf)
        idle = user.trigger("user-feedback", {**conf, "text": "the old login page is open"})
    client.wait_for_run(empty, deadline_seconds=90, states=FAILED)
    assert "a critical report says what happened" in client.log(empty, "give_feedback")
    client.wait_for_run(idle, deadline_seconds=90, states=SUCCESS)
    states = {task.task_id: task.state for task in client.tasks(idle)}
    assert (states["slack_alert"], states["roll_back_now"]) == ("success", "skipped")
