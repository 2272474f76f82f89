"""What people tell a running watch: told apart from events, judged, asked again when senseless."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.plan.loader import load_plan, plan_folder
from include.watch.config import WatchConfig, WatchOutcome
from include.watch.steer import (
    ACCEPT,
    EXTEND,
    OPTIONS,
    ROLL_BACK,
    Accepted,
    Answer,
    AskAgain,
    Extended,
    RollBack,
    answer_of,
    steer,
)

NOW = datetime(2030, 2, 1, 12, 0, tzinfo=UTC)
PEOPLE = ("technical-lead", "on-call-lead")
CONFIG = WatchConfig(
    release_id="3.0.0@production/r",
    version="3.0.0",
    environment=load_plan(plan_folder()).environment("production"),
    source="blue",
    target="green",
    cutover_at=NOW.timestamp() - 600,
    began_at=NOW.timestamp() - 600,
    deadline=NOW.timestamp() + 3000,
    baselines={},
    may_switch_back=True,
)


def _event(choice: str, user: str | None = "technical-lead", at: Any = NOW, **fields: Any) -> dict[str, Any]:
    """What Airflow resumes a task with, see tests/e2e/test_question_facts.py."""
    return {
        "chosen_options": [choice],
        "params_input": fields,
        "responded_at": at,
        "responded_by_user": {"id": user, "name": user} if user else None,
        "timedout": False,
    }


def _decide(choice: str, user: str | None = "technical-lead", **fields: Any) -> Any:
    answer = answer_of(_event(choice, user, **fields), now=NOW)
    assert answer is not None
    return steer(answer, CONFIG, now=NOW.timestamp(), people=PEOPLE)


def test_the_events_of_the_trigger_are_no_answers() -> None:
    outcome = WatchOutcome(result="HELD", sentence="no proof", at=1.0).dump()
    assert answer_of(outcome, now=NOW) is None
    assert answer_of({"error": "timeout", "error_type": "timeout"}, now=NOW) is None
    assert answer_of({}, now=NOW) is None
    both = {**outcome, "chosen_options": [ACCEPT]}
    assert answer_of(both, now=NOW) is None, "what names a result is the trigger's, whatever else it carries"


@pytest.mark.parametrize("at", [NOW, NOW.isoformat(), NOW.replace(tzinfo=None)])
def test_an_answer_says_who_what_when_and_why(at: Any) -> None:
    answer = answer_of(_event(ACCEPT, at=at, comment=" known\nissue\x00 ", minutes=""), now=NOW + timedelta(1))
    assert answer == Answer(ACCEPT, "technical-lead", NOW, "known issue", "")
    assert answer.sentence == "Accept by technical-lead at 2030-02-01T12:00:00+00:00: known issue"


def test_extending_adds_to_the_deadline_and_keeps_the_rest() -> None:
    decision = _decide(EXTEND, minutes="15", comment="odd spikes")
    assert decision == Extended(CONFIG.model_copy(update={"deadline": CONFIG.deadline + 900}), 15)


def test_extending_a_watch_that_holds_goes_back_to_watching() -> None:
    held = CONFIG.after(WatchOutcome(result="HELD", sentence="?", at=CONFIG.deadline, pages=("held",)))
    later = CONFIG.deadline + 100
    decision = steer(Answer(EXTEND, "on-call-lead", NOW, minutes="10"), held, now=later, people=PEOPLE)
    assert isinstance(decision, Extended)
    assert (decision.config.deadline, decision.config.hold_until) == (later + 600, None)


@pytest.mark.parametrize("minutes", [15, 15.0, "15", " 15 ", "15.0", "15,0"])
def test_minutes_may_be_written_in_any_usual_way(minutes: object) -> None:
    decision = _decide(EXTEND, minutes=minutes)
    assert isinstance(decision, Extended)
    assert decision.minutes == 15


@pytest.mark.parametrize(
    "minutes",
    ["", None, "soon", "0", "-5", "1e3", "nan", "inf", "1441", "9" * 400, "१५", [15], {"minutes": 15}, True, 0.2],
)
def test_nonsense_for_minutes_is_asked_again(minutes: object) -> None:
    decision = _decide(EXTEND, minutes=minutes)
    assert isinstance(decision, AskAgain)
    assert "1 to 1440" in decision.why


def test_accepting_needs_a_reason() -> None:
    assert _decide(ACCEPT, comment="the errors are a monitor's") == Accepted("the errors are a monitor's")
    for nothing in ("", "   ", "\n", None, [], {}):
        decision = _decide(ACCEPT, comment=nothing)
        assert isinstance(decision, AskAgain)
        assert "reason" in decision.why


def test_rolling_back_needs_no_reason() -> None:
    assert _decide(ROLL_BACK, comment="orders are lost") == RollBack("orders are lost")
    assert _decide(ROLL_BACK) == RollBack("ordered by technical-lead, without a comment")


@pytest.mark.parametrize("choice", OPTIONS)
@pytest.mark.parametrize("user", ["admin", "", None])
def test_nobody_else_steers_even_if_airflow_let_them(choice: str, user: str | None) -> None:
    decision = _decide(choice, user, comment="why", minutes="5")
    assert isinstance(decision, AskAgain)
    assert "technical-lead" in decision.why


@given(
    st.dictionaries(
        st.sampled_from(["chosen_options", "params_input", "responded_at", "responded_by_user", "timedout"]),
        st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda v: st.lists(v), max_leaves=4),
    )
)
def test_whatever_comes_is_judged_and_breaks_nothing(event: dict[str, Any]) -> None:
    answer = answer_of(event, now=NOW)
    if answer is None:
        assert "chosen_options" not in event
        return
    decision = steer(answer, CONFIG, now=NOW.timestamp(), people=PEOPLE)
    assert isinstance(decision, AskAgain), "nobody entitled has answered"


@given(st.text(), st.text(), st.sampled_from(OPTIONS))
def test_no_text_in_a_field_breaks_anything_or_rolls_back(comment: str, minutes: str, choice: str) -> None:
    decision = _decide(choice, comment=comment, minutes=minutes)
    assert isinstance(decision, RollBack) == (choice == ROLL_BACK)
    if isinstance(decision, Accepted):
        assert decision.reason.isprintable()
