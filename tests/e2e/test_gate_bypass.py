"""Every known way round the gate, tried over the REST API under each auth manager: all of them are refused.

Under each manager one release is approved, by a delegate too, and stopped before it acts; then the plan changes,
and a second release is held at its gate. The tests run in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest

from include.ledger.approvals import DECISION
from include.ledger.delegations import DELEGATED
from include.sandbox.airflow_client import AirflowRefused, Question, Run
from include.sandbox.airflow_environment import DECIDERS, AuthManager, accounts
from include.sandbox.beside import airflow_beside
from include.sandbox.environment import Sandbox
from include.sandbox.people import RELEASE_MANAGER
from include.steps.gate import REFUSED
from include.steps.record import ADOPTED, APPROVED
from include.steps.schema_course import (
    MIGRATED,
    MIGRATION_INTENDED,
    RESTORED,
)
from tests.e2e.conftest import World
from tests.e2e.gatekeeping import (
    ACTING,
    ADOPTING,
    DELEGATE,
    FAILED,
    SUCCESS,
    Guarded,
    delete,
    forced,
    installed_before,
    refused,
    set_states_at_once,
)
from tests.e2e.worlds import staging_like_production
from tests.tiers import further

# What differs is who is asked: under FAB by number. What is then refused is the same code.
MANAGERS = ["simple", *further("fab")]
LEAD, OWNER, ON_CALL = DECIDERS
GATE = {"timeout_seconds": 900, "reminder_seconds": 0}


@pytest.fixture(scope="module", params=MANAGERS)
def guarded(request: pytest.FixtureRequest, sandbox: Sandbox) -> Iterator[Guarded]:
    manager: AuthManager = request.param
    if manager == sandbox.options.auth_manager:
        yield Guarded(sandbox, sandbox, manager)
        return
    with airflow_beside(sandbox, manager) as beside:
        yield Guarded(sandbox, beside, manager)


def _plan(guarded: Guarded, **more: object) -> dict[str, object]:
    known = accounts(guarded.manager)
    people = {user: known[user] for user in (*DECIDERS, DELEGATE) if user in known}
    return {"gate": GATE, "people": {DELEGATE: [DELEGATE]}, "accounts": people, **more}


@pytest.fixture(scope="module")
def approved(guarded: Guarded) -> Run:
    """A release with a valid approval, stopped before it acted; a delegate spoke for the technical lead."""
    with staging_like_production(guarded.place, _plan(guarded)), guarded.client() as client:
        run = guarded.start()
        asked = guarded.asked(run)
        client.set_task_state(run, "adopt", "failed")
        guarded.say(LEAD, asked[LEAD], "Delegate", delegate=DELEGATE)
        for user in (OWNER, ON_CALL):
            guarded.say(user, asked[user], "Go")
        again = client.wait_for_question(run, "go_no_go.decide_again", map_index=0, deadline_seconds=60)
        guarded.seen["again"] = again
        guarded.say(DELEGATE, again, "Go")
        client.wait_for_task(run, "go_no_go.approve", deadline_seconds=60, states=SUCCESS)
        client.wait_for_run(run, deadline_seconds=60, states=FAILED)
    return run


@pytest.fixture(scope="module")
def held(guarded: Guarded, approved: Run) -> Iterator[tuple[Run, dict[str, Question]]]:
    """A release at its gate, after the plan has changed since the other one was approved."""
    with staging_like_production(guarded.place, _plan(guarded, watch={"seconds": 21})), guarded.client() as client:
        run = guarded.start()
        yield run, guarded.asked(run)
        client.set_run_state(run, "failed")
        client.wait_for_run(run, deadline_seconds=60, states=FAILED)


@pytest.fixture(scope="module")
def untouched(sandbox: Sandbox) -> Iterator[None]:
    """The traffic is where it was when all is over."""
    before = World(sandbox).service()
    yield
    after = World(sandbox).service()
    assert (after.selector, after.annotations) == (before.selector, before.annotations)


pytestmark = pytest.mark.usefixtures("untouched")


def test_a_delegate_decides_for_the_role_and_the_ledger_names_people_not_accounts(
    guarded: Guarded, approved: Run
) -> None:
    assert set(guarded.seen["again"].assigned_users) == {LEAD, DELEGATE}
    assert f"{LEAD} has named **{DELEGATE}** to speak for {LEAD}, too." in guarded.seen["again"].body
    [delegation] = guarded.entries(approved, DELEGATED)
    assert (delegation.actor, delegation.payload["to"]) == (LEAD, DELEGATE)
    assert sorted(guarded.decisions(approved)) == [
        (OWNER, OWNER, "Go"), (ON_CALL, ON_CALL, "Go"), (LEAD, DELEGATE, "Go")
    ]  # fmt: skip
    [approval] = guarded.entries(approved, APPROVED)
    assert approval.payload["people"] == sorted([OWNER, ON_CALL, DELEGATE])


def test_who_is_asked_again_sees_what_has_changed_since_the_approval(
    held: tuple[Run, dict[str, Question]],
) -> None:
    for question in held[1].values():
        assert "**Changed since it was approved**" in question.body
        assert "watch_seconds: 20 → 21" in question.body


@pytest.mark.parametrize("user", ["admin", RELEASE_MANAGER, "test-user", "viewer", OWNER])
def test_somebody_without_the_role_is_refused(
    guarded: Guarded, held: tuple[Run, dict[str, Question]], user: str
) -> None:
    with pytest.raises(AirflowRefused) as answer:
        guarded.say(user, held[1][LEAD], "Go")
    assert answer.value.status == 403


def test_a_go_for_something_else_than_is_shown_is_asked_again(
    guarded: Guarded, held: tuple[Run, dict[str, Question]]
) -> None:
    run, asked = held
    guarded.say(LEAD, asked[LEAD], "Go", fingerprint="f" * 64)
    with guarded.client() as client:
        again = client.wait_for_question(
            run, "go_no_go.decide", map_index=asked[LEAD].map_index, deadline_seconds=60
        )
        assert again.task_state in ("awaiting_input", "running", "scheduled", "queued")
        client.wait_for_task(
            run,
            "go_no_go.decide",
            map_index=again.map_index,
            deadline_seconds=60,
            states=frozenset({"awaiting_input"}),
        )
        assert client.task(run, "go_no_go.decide", again.map_index).tries == 1, "it costs no try"
    assert guarded.decisions(run) == []
    assert "is none for" in str(guarded.entries(run, REFUSED)[-1].payload["why"])


def test_a_second_answer_is_refused_and_changes_nothing(
    guarded: Guarded, held: tuple[Run, dict[str, Question]]
) -> None:
    run, asked = held
    guarded.say(LEAD, asked[LEAD], "Go")
    for user in (LEAD, OWNER):
        with pytest.raises(AirflowRefused) as answer:
            guarded.say(user, asked[LEAD], "No-Go")
        assert answer.value.status == 409
    with guarded.client() as client:
        index = asked[LEAD].map_index
        client.wait_for_task(run, "go_no_go.decide", map_index=index, deadline_seconds=60, states=SUCCESS)
    assert guarded.decisions(run) == [(LEAD, LEAD, "Go")]


Held = tuple[Run, dict[str, Question]]


def _nothing_more(guarded: Guarded, held: Held) -> None:
    """Only what is before each step is set to success."""


def _states_set_by_hand(guarded: Guarded, held: Held) -> None:
    run, asked = held
    with guarded.client() as client:
        for user in (OWNER, ON_CALL):
            client.set_task_state(run, "go_no_go.decide", "success", map_index=asked[user].map_index)
        client.wait_for_task(run, "go_no_go.approve", deadline_seconds=60, states=FAILED)
        assert "ApprovalMissing" in client.log(run, "go_no_go.approve")
        client.set_task_state(run, "go_no_go.approve", "success")


def _states_set_at_once(guarded: Guarded, held: Held) -> None:
    with guarded.client() as client:
        set_states_at_once(client, held[0], [("go_no_go.open_roles", -1), ("go_no_go.approve", -1)], "success")


def _answered_after_its_state_was_set(guarded: Guarded, held: Held) -> None:
    guarded.say(OWNER, held[1][OWNER], "Go")


def _answers_overwritten(guarded: Guarded, held: Held) -> None:
    run, asked = held
    with guarded.client() as client:
        for user in (OWNER, ON_CALL):
            said = {"role": user, "choice": "Go", "user": user}
            client.set_xcom(run, "go_no_go.decide", said, map_index=asked[user].map_index)


def _approval_overwritten(guarded: Guarded, held: Held) -> None:
    with guarded.client() as client:
        client.set_xcom(held[0], "go_no_go.approve", {"fingerprint": "f" * 64, "people": list(DECIDERS)})


def _roles_overwritten(guarded: Guarded, held: Held) -> None:
    with guarded.client() as client:
        client.set_xcom(held[0], "go_no_go.roles", [{"role": LEAD, "over": ""}])
        client.clear(held[0], ["go_no_go.approve"], downstream=False)
        client.wait_for_task(held[0], "go_no_go.approve", deadline_seconds=60, states=FAILED)


def _evidence_overwritten(guarded: Guarded, held: Held) -> None:
    with guarded.client() as client:
        client.set_xcom(held[0], "preflight", {"from": "green", "to": "blue", "switch_back": "yes"})


def _run_set_to_success(guarded: Guarded, held: Held) -> None:
    with guarded.client() as client:
        client.set_run_state(held[0], "success")
        client.set_run_state(held[0], "queued")


WAYS: tuple[Callable[[Guarded, Held], None], ...] = (
    _nothing_more,
    _states_set_by_hand,
    _states_set_at_once,
    _answered_after_its_state_was_set,
    _answers_overwritten,
    _approval_overwritten,
    _roles_overwritten,
    _evidence_overwritten,
    _run_set_to_success,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_no_step_acts_on_what_can_be_set_by_hand(
    guarded: Guarded, held: Held, way: Callable[[Guarded, Held], None]
) -> None:
    way(guarded, held)
    with guarded.client() as client:
        ended = refused(client, held[0])
    assert ended == dict.fromkeys(ACTING, "ApprovalMissing")
    assert guarded.decisions(held[0]) == [(LEAD, LEAD, "Go")]


def test_after_all_that_nothing_from_before_is_adopted(guarded: Guarded, held: Held) -> None:
    """The plan leads to a Service that could be adopted, and all that is before that is set to success."""
    world = World(guarded.sandbox)
    with installed_before(guarded.sandbox, world.active()) as name:
        before = world.service(name)
        plan = _plan(guarded, watch={"seconds": 21}, traffic={"service": name})
        with staging_like_production(guarded.place, plan), guarded.client() as client:
            ended = refused(client, held[0], ADOPTING)
        after = world.service(name)
    assert ended == dict.fromkeys(ADOPTING, "ApprovalMissing")
    assert (after.selector, after.annotations) == (before.selector, before.annotations)
    assert guarded.entries(held[0], ADOPTED) == ()


def test_an_approval_is_void_once_the_plan_has_changed(guarded: Guarded, held: Held, approved: Run) -> None:
    with guarded.client() as client:
        ended = refused(client, approved)
        assert "something that was approved has changed" in client.log(approved, "deploy_idle_slot")
    assert ended == dict.fromkeys(ACTING, "ApprovalMissing")


def test_a_run_with_other_params_or_under_a_known_id_is_refused(
    guarded: Guarded, held: Held, approved: Run
) -> None:
    for release, run_id, status in (("3.0.0", approved.run_id, 409), ("9.9.9", None, 400)):
        conf = {"release": release, "environment": "staging"}
        with guarded.client(RELEASE_MANAGER) as person, pytest.raises(AirflowRefused) as answer:
            person.trigger("production-blue-green", conf, run_id=run_id)
        assert answer.value.status == status
    with guarded.client() as client:
        run = guarded.start(approved_by="everybody")
        client.wait_for_run(run, deadline_seconds=90, states=FAILED)
        assert "approved_by" in client.log(run, "preflight")
        assert refused(client, run, {"deploy_idle_slot": ("adopt",)}) != {}
    assert guarded.entries(run, DECISION) == ()


def test_a_run_that_was_deleted_and_begun_anew_under_its_id_has_no_approval(
    guarded: Guarded, approved: Run
) -> None:
    """With the plan as it was approved: its fingerprint is the same."""
    with staging_like_production(guarded.place, _plan(guarded)), guarded.client() as client:
        client.set_run_state(approved, "failed")
        client.wait_for_run(approved, deadline_seconds=60, states=FAILED)
        delete(client, approved)
        with guarded.client(RELEASE_MANAGER) as person:
            conf = {"release": "3.0.0", "environment": "staging"}
            run = person.trigger("production-blue-green", conf, run_id=approved.run_id)
        client.wait_for_task(run, "preflight", deadline_seconds=90)
        ended = refused(client, run)
        client.set_run_state(run, "failed")
        client.wait_for_run(run, deadline_seconds=60, states=FAILED)
    assert ended == dict.fromkeys(ACTING, "ApprovalMissing")


@dataclass(frozen=True)
class Step:
    """A step of another DAG that acts on what people have said.

    :param first: the task to wait for
    :param before: what is set to success by hand
    :param refusals: how it may end
    """

    dag: str
    conf: Mapping[str, str]
    first: str
    acts: str
    before: tuple[str, ...]
    refusals: tuple[str, ...]


OTHER_STEPS = {
    # It has a survey and a rehearsal, and people are being asked: what is missing is their Go.
    "migrate": Step(
        "db-migration",
        {"mode": "apply"},
        first="go_no_go.roles",
        acts="migration.migrate",
        before=("migration.verify_backup", "migration.back_up", "go_no_go.approve"),
        refusals=("ApprovalMissing",),
    ),
    "restore": Step(
        "rollback",
        {"option": "full-restore", "reason": "try"},
        first="eligibility",
        acts="full_restore.restore",
        before=("full_restore.ask_again",),
        refusals=("TrafficError", "RestoreUnconfirmed", "RollbackRefused", "RollbackBlocked"),
    ),
}


@pytest.mark.parametrize("step", OTHER_STEPS.values(), ids=OTHER_STEPS)
def test_neither_migration_nor_restore_acts_on_states_that_were_set_by_hand(
    guarded: Guarded, held: Held, step: Step
) -> None:
    with guarded.client(RELEASE_MANAGER) as person, guarded.client() as client:
        run = person.trigger(step.dag, {"release": "3.0.0", "environment": "staging", **step.conf})
        client.wait_for_task(run, step.first, deadline_seconds=180)
        log = forced(client, run, {step.acts: step.before})[step.acts]
        client.set_run_state(run, "failed")
    assert any(name in log for name in step.refusals), log[-2000:]
    assert guarded.entries(run, APPROVED, MIGRATION_INTENDED, MIGRATED, RESTORED) == ()
