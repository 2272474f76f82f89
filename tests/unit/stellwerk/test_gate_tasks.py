"""The gate's tasks: who is asked what, what an answer does, when people are reminded, who is asked again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from include.errors import LedgerUnavailable, MessageError
from include.gate.checklist import TICKED
from include.ledger.approvals import DECISION
from include.ledger.delegations import DELEGATED
from include.steps.gate import REFUSED, SILENCE
from include.steps.record import APPROVED, SIGNED_OFF, all_recorded
from stellwerk.operators import question
from stellwerk.triggers.question import CloseQuestionTrigger
from tests.unit.stellwerk.gate_tasks import ROLES, SILENT, World

LEAD = "technical-lead"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(monkeypatch)
    world.migrated()
    return world


def test_each_role_is_asked_by_account_and_recorded_by_name(world: World) -> None:
    assert world.roles() == [{"role": role, "over": ""} for role in ROLES]
    world.all_go()
    assert [one["assigned_users"] for one in world.asked] == [
        [{"id": "3", "name": "tina"}], [{"id": "4", "name": "bert"}], [{"id": "5", "name": "otto"}]
    ]  # fmt: skip
    assert [entry.actor for entry in all_recorded(world.ledger, world.run, DECISION)] == ["tina", "bert", "otto"]
    assert world.roles(again=True) == [], "nobody is asked again"
    assert world.approve()["people"] == ["bert", "otto", "tina"]
    assert world.kinds().count(APPROVED) == 1


def test_an_account_with_the_name_of_somebody_else_speaks_for_nobody(world: World) -> None:
    world.ask(LEAD)
    world.waits(LEAD, {**world.says("tina"), "responded_by_user": {"id": "tina", "name": "tina"}})
    assert "account:tina does not speak for technical-lead" in world.pushed["asked_again"]
    assert DECISION not in world.kinds()


def test_people_are_not_asked_for_a_go_that_no_evidence_speaks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    with pytest.raises(AirflowFailException, match="Database-Migration successful: no record"):
        world.roles()
    with pytest.raises(AirflowFailException, match="checklist go-no-go is not settled"):
        world.decision(LEAD).execute(world.context())
    assert world.asked == []


def test_a_go_needs_the_points_of_the_role_and_what_was_ticked_is_recorded(world: World) -> None:
    world.ask(LEAD)
    boxes = {name: field for name, field in world.asked[0]["params"].items() if name.startswith("point_")}
    assert [field["schema"]["title"] for field in boxes.values()] == ["Staging-Tests passing", "No critical bugs"]
    assert all(field["value"] is False for field in boxes.values())
    world.waits(LEAD, world.says("tina", **{next(iter(boxes)): False}))
    assert world.pushed["asked_again"].endswith("Staging-Tests passing")
    assert len(world.reopened) == 1
    assert world.resume(LEAD, world.says("tina"))["choice"] == "Go"
    [ticked] = all_recorded(world.ledger, world.run, TICKED)
    assert (ticked.actor, len(ticked.payload["points"])) == ("tina", 2)


def test_a_no_go_needs_nothing_and_ends_the_gate(world: World) -> None:
    world.ask(LEAD)
    with pytest.raises(AirflowFailException, match="No-Go of technical-lead"):
        world.resume(LEAD, {**world.says("tina", "No-Go"), "params_input": {}})
    assert world.roles(again=True) == []
    with pytest.raises(AirflowFailException, match="tina said No-Go"):
        world.approve()


# -- the deadline --------------------------------------------------------------------------------------------


def test_people_are_reminded_once_and_then_silence_is_a_no_go(world: World) -> None:
    assert world.ask("business-owner", 1) == timedelta(seconds=1350), "three quarters of half an hour"
    world.ask(LEAD)
    world.resume(LEAD, world.says("tina"))
    world.ask("on-call-lead", 2)
    world.later(1351)
    for place, role in ((1, "business-owner"), (2, "on-call-lead")):
        left = world.waits(role, SILENT, place)
        assert timedelta(seconds=448) < left <= timedelta(seconds=450)
    [reminder] = world.sent
    assert "• business-owner: bert" in reminder.text
    assert "• on-call-lead: otto" in reminder.text
    assert "tina" not in reminder.text, "who has answered is not reminded"
    world.later(450)
    with pytest.raises(AirflowFailException, match="no answer from business-owner: No-Go"):
        world.resume("business-owner", SILENT, 1)
    assert world.kinds().count(SILENCE) == 1
    assert len(world.asked) == 3, "waking up for the reminder does not touch the question"


def test_a_delegate_is_reminded_in_the_second_round_too(world: World) -> None:
    world.ask(LEAD)
    world.ask("business-owner", 1)
    world.later(1351)
    for place, role in enumerate((LEAD, "business-owner")):
        world.waits(role, SILENT, place)
    assert len(world.sent) == 1
    world.resume(LEAD, world.says("tina", "Delegate", delegate="sue"))
    world.resume("business-owner", world.says("bert"), 1)
    assert world.ask(LEAD, again=True) == timedelta(seconds=1350), "a whole wait of its own"
    world.later(1351)
    world.waits(LEAD, SILENT, again=True)
    _, told, reminder = world.sent
    assert "sue entscheidet für technical-lead" in told.text
    assert "• technical-lead: tina, sue" in reminder.text


def test_people_are_reminded_again_after_a_gate_was_cleared(world: World) -> None:
    for place in range(2):
        world.ask(LEAD, 2 * place)
        world.ask("business-owner", 2 * place + 1)
        world.later(1351)
        world.waits(LEAD, SILENT, 2 * place)
        world.waits("business-owner", SILENT, 2 * place + 1)
        assert len(world.sent) == place + 1


@pytest.mark.parametrize("error", [MessageError("down"), LedgerUnavailable("down")])
def test_who_cannot_be_reminded_is_waited_for_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("stellwerk.notifiers.transport.transports", lambda *_: {"slack": fails})
    world.ask(LEAD)
    world.later(1400)
    assert world.waits(LEAD, SILENT) <= timedelta(seconds=400)


def test_nobody_is_reminded_of_a_gate_that_somebody_has_refused(world: World) -> None:
    world.ask("business-owner", 1)
    world.ask(LEAD)
    with pytest.raises(AirflowFailException):
        world.resume(LEAD, world.says("tina", "No-Go"))
    world.later(1400)
    world.waits("business-owner", SILENT, 1)
    assert world.sent == []


def test_a_go_after_the_deadline_is_silence(world: World) -> None:
    world.ask(LEAD)
    world.later(1801)
    with pytest.raises(AirflowFailException, match="came after the deadline"):
        world.resume(LEAD, world.says("tina"))
    assert DECISION not in world.kinds()


# -- delegation ----------------------------------------------------------------------------------------------


def test_whoever_is_named_is_asked_and_their_go_counts_for_the_role(world: World) -> None:
    world.ask(LEAD)
    assert world.asked[0]["options"] == ["Go", "No-Go", "Delegate"]
    assert "sue" in world.asked[0]["params"]["delegate"]["schema"]["enum"]
    assert world.resume(LEAD, world.says("tina", "Delegate", delegate="sue"))["to"] == "sue"
    world.all_go(LEAD)
    assert world.roles(again=True) == [{"role": LEAD, "over": ""}]
    world.ask(LEAD, again=True)
    assert [user["name"] for user in world.asked[-1]["assigned_users"]] == ["tina", "sue"]
    assert "tina has named **sue** to speak for technical-lead, too." in world.asked[-1]["body"]
    world.resume(LEAD, world.says("sue"), again=True)
    assert world.approve()["people"] == ["bert", "otto", "sue"]
    [delegation] = all_recorded(world.ledger, world.run, DELEGATED)
    assert (delegation.actor, delegation.payload["to"]) == ("tina", "sue")
    [told] = world.sent
    assert "*Entscheidung übertragen: sue entscheidet für technical-lead*" in told.text
    assert "tina hat sue benannt: fine" in told.text


def test_a_delegation_is_for_the_release_and_a_go_is_for_its_run(world: World) -> None:
    world.ask(LEAD)
    world.resume(LEAD, world.says("tina", "Delegate", delegate="sue"))
    world.run = replace(world.run, run_id="r2")
    assert world.roles() == [{"role": role, "over": ""} for role in ROLES]
    world.ask(LEAD)
    assert [user["name"] for user in world.asked[-1]["assigned_users"]] == ["tina", "sue"]
    world.resume(LEAD, world.says("sue"))
    world.run = replace(world.run, run_id="r3")
    with pytest.raises(AirflowFailException, match="no Go from technical-lead"):
        world.approve()


@pytest.mark.parametrize(
    ("user", "to", "why"),
    [
        ("tina", "", "choose who decides instead"),
        ("tina", "tina", "may answer this question anyway"),
        ("tina", "mallory", "nobody whom the environment names"),
    ],
)
def test_who_cannot_be_named_is_asked_for_again(world: World, user: str, to: str, why: str) -> None:
    world.ask(LEAD)
    world.waits(LEAD, world.says(user, "Delegate", delegate=to))
    assert why in world.pushed["asked_again"]
    [refused] = all_recorded(world.ledger, world.run, REFUSED)
    assert (refused.actor, refused.payload["choice"]) == (user, "Delegate")


def test_one_delegate_for_everybody_does_not_decide_alone(world: World) -> None:
    for place, (role, users) in enumerate(ROLES.items()):
        world.ask(role, place)
        if place < 2:
            world.resume(role, world.says(users[0], "Delegate", delegate="sue"), place)
    [lead, owner] = world.roles(again=True)
    for place, one in enumerate((lead, owner)):
        world.ask(one["role"], place, again=True)
        world.resume(one["role"], world.says("sue"), place, again=True)
    world.ask("on-call-lead", 2)
    world.waits("on-call-lead", world.says("otto", "Delegate", delegate="sue"), 2)
    assert "fewer than 2 different people would decide" in world.pushed["asked_again"]


# -- what has changed ----------------------------------------------------------------------------------------


def test_whoever_said_go_to_something_else_is_asked_again_and_sees_what_differs(world: World) -> None:
    world.all_go("on-call-lead")
    world.ask("on-call-lead", 2)
    world.changed(seconds=60)
    answer = world.says("otto")
    assert world.resume("on-call-lead", answer, 2)["choice"] == "Go"
    assert [one["role"] for one in world.roles(again=True)] == list(ROLES), "everybody: what was shown is void"
    world.ask(LEAD, again=True)
    body = world.asked[-1]["body"]
    assert "**Changed since it was approved** (bert, otto, tina, " in body
    assert "- watch_seconds: 3600 → 60" in body
    with pytest.raises(AirflowFailException, match="something that was approved has changed"):
        world.approve()


def test_another_rehearsal_is_shown_and_asked_about_again(world: World) -> None:
    world.rehearsed("passed", "a" * 64)
    world.all_go("on-call-lead")
    world.ask("on-call-lead", 2)
    assert "- rehearsal in staging passed at " in world.asked[-1]["body"]
    world.rehearsed("failed", "b" * 64)
    world.resume("on-call-lead", world.says("otto"), 2)
    assert [one["role"] for one in world.roles(again=True)] == list(ROLES)
    world.ask(LEAD, again=True)
    body = world.asked[-1]["body"]
    assert "- covers.staging: passed, run s → failed, run s" in body
    assert "- warning: rehearsal in staging failed at " in body
    with pytest.raises(AirflowFailException, match="something that was approved has changed"):
        world.approve()


def test_a_go_of_days_ago_is_asked_for_again_and_says_why(world: World) -> None:
    """The run was stopped after its gate, and somebody goes on with it on another day."""
    world.all_go()
    given = world.now
    assert world.approve()
    world.later(24 * 3600 - 1)
    assert world.approve(), "the day of the release is one day"
    world.later(2)
    with pytest.raises(AirflowFailException, match=r"bert's Go for business-owner of .* has lapsed"):
        world.approve()
    asked = [one for one in world.roles() if not one["over"]]
    assert [one["role"] for one in asked] == list(ROLES)
    world.ask(LEAD, 3)
    said = f"**Asked again**: the Go of tina, {given:%Y-%m-%d %H:%M} UTC, has lapsed; one counts for 1 d."
    assert said in world.asked[-1]["body"].splitlines()
    for place, (role, users) in enumerate(ROLES.items(), 3):
        world.ask(role, place)
        world.resume(role, world.says(users[0]), place)
    assert world.approve()["people"] == ["bert", "otto", "tina"]


def test_a_task_that_is_cleared_with_an_old_go_hands_on_to_the_second_round(world: World) -> None:
    world.all_go()
    world.later(25 * 3600)
    assert world.decision(LEAD).execute(world.context(0))["choice"] == "Go"
    assert [one["role"] for one in world.roles(again=True)] == list(ROLES)


def test_a_no_go_never_lapses(world: World) -> None:
    world.ask(LEAD)
    with pytest.raises(AirflowFailException, match="No-Go of technical-lead"):
        world.resume(LEAD, world.says("tina", "No-Go"))
    world.later(25 * 3600)
    with pytest.raises(AirflowFailException, match="tina said No-Go"):
        world.approve()


def test_a_gate_that_is_cleared_asks_with_new_words_at_new_places(world: World) -> None:
    """Airflow keeps the words of a task instance's first question, also when it is cleared."""
    world.roles()
    world.all_go()
    world.changed(seconds=60)
    world.later(60)
    kept = world.decision(LEAD).execute(world.context(0))
    assert kept["choice"] == "Go", "it counts for what was shown, and the second round asks about what is so now"
    assert world.roles(again=True) == [{"role": role, "over": ""} for role in ROLES]
    again = world.roles()
    assert [(one["role"], one["over"]) for one in again] == [
        *((role, "yes") for role in ROLES),
        *((role, "") for role in ROLES),
    ]
    with pytest.raises(TaskDeferred) as closing:
        world.decision(**again[0]).execute(world.context(0))
    assert isinstance(closing.value.trigger, CloseQuestionTrigger), "nobody is to answer into the void"
    assert closing.value.method_name == "closed"
    for place, (role, users) in enumerate(ROLES.items(), 3):
        world.ask(role, place)
        world.resume(role, world.says(users[0]), place)
    assert world.approve()["people"] == ["bert", "otto", "tina"]
    assert [one["over"] for one in world.roles()] == ["yes"] * 6, "all have said Go to what is so now"


