"""A phase is begun by one run, whoever starts it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from include.errors import LedgerError, PhaseTaken, PlanError
from include.ledger.store import Ledger
from include.plan.calendar import PhaseKey, Standing, entries, run_id
from include.plan.loader import load_plan, plan_folder
from include.steps.phase import KINDS, claim, complete, done_by_hand, has_begun, standings
from include.steps.run import ReleaseRun, open_run
from tests.memory import MemoryLedger

KEY = PhaseKey("3.0.0", "staging-deploy")
PLAN = load_plan(plan_folder())
ENTRIES = [entry for entry in entries(PLAN.releases.values()) if entry.key == KEY]


def a_run(run: str, by: str | None = None) -> ReleaseRun:
    return open_run(
        PLAN, release="3.0.0", environment="staging", phase="staging-deploy", run_id=run, triggered_by=by
    )


@pytest.fixture
def ledger() -> Ledger:
    return cast("Ledger", MemoryLedger())


def test_the_first_run_begins_it_and_a_retry_finds_its_own_claim(ledger: Ledger) -> None:
    assert claim(a_run("r1"), ledger, "staging-deploy") == 1
    assert claim(a_run("r1"), ledger, "staging-deploy") == 1
    assert len(ledger.entries()) == 1


@pytest.mark.parametrize(("first", "by"), [("manual__1", "rm"), (run_id(KEY), None)])
def test_a_second_run_ends_before_it_acts_and_names_the_first(ledger: Ledger, first: str, by: str | None) -> None:
    claim(a_run(first, by), ledger, "staging-deploy")
    with pytest.raises(PhaseTaken) as refused:
        claim(a_run("another"), ledger, "staging-deploy")
    assert f"run {first}, started by {by or 'release-calendar'} at " in refused.value.seen
    assert not refused.value.retryable


def test_of_two_that_see_no_claim_one_gets_it(ledger: Ledger) -> None:
    class Late:
        """Sees the ledger as it was before the other run's claim."""

        def entries(self, **_: Any) -> tuple[Any, ...]:
            return ()

        append = staticmethod(ledger.append)

    claim(a_run("r1"), ledger, "staging-deploy")
    with pytest.raises(PhaseTaken, match="run r1"):
        claim(a_run("r2"), cast("Ledger", Late()), "staging-deploy")


def test_a_repeat_has_a_reason_and_is_another_attempt(ledger: Ledger) -> None:
    claim(a_run("r1"), ledger, "staging-deploy")
    assert claim(a_run("r2", "rm"), ledger, "staging-deploy", "staging was rebuilt") == 2
    assert claim(a_run("r2", "rm"), ledger, "staging-deploy", "staging was rebuilt") == 2
    assert ledger.entries()[-1].payload["reason"] == "staging was rebuilt"
    with pytest.raises(PhaseTaken):
        complete(a_run("r1"), ledger, "staging-deploy")
    for reason in ("", "cleared by mistake"):
        with pytest.raises(PhaseTaken, match="run r2"):
            claim(a_run("r1"), ledger, "staging-deploy", reason)
    complete(a_run("r2"), ledger, "staging-deploy")


def test_a_run_that_is_still_running_keeps_the_phase(ledger: Ledger) -> None:
    claim(a_run("r1"), ledger, "staging-deploy:final")
    asked: list[tuple[str, str]] = []

    def state(dag_id: str, run: str, said: str = "running") -> str:
        asked.append((dag_id, run))
        return said

    with pytest.raises(PhaseTaken, match="end it first"):
        claim(a_run("r2", "rm"), ledger, "staging-deploy:final", "impatient", state)
    assert asked == [("staging-deploy", "r1")]
    assert claim(a_run("r2", "rm"), ledger, "staging-deploy:final", "once more", lambda *_: "failed") == 2


def test_a_run_that_was_deleted_and_begun_anew_under_its_id_is_another_one(ledger: Ledger) -> None:
    claim(replace(a_run("r1", "rm"), born="Monday"), ledger, "staging-deploy")
    anew = replace(a_run("r1", "rm"), born="Tuesday")
    with pytest.raises(PhaseTaken):
        claim(anew, ledger, "staging-deploy")
    with pytest.raises(PhaseTaken):
        complete(anew, ledger, "staging-deploy")
    assert not has_begun(anew, ledger, "staging-deploy")
    assert claim(anew, ledger, "staging-deploy", "begun anew", lambda *_: "running") == 2, "that is itself"
    assert claim(anew, ledger, "staging-deploy") == 2


def test_another_variant_another_release_and_another_environment_are_other_phases(ledger: Ledger) -> None:
    claim(a_run("r1"), ledger, "staging-deploy")
    assert claim(a_run("r2"), ledger, "staging-deploy:final") == 1
    other = a_run("r3").release.model_copy(update={"version": "3.0.1"})
    assert claim(replace(a_run("r3"), release=other), ledger, "staging-deploy") == 1


def test_what_was_never_begun_is_not_completed(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="was never begun"):
        complete(a_run("r1"), ledger, "staging-deploy")


