"""The gate cannot be passed by accident, by one person, by somebody else, or by editing Airflow's state."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from include.sandbox.airflow_client import AirflowClient, AirflowRefused, Question, Run
from include.sandbox.environment import Sandbox
from include.sandbox.people import DECIDERS, answer_gate, filled, trigger_release
from include.sandbox.processes import wait_until
from tests.e2e.conftest import World
from tests.e2e.gatekeeping import refused
from tests.e2e.worlds import staging_like_production

FAILED = frozenset({"failed"})


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[AirflowClient]:
    with sandbox.airflow.client() as session:
        yield session


@pytest.fixture
def asked(sandbox: Sandbox, client: AirflowClient) -> tuple[Run, list[Question]]:
    """A release whose gate has asked everybody."""
    run = trigger_release(sandbox.airflow, "3.0.0")
    for index in range(len(DECIDERS)):
        client.wait_for_question(run, "go_no_go.decide", map_index=index, deadline_seconds=90)
    return run, list(client.questions(run))


def test_somebody_not_entitled_is_refused_and_a_no_go_ends_the_release(
    sandbox: Sandbox, world: World, client: AirflowClient, asked: tuple[Run, list[Question]]
) -> None:
    run, questions = asked
    before = world.service().selector
    for user in ("admin", "test-user", "release-manager"):
        with sandbox.airflow.client(user) as person, pytest.raises(AirflowRefused) as refused:
            person.answer(questions[0], "Go")
        assert refused.value.status == 403

    answer_gate(sandbox.airflow, run, "No-Go")
    client.wait_for_run(run, deadline_seconds=90, states=FAILED)
    assert "No-Go of" in client.log(run, "go_no_go.decide", map_index=0)
    assert world.service().selector == before


def test_states_set_by_hand_do_not_get_past_the_gate(
    sandbox: Sandbox, world: World, client: AirflowClient, asked: tuple[Run, list[Question]]
) -> None:
    run, questions = asked
    before = world.service()
    for question in questions:
        client.set_task_state(run, "go_no_go.decide", "success", map_index=question.map_index)
    client.wait_for_task(run, "go_no_go.approve", deadline_seconds=60, states=FAILED)
    assert "ApprovalMissing" in client.log(run, "go_no_go.approve")

    for step, upstream in {
        "deploy_idle_slot": ("adopt", "go_no_go.approve"),
        "cutover": ("deploy_idle_slot", "verify_idle_slot"),
    }.items():
        assert refused(client, run, {step: upstream}) == {step: "ApprovalMissing"}

    # Airflow calls a run deadlocked whose watch is set to success while what its failure started still runs.
    client.wait_for_task(run, "start_rollback", deadline_seconds=60)
    before_it = ("cutover", "drain", "watch")
    assert refused(client, run, {"clean_up": before_it}) == {"clean_up": "ApprovalMissing"}
    assert (world.service().selector, world.service().annotations) == (before.selector, before.annotations)
    client.wait_for_run(run, deadline_seconds=60, states=FAILED)


def test_a_step_skipped_by_hand_after_the_gate_stops_the_cutover(
    sandbox: Sandbox, world: World, client: AirflowClient, asked: tuple[Run, list[Question]]
) -> None:
    run, _ = asked
    before = world.service().selector
    # What the evidence says is overwritten: the slots are turned round.
    source = world.active()
    client.set_xcom(run, "preflight", {"from": "green", "to": source, "switch_back": "yes"})
    answer_gate(sandbox.airflow, run)
    client.wait_for_task(run, "verify_idle_slot", deadline_seconds=120, states=frozenset({"running", "success"}))
    deployed = client.xcom(run, "deploy_idle_slot")
    assert deployed["slot"] != source, "an overwritten XCom must not lead into the active slot"
    client.set_run_state(run, "failed")
    client.wait_for_run(run, deadline_seconds=60, states=FAILED)
    assert world.service().selector == before


def test_a_role_that_was_never_in_the_plan_opens_nothing(
    sandbox: Sandbox, world: World, client: AirflowClient, asked: tuple[Run, list[Question]]
) -> None:
    run, _ = asked
    before = world.service()
    client.set_xcom(run, "go_no_go.roles", [{"role": "anybody", "over": ""}] * len(DECIDERS))
    answer_gate(sandbox.airflow, run)
    client.wait_for_run(run, deadline_seconds=120, states=FAILED)
    assert "role 'anybody' is not one that this gate asks here" in client.log(run, "go_no_go.decide", map_index=0)
    assert (world.service().selector, world.service().annotations) == (before.selector, before.annotations)


def test_silence_is_no_go(sandbox: Sandbox, world: World, client: AirflowClient) -> None:
    before = world.service().selector
    with staging_like_production(sandbox, {"gate": {"timeout_seconds": 40, "reminder_seconds": 16}}):
        run = trigger_release(sandbox.airflow, "3.0.0", "staging")
        for index in range(len(DECIDERS)):
            client.wait_for_question(run, "go_no_go.decide", map_index=index, deadline_seconds=90)
        *heard, silent = client.questions(run)
        for question in heard:
            with sandbox.airflow.client(question.assigned_users[0]) as person:
                person.answer(question, "Go", filled(question, ""))
        client.wait_for_run(run, deadline_seconds=120, states=FAILED)
    assert "no answer from" in client.log(run, "go_no_go.decide", map_index=silent.map_index)
    [reminder] = [text for text in world.inbox("slack") if "Entscheidung offen" in text and run.run_id in text]
    assert silent.assigned_users[0] in reminder
    assert not any(question.assigned_users[0] in reminder for question in heard)
    assert world.service().selector == before


def test_a_gate_that_is_cleared_asks_anew_and_shows_what_has_changed(
    sandbox: Sandbox, world: World, client: AirflowClient
) -> None:
    """Airflow keeps a task instance's first question; the cleared gate asks at places that were not asked at."""
    before = world.service().selector
    gate = {"timeout_seconds": 300, "reminder_seconds": 0}
    with staging_like_production(sandbox, {"gate": gate}):
        run = trigger_release(sandbox.airflow, "3.0.0", "staging")
        for index in range(len(DECIDERS)):
            client.wait_for_question(run, "go_no_go.decide", map_index=index, deadline_seconds=90)
        first = next(question for question in client.questions(run) if question.assigned_users[0] == DECIDERS[0])
        with sandbox.airflow.client(DECIDERS[0]) as person:
            person.answer(first, "Go", filled(first, "fine"))
        client.wait_for_task(
            run, "go_no_go.decide", map_index=first.map_index, deadline_seconds=60, states=frozenset({"success"})
        )
    with staging_like_production(sandbox, {"gate": gate, "watch": {"seconds": 21}}):
        client.clear(run, ["go_no_go.roles"])
        for index in range(len(DECIDERS), 2 * len(DECIDERS)):
            asked = client.wait_for_question(run, "go_no_go.decide", map_index=index, deadline_seconds=60)
            assert f"**Changed since it was approved** ({DECIDERS[0]}, " in asked.body
            assert "watch_seconds: 20 → 21" in asked.body
        wait_until(
            lambda: len(client.questions(run)) == len(DECIDERS),
            deadline_seconds=60,
            what="the old questions closed",
        )
        answer_gate(sandbox.airflow, run, "No-Go")
        client.wait_for_run(run, deadline_seconds=90, states=FAILED)
    assert world.service().selector == before