def test_a_task_that_is_tried_again_asks_the_same_and_waits_no_longer(world: World) -> None:
    world.ask(LEAD)
    world.later(100)
    assert world.ask(LEAD) == timedelta(seconds=1250)
    assert world.asked[0]["body"] == world.asked[1]["body"]
    assert world.kinds().count("gate.asked") == 1


def test_the_same_that_was_approved_in_another_run_says_so(world: World) -> None:
    world.all_go()
    world.run = replace(world.run, run_id="r2")
    world.ask(LEAD)
    assert "The same was approved before: bert, otto, tina, " in world.asked[-1]["body"]


def test_an_approval_is_not_of_a_run_that_was_begun_anew_under_its_id(world: World) -> None:
    world.run = replace(world.run, born="2030-01-15T10:00:00+00:00 release-manager")
    world.all_go()
    assert world.approve()
    world.run = replace(world.run, born="2030-01-16T10:00:00+00:00 release-manager")
    with pytest.raises(AirflowFailException, match="no Go from technical-lead"):
        world.approve()


# -- a task that is stopped between record and end -----------------------------------------------------------


def test_a_go_that_is_recorded_is_not_asked_for_again_nor_turned_into_silence(world: World) -> None:
    world.ask(LEAD)
    world.resume(LEAD, world.says("tina"))
    world.later(1801)
    assert world.decision(LEAD).execute(world.context())["choice"] == "Go"
    assert len(world.asked) == 1
    assert SILENCE not in world.kinds()


