"""The task that sends the plan's mails: what is out is its result, what should be and is not makes it red."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from include.errors import LedgerUnavailable
from include.steps import due_mails
from include.steps import page as paging
from include.steps.calendar_news import News
from include.steps.due_mails import Told
from include.steps.page import Matter
from stellwerk.operators.mails import SendDueMails

CONTEXT = cast(Any, {"dag_run": SimpleNamespace(run_id="scheduled__1")})


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> list[Told]:
    """What the next look comes to."""
    told = [Told((), ())]
    monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", lambda _: object())
    monkeypatch.setattr(due_mails, "send_due", lambda *_: told[-1])
    return told


def test_what_is_out_is_the_result(outcome: list[Told]) -> None:
    outcome.append(Told(("key: sent",), ()))
    assert SendDueMails(task_id="send").execute(CONTEXT) == ["key: sent"]


def test_what_is_due_and_not_out_fails_the_look(outcome: list[Told]) -> None:
    outcome.append(Told(("key: sent",), ("announcement of 3.0.0: refused", "completion of 2.9.0: no answer")))
    with pytest.raises(AirflowException, match="refused; completion of"):
        SendDueMails(task_id="send").execute(CONTEXT)


def test_people_are_called_for_what_is_not_out_and_the_look_fails_all_the_same(
    outcome: list[Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[object] = []
    monkeypatch.setattr(paging, "page", lambda run, ledger, matter, send: called.append((run, matter)))
    news = News(cast(Any, "run"), Matter("mail:announcement:2099-01-12", "not out", "451", "bring it back"))
    outcome.append(Told((), ("announcement of 3.0.0: 451",), (news,)))
    with pytest.raises(AirflowException, match="451"):
        SendDueMails(task_id="send").execute(CONTEXT)
    assert called == [(news.run, news.matter)]


def test_without_the_ledger_nothing_is_sent(outcome: list[Told], monkeypatch: pytest.MonkeyPatch) -> None:
    def out(*_: object) -> Any:
        raise LedgerUnavailable("the database gives no answer")

    monkeypatch.setattr(due_mails, "send_due", out)
    with pytest.raises(AirflowException, match="gives no answer") as caught:
        SendDueMails(task_id="send").execute(CONTEXT)
    assert not isinstance(caught.value, AirflowFailException)
