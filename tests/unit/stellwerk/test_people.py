"""People are let in by account and named by the plan, wherever somebody is asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from include.watch.steer import answer_of
from stellwerk.people import answerer, assigned, without_account
from tests.unit.steps.watching import release_run


def test_who_is_asked_and_who_has_answered() -> None:
    run = release_run()
    known = run.environment.model_copy(update={"accounts": {"technical-lead": "3"}})
    run = replace(run, environment=known)
    assert assigned(run.environment, ("technical-lead", "business-owner")) == [
        {"id": "3", "name": "technical-lead"},
        {"id": "business-owner", "name": "business-owner"},
    ]
    renamed = {"id": "3", "name": "somebody else"}
    assert answerer(run.environment, renamed) == "technical-lead"
    assert (
        answerer(run.environment, {"id": "technical-lead", "name": "technical-lead"}) == "account:technical-lead"
    )
    assert answerer(run.environment, None) is None


@pytest.mark.parametrize(("manager", "known"), [("x.SimpleAuthManager", True), ("x.FabAuthManager", False)])
def test_who_has_no_account_where_names_are_no_ids_probably_cannot_answer(
    monkeypatch: pytest.MonkeyPatch, manager: str, known: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", manager)
    environment = release_run().environment.model_copy(update={"accounts": {"tina": "3"}})
    assert without_account(environment, ("tina", "bert", "bert")) == ([] if known else ["bert"])


def test_a_watch_names_who_steers_it_by_the_plan() -> None:
    event = {"chosen_options": ["Extend"], "params_input": {}, "responded_by_user": {"id": "3", "name": "x"}}
    for accounts, name in (({"technical-lead": "3"}, "technical-lead"), ({}, "3"), (None, "3")):
        answer = answer_of(event, now=datetime.now(UTC), accounts=accounts)
        assert answer is not None
        assert answer.user == name