def test_a_no_go_that_is_recorded_still_fails_and_is_asked_for_again_at_another_place(world: World) -> None:
    world.ask(LEAD)
    for act in (lambda: world.resume(LEAD, world.says("tina", "No-Go")), lambda: world.ask(LEAD)):
        with pytest.raises(AirflowFailException, match="No-Go of technical-lead"):
            act()
    assert len(world.asked) == 1
    world.ask(LEAD, 1)
    assert world.resume(LEAD, world.says("tina"), 1)["choice"] == "Go"


def test_a_delegation_that_is_recorded_stands_and_the_second_round_asks_the_delegate(world: World) -> None:
    world.ask(LEAD)
    world.resume(LEAD, world.says("tina", "Delegate", delegate="sue"))
    assert world.decision(LEAD).execute(world.context()) == {
        "role": LEAD, "choice": "Delegate", "user": "tina", "to": "sue"
    }  # fmt: skip
    assert world.roles(again=True) == [{"role": LEAD, "over": ""}]
    world.ask(LEAD, again=True)
    assert [user["name"] for user in world.asked[-1]["assigned_users"]] == ["tina", "sue"]


def test_a_question_whose_go_was_for_something_else_is_asked_again_in_the_second_round_only(world: World) -> None:
    world.all_go()
    world.changed(seconds=60)
    world.later(60)
    world.ask(LEAD, again=True)
    world.resume(LEAD, world.says("tina"), again=True)
    world.changed(seconds=61)
    with pytest.raises(AirflowFailException, match="what was asked about has changed"):
        world.decision(LEAD, again=True).execute(world.context())


