"""A message that nobody takes costs its task some tries, and never the release a step."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from include.errors import LedgerUnavailable, MessageError, MessageIncomplete, MessageRefused, MessageUnanswered
from include.messages.deliver import Delivery
from include.plan.loader import load_plan, plan_folder
from include.steps import announce as steps
from include.steps.run import ReleaseRun, open_run
from stellwerk.operators.message import LONGEST_DOUBT, LONGEST_MAIL_WAIT, AfterDoubt, Announce, TellRollback

PLAN = load_plan(plan_folder())


def a_run(environment: str) -> ReleaseRun:
    return open_run(
        PLAN, release="3.0.0", environment=environment, phase="staging-deploy", run_id="r", triggered_by=None
    )


class Desk:
    """An Announce whose surroundings are replaced: what it tells, and how that ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, event: str, outcome: object, **options: Any) -> None:
        self.task = Announce(task_id="tell", event=cast(Any, event), **options)
        self.told: list[tuple[ReleaseRun, str]] = []

        def announce(run: ReleaseRun, event: str, ledger: object, send: object) -> object:
            self.told.append((run, event))
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(steps, "announce", announce)
        monkeypatch.setattr("stellwerk.operators.base.release_run", lambda context, **_: a_run("staging"))
        monkeypatch.setattr(self.task, "ledger", lambda run: None)

    def run(self, try_number: int = 1, max_tries: int = 2) -> Any:
        ti = SimpleNamespace(try_number=try_number, max_tries=max_tries)
        return self.task.execute(cast(Any, {"ti": ti}))


def test_what_became_of_it_is_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    done = Delivery("key", sent=True, recorded=True, refused={"a@x": "550 no such user"})
    desk = Desk(monkeypatch, "cutover", done)
    assert desk.run() == "key: sent; NOT to a@x: 550 no such user"
    assert desk.told[0][0].environment.name == "staging"


@pytest.mark.parametrize("event", ["announcement", "completion"])
def test_a_mail_is_about_production_wherever_it_is_sent_from(monkeypatch: pytest.MonkeyPatch, event: str) -> None:
    desk = Desk(monkeypatch, event, Delivery("key", sent=True, recorded=True))
    desk.run()
    assert desk.told[0][0].environment.name == "production"


@pytest.mark.parametrize("error", [MessageError("dead"), MessageIncomplete("put off")])
def test_an_outage_is_tried_again_and_then_skipped(monkeypatch: pytest.MonkeyPatch, error: MessageError) -> None:
    desk = Desk(monkeypatch, "cutover", error)
    with pytest.raises(AirflowException) as caught:
        desk.run(2)
    assert not isinstance(caught.value, AirflowSkipException | AirflowFailException)
    with pytest.raises(AirflowSkipException, match="given up after 3 tries"):
        desk.run(3)


def test_a_task_that_was_cleared_has_all_its_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "cutover", MessageError("dead"))
    with pytest.raises(AirflowException) as caught:
        desk.run(4, max_tries=5)  # after a clear Airflow goes on counting, and allows for as many more
    assert not isinstance(caught.value, AirflowSkipException)
    with pytest.raises(AirflowSkipException, match="given up after 6 tries"):
        desk.run(6, max_tries=5)


def test_what_may_have_arrived_is_not_tried_again_at_once() -> None:
    doubt = MessageUnanswered("no answer")
    doubt.wait_seconds, doubt.recorded = 300.0, True
    error = AirflowException("wrapped")
    error.__cause__ = doubt
    post, rollback = Announce(task_id="a", event="cutover"), TellRollback(task_id="b", duty="alert")
    assert isinstance(post.retry_policy, AfterDoubt)
    assert isinstance(rollback.retry_policy, AfterDoubt)
    assert post.retry_policy.evaluate(error, 1, 2).retry_delay == timedelta(minutes=5)
    assert rollback.retry_policy.evaluate(error, 1, 9).retry_delay is None, "it looks after its deadline meanwhile"
    doubt.wait_seconds, doubt.recorded = 30.0, False
    waits = [rollback.retry_policy.evaluate(error, number, 1500).retry_delay for number in (1, 2, 1000)]
    assert waits == [timedelta(seconds=30), timedelta(seconds=60), LONGEST_DOUBT]
    assert post.retry_policy.evaluate(AirflowException("dead"), 1, 2).retry_delay is None


def test_what_is_refused_for_good_is_skipped_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "cutover", MessageRefused("no", remedy="create the channel"))
    with pytest.raises(AirflowSkipException, match="create the channel"):
        desk.run()


def test_a_dead_ledger_is_no_reason_to_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "cutover", LedgerUnavailable("no answer"))
    with pytest.raises(AirflowException) as caught:
        desk.run(9, max_tries=2)
    assert not isinstance(caught.value, AirflowSkipException)


def test_nothing_to_tell_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "migration-failed", None)
    with pytest.raises(AirflowSkipException, match="nothing to tell of migration-failed"):
        desk.run()


def test_a_mail_has_more_patience_than_a_post_and_both_can_be_told() -> None:
    post, mail = (Announce(task_id=event, event=cast(Any, event)) for event in ("cutover", "announcement"))
    assert post.retries == 2
    assert (mail.retries, mail.max_retry_delay) == (8, LONGEST_MAIL_WAIT)
    assert Announce(task_id="told", event="announcement", retries=1).retries == 1