class TestByHand:
    def run(self, name: str = "hand", by: str | None = "rm") -> ReleaseRun:
        production = PLAN.environment("production")
        return replace(a_run(name, by), environment=production, phase="phase-by-hand")

    def test_what_people_say_that_they_have_done_is_completed_with_their_name(self, ledger: Ledger) -> None:
        for _ in range(2):
            assert done_by_hand(self.run(), ledger, "release-preparation", " all 31 TODOs are done ") == 1
        started, completed = ledger.entries()
        assert (started.actor, completed.actor) == ("rm", "rm")
        assert completed.payload["by_hand"] == "all 31 TODOs are done"
        key = PhaseKey("3.0.0", "release-preparation")
        wanted = [entry for entry in entries(PLAN.releases.values()) if entry.key == key]
        assert standings(wanted, ledger.entries(kinds=KINDS), lambda *_: None)[key] is Standing.SUCCEEDED

    @pytest.mark.parametrize(
        ("phase", "how", "by"),
        [
            ("staging-deploy", "it went well", "rm"),
            ("release-preparation", " ", "rm"),
            ("release-preparation", "done", None),
            ("no-such-phase", "done", "rm"),
        ],
    )
    def test_nobody_no_reason_and_a_rehearsal_are_refused(
        self, ledger: Ledger, phase: str, how: str, by: str | None
    ) -> None:
        with pytest.raises(PlanError):
            done_by_hand(self.run(by=by), ledger, phase, how)
        assert ledger.entries() == ()

    def test_a_run_that_is_at_it_and_what_is_completed_stay(self, ledger: Ledger) -> None:
        at_it = replace(self.run("r1"), phase="final-check")
        claim(at_it, ledger, "final-check")
        with pytest.raises(PhaseTaken, match="end it first"):
            done_by_hand(self.run(), ledger, "final-check", "done", lambda *_: "running")
        complete(at_it, ledger, "final-check")
        with pytest.raises(PhaseTaken, match="it is completed"):
            done_by_hand(self.run(), ledger, "final-check", "done", lambda *_: "success")

    def test_what_a_failed_run_has_left_people_may_finish(self, ledger: Ledger) -> None:
        claim(replace(self.run("r1"), phase="final-check"), ledger, "final-check")
        assert done_by_hand(self.run(), ledger, "final-check", "done", lambda *_: "failed") == 2


class TestStandings:
    def seen(self, ledger: Ledger, **states: str) -> Standing:
        def run_state(dag_id: str, run: str) -> str | None:
            assert dag_id == "staging-deploy"
            return states.get(run)

        return standings(ENTRIES, ledger.entries(kinds=KINDS), run_state)[KEY]

    def test_nobody_has_begun_it(self, ledger: Ledger) -> None:
        assert self.seen(ledger) is Standing.NOT_STARTED

    @pytest.mark.parametrize(
        ("state", "standing"),
        [
            ("queued", Standing.STARTED),
            ("running", Standing.STARTED),
            ("failed", Standing.FAILED),
            ("success", Standing.FAILED),
        ],
    )
    def test_the_calendars_run_is_there_and_has_not_claimed_it(
        self, ledger: Ledger, state: str, standing: Standing
    ) -> None:
        assert self.seen(ledger, **{run_id(KEY): state}) is standing

    @pytest.mark.parametrize(
        ("state", "standing"),
        [
            (None, Standing.GONE),
            ("running", Standing.STARTED),
            ("failed", Standing.FAILED),
            ("success", Standing.FAILED),
        ],
    )
    def test_a_run_by_hand_has_begun_it(self, ledger: Ledger, state: str | None, standing: Standing) -> None:
        claim(a_run("manual", "rm"), ledger, "staging-deploy")
        assert self.seen(ledger, **({"manual": state} if state else {})) is standing

    def test_what_was_done_in_another_environment_is_not_this_phase(self, ledger: Ledger) -> None:
        elsewhere = replace(a_run("manual", "rm"), environment=PLAN.environment("production"))
        claim(elsewhere, ledger, "staging-deploy")
        complete(elsewhere, ledger, "staging-deploy")
        assert self.seen(ledger, manual="success") is Standing.NOT_STARTED

    def test_completed_is_what_the_ledger_says_whatever_the_run_is_set_to(self, ledger: Ledger) -> None:
        claim(a_run("manual", "rm"), ledger, "staging-deploy")
        complete(a_run("manual", "rm"), ledger, "staging-deploy")
        assert self.seen(ledger, manual="failed") is Standing.SUCCEEDED

    def test_a_repeat_takes_the_completion_back_until_it_is_through(self, ledger: Ledger) -> None:
        claim(a_run("r1"), ledger, "staging-deploy")
        complete(a_run("r1"), ledger, "staging-deploy")
        claim(a_run("r2", "rm"), ledger, "staging-deploy", "once more")
        assert self.seen(ledger, r1="success", r2="running") is Standing.STARTED
        complete(a_run("r2", "rm"), ledger, "staging-deploy")
        assert self.seen(ledger, r1="success", r2="running") is Standing.SUCCEEDED