@pytest.mark.parametrize("event", ["answer", "silence"])
def test_a_ledger_that_is_out_is_waited_for_with_the_answer_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    def out(_: str) -> Any:
        raise LedgerUnavailable("down")

    world.ask(LEAD)
    said = world.says("tina") if event == "answer" else SILENT
    monkeypatch.setattr(question, "sleep", lambda _: None)
    with monkeypatch.context() as down:
        down.setattr("stellwerk.hooks.ledger.open_ledger", out)
        assert world.waits(LEAD, said) == question.PAUSE
    assert world.reopened == [], "asking again would take the answer away"
    if event == "answer":
        assert world.resume(LEAD, said)["choice"] == "Go"
    else:
        assert world.waits(LEAD, said) > question.PAUSE, "the rest of its time"


# -- what can be overwritten ---------------------------------------------------------------------------------


def test_a_role_that_is_overwritten_before_or_after_asking_decides_nothing(world: World) -> None:
    for role in ("anybody", ""):
        with pytest.raises(AirflowFailException, match="is not one that this gate asks here"):
            world.decision(role).execute(world.context())
    world.ask(LEAD)
    for role in ("anybody", "business-owner"):
        with pytest.raises(AirflowFailException, match="is not one that this gate asks here"):
            world.resume(role, world.says("tina"))
    assert DECISION not in world.kinds()


