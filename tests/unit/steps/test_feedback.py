"""What users say is recorded, counts for the release it is about, and is never taken for a decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from include.errors import ClusterUnreachable, PlanError, WatchHeld
from include.steps.feedback import (
    CONFIRM,
    DISMISS,
    LONGEST_TEXT,
    VERDICTS,
    against_passing,
    give,
    in_traffic,
    patience_seconds,
    record_decided,
    record_silence,
    reports,
    rollback_question,
    since_cutover,
)
from include.steps.watch import conclude_watch
from include.watch.config import WatchOutcome
from tests.unit.steps.test_steering import FakeCluster
from tests.unit.steps.watching import CUTOVER, answer, begun, cut_over_ledger, release_run

LOST = "critical-data-loss"


def _feedback_run(number: int = 1) -> Any:
    return release_run(f"f{number}", "user-feedback", f"key-user-{number}")


def test_what_a_user_says_is_recorded_once_on_one_line() -> None:
    ledger, memory = cut_over_ledger(release_run())
    run = _feedback_run()
    first = give(run, ledger, "problem", "slow\nsince\tnoon\x00")
    assert give(run, ledger, "works", "a retry says the same") == first
    assert (first.user, first.text, first.standing) == ("key-user-1", "slow since noon", "given")
    assert [entry.kind for entry in memory.written].count("feedback.given") == 1


@pytest.mark.parametrize(
    ("verdict", "text", "says"),
    [
        ("dreadful", "x", "no such verdict"),
        (LOST, "  \n", "says what happened"),
        ("works", "x" * (LONGEST_TEXT + 1), "too long"),
    ],
)
def test_what_cannot_be_acted_upon_is_refused(verdict: str, text: str, says: str) -> None:
    ledger, _ = cut_over_ledger(release_run())
    with pytest.raises(PlanError, match=says):
        give(_feedback_run(), ledger, verdict, text)


def test_feedback_counts_from_the_cutover_on_with_what_was_decided() -> None:
    run = release_run()
    ledger, _ = cut_over_ledger(run)
    for number, (verdict, text) in enumerate(
        [("works", ""), (LOST, "order 17"), (LOST, "order 18"), (LOST, "19")]
    ):
        give(_feedback_run(number), ledger, verdict, text)
    record_decided(_feedback_run(1), ledger, answer(CONFIRM, comment="seen it"))
    record_decided(_feedback_run(2), ledger, answer(DISMISS, comment="was so before"))
    record_decided(_feedback_run(2), ledger, answer(CONFIRM))  # another answer to a question that is closed
    given = since_cutover(run, ledger)
    assert [report.standing for report in given] == ["given", "confirmed", "dismissed", "undecided"]
    assert [report.text for report in given if report.sentence in against_passing(given)] == ["order 17", "19"]
    assert "confirmed by technical-lead: seen it" in given[1].sentence
    later = given[-1].at + timedelta(seconds=1)
    assert reports(ledger, "3.0.0", "production", since=later) == ()
    assert reports(ledger, "2.9.0", "production", since=CUTOVER) == ()


def test_feedback_stands_in_the_record_of_the_watchs_end() -> None:
    run = release_run()
    ledger, memory = cut_over_ledger(run)
    give(_feedback_run(), ledger, "problem", "slow")
    with pytest.raises(WatchHeld):
        conclude_watch(run, ledger, WatchOutcome(result="UNDECIDED", sentence="?", at=1.0))
    [ended] = [entry for entry in memory.written if entry.kind == "watch.ended"]
    assert [report["text"] for report in ended.payload["feedback"]] == ["slow"]


def test_a_release_without_a_cutover_has_no_feedback_of_its_window() -> None:
    run = release_run("other")
    ledger, _ = cut_over_ledger(release_run())
    give(_feedback_run(), ledger, "works", "")
    assert since_cutover(run, ledger) == ()


def test_the_question_quotes_the_report_and_says_what_each_answer_does() -> None:
    ledger, _ = cut_over_ledger(release_run())
    report = give(_feedback_run(), ledger, LOST, "order 17 is gone")
    asked = rollback_question(_feedback_run(), report)
    assert "> order 17 is gone" in asked.body
    for word in (CONFIRM, DISMISS, "2.9.0", "No answer rolls nothing back"):
        assert word in asked.body


def test_every_silence_is_counted() -> None:
    ledger, memory = cut_over_ledger(release_run())
    assert [record_silence(_feedback_run(), ledger) for _ in range(3)] == [1, 2, 3]
    assert record_silence(_feedback_run(2), ledger) == 1
    assert {entry.actor for entry in memory.written if entry.kind == "feedback.silence"} == {"nobody"}


async def test_there_is_something_to_roll_back_only_while_users_are_on_the_release() -> None:
    run = release_run()
    ledger, _ = cut_over_ledger(run)
    config = begun(run, ledger)
    on_it = FakeCluster(config)
    assert await in_traffic(_feedback_run(), cast(Any, on_it))
    back = FakeCluster(config)
    notes = {name: text.replace('"forward"', '"back"') for name, text in back.state.annotations.items()}
    back.state = replace(back.state, annotations=notes)
    assert not await in_traffic(_feedback_run(), cast(Any, back))
    nobody = FakeCluster(config)
    nobody.state = replace(nobody.state, annotations={})
    assert not await in_traffic(_feedback_run(), cast(Any, nobody))


async def test_in_doubt_there_is_something_to_roll_back() -> None:
    class Silent:
        async def service(self, name: str) -> None:
            raise ClusterUnreachable("no answer")

    assert await in_traffic(_feedback_run(), cast(Any, Silent()))


def test_people_are_paged_again_within_a_quarter_of_an_hour() -> None:
    environment = release_run().environment
    assert environment.gate.timeout_seconds > 900
    assert patience_seconds(environment) == 900
    assert all(
        verdict.startswith("critical-") == text.startswith("CRITICAL") for verdict, text in VERDICTS.items()
    )