def test_an_answer_where_nothing_was_asked_decides_nothing(world: World) -> None:
    world.ask(LEAD, 0)
    with pytest.raises(AirflowFailException, match="an answer to nothing that was asked"):
        world.resume(LEAD, world.says("tina"), 7)


def test_a_question_that_is_said_to_be_over_opens_nothing(world: World) -> None:
    task = world.decision(LEAD, over="yes")
    with pytest.raises(TaskDeferred):
        task.execute(world.context())
    assert task.closed(world.context(), {"answer": None}) == {"role": LEAD, "over": True}
    with pytest.raises(AirflowFailException, match="no Go from technical-lead"):
        world.approve()


@pytest.mark.parametrize("evidence", [None, [], "x", {"facts": []}])
def test_evidence_that_was_overwritten_keeps_nobody_from_being_asked(world: World, evidence: Any) -> None:
    world.evidence = evidence
    world.ask(LEAD)
    assert len(world.asked) == 1


# -- the sign-off --------------------------------------------------------------------------------------------


def test_every_role_of_the_sign_off_signs_and_it_is_a_phase_of_its_own(world: World) -> None:
    world.all_go()
    assert world.approve()
    signers = [{"role": role, "over": ""} for role in world.run.environment.sign_off]
    assert world.roles(about="sign-off") == signers
    for place, (role, user) in enumerate(
        zip(world.run.environment.sign_off, ("tina", "bert", "otto", "sue"), strict=True)
    ):
        with pytest.raises(AirflowFailException, match="no Go from"):
            world.approve(about="sign-off")
        world.ask(role, place, about="sign-off")
        world.resume(role, world.says(user), place, about="sign-off")
    assert "Go signs it off" in world.asked[-1]["body"]
    assert world.approve(about="sign-off")["people"] == ["bert", "otto", "sue", "tina"]
    assert (world.kinds().count(APPROVED), world.kinds().count(SIGNED_OFF)) == (1, 1)
