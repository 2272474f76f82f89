"""The application is stopped while its database is replaced, whatever dies meanwhile, and comes up as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from include.clients.kubernetes import Cluster
from include.errors import LedgerUnavailable, RollbackBlocked, RollbackRefused, SlotNotReady
from include.ledger.store import Ledger
from include.steps.database.entries import RESTORE_STATED
from include.steps.database.full_restore import restore_fully
from include.steps.record import BROUGHT_BACK, CUT_OVER, ROLLBACK_VERIFIED, record
from include.steps.run import ReleaseRun
from include.steps.schema_course import (
    RESTORE_RESUMED,
    RESTORE_STOPPED,
    RESTORED,
    UNDONE,
)
from include.steps.schema_proof import schema_proof
from include.steps.stopping import (
    open_stop,
    resume_application,
    stands_still,
    stands_still_if_known,
    stop_application,
)
from tests.memory import MemoryLedger
from tests.unit.steps.applications import Application, Killed
from tests.unit.steps.database.worlds import a_run

Step = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
AS_IT_WAS = {"blue": 2, "green": 3}
STOPPED = {"blue": 0, "green": 0}
deaths = st.lists(st.integers(0, 12), max_size=3)


def a_rollback(run_id: str = "rb1") -> ReleaseRun:
    return replace(a_run(run_id), phase="rollback")


def done(step: Step, run: ReleaseRun, application: Application, ledger: Ledger) -> dict[str, Any]:
    return asyncio.run(step(run, cast("Cluster", application), ledger))


class Stopping(RuleBasedStateMachine):
    """Two runs of rollback stop and resume, die at any call of the cluster, and are tried again.

    Each may be over at any time, and come back when somebody clears its tasks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ledger = cast("Ledger", MemoryLedger())
        self.runs = (a_rollback("rb1"), a_rollback("rb2"))
        self.application = Application(self.runs[0])
        self.restored = False
        self.over: set[str] = set()

    def _until_done(self, step: Step, run: ReleaseRun, killed: list[int]) -> None:
        self.over.discard(run.run_id)
        step = partial(step, over=lambda run_id: run_id in self.over)
        for calls in killed:
            self.application.dies_after = calls
            try:
                done(step, run, self.application, self.ledger)
            except Killed:
                continue
        self.application.dies_after = None
        done(step, run, self.application, self.ledger)

    def _is_anothers(self, number: int) -> bool:
        begun = open_stop(self.runs[number], self.ledger)
        return begun is not None and begun.run_id not in self.over | {self.runs[number].run_id}

    @rule(number=st.integers(0, 1))
    def end(self, number: int) -> None:
        self.over.add(self.runs[number].run_id)

    @precondition(lambda self: not self.restored)
    @rule(number=st.integers(0, 1), step=st.sampled_from([stop_application, resume_application]), killed=deaths)
    def meddle_with_what_another_run_goes_on_with(self, number: int, step: Step, killed: list[int]) -> None:
        if not self._is_anothers(number):
            return
        before = dict(self.application.sizes)
        with pytest.raises(RollbackBlocked, match=f"run {self.runs[1 - number].run_id} has stopped"):
            self._until_done(step, self.runs[number], killed)
        assert self.application.sizes == before

    @precondition(lambda self: not self.restored)
    @rule(number=st.integers(0, 1), killed=deaths)
    def stop(self, number: int, killed: list[int]) -> None:
        if self._is_anothers(number):
            return
        self._until_done(stop_application, self.runs[number], killed)
        assert self.application.sizes == STOPPED
        assert schema_proof(self.runs[number], self.ledger) == "restoring"
        begun = open_stop(self.runs[1 - number], self.ledger)
        assert begun is not None, "every run sees it"
        assert begun.run_id == self.runs[number].run_id, "who goes on with it has it from then on"
        assert begun.payload["sizes"] == AS_IT_WAS, "however often it was tried, by whomever"

    @precondition(lambda self: not self.restored)
    @rule(number=st.integers(0, 1), killed=deaths)
    def resume(self, number: int, killed: list[int]) -> None:
        if self._is_anothers(number):
            return
        self._until_done(resume_application, self.runs[number], killed)
        assert self.application.sizes == AS_IT_WAS
        assert schema_proof(self.runs[number], self.ledger) == "unchanged"

    @precondition(lambda self: not self.restored and self.application.sizes == STOPPED)
    @rule()
    def restore(self) -> None:
        record(self.ledger, self.runs[0], RESTORED, {})
        self.restored = True
        self.application.sizes["blue"] = 2  # the old version is brought back

    @precondition(lambda self: self.restored)
    @rule(number=st.integers(0, 1), step=st.sampled_from([stop_application, resume_application]))
    def clear_it_afterwards(self, number: int, step: Step) -> None:
        if number and step is stop_application:
            with pytest.raises(RollbackRefused, match="nothing to restore any more"):
                done(step, self.runs[number], self.application, self.ledger)
        else:
            assert not done(step, self.runs[number], self.application, self.ledger)["needed"]

    @invariant()
    def the_new_version_never_meets_the_old_database(self) -> None:
        if self.restored:
            assert self.application.sizes == {"blue": 2, "green": 0}


Stopping.TestCase.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)
TestStopping = Stopping.TestCase


@pytest.mark.parametrize("step", [stop_application, resume_application])
def test_what_another_release_holds_is_not_scaled(step: Step) -> None:
    run, ledger = a_rollback(), cast("Ledger", MemoryLedger())
    if step is resume_application:
        done(stop_application, run, Application(run), ledger)
    application = Application(run, holder="3.1.0@production/manual__2")
    with pytest.raises(RollbackRefused):
        done(step, run, application, ledger)
    assert application.sizes == AS_IT_WAS


@pytest.mark.parametrize("undone", UNDONE)
def test_a_late_yes_to_what_another_run_has_undone_since_takes_nobody_down(undone: str) -> None:
    first, second, ledger = a_rollback("rb1"), a_rollback("rb2"), cast("Ledger", MemoryLedger())
    application = Application(first)
    record(ledger, second, RESTORE_STATED, {"digest": "d"})
    record(ledger, first, undone, {})
    for _ in range(2):
        with pytest.raises(RollbackRefused, match=r"nothing to restore any more.*of run rb1"):
            done(stop_application, second, application, ledger)
        assert application.sizes == AS_IT_WAS
    with pytest.raises(RollbackRefused, match="nothing to restore any more"):
        restore_fully(second, cast(Any, None), ledger)
    third = a_rollback("rb3")
    record(ledger, third, RESTORE_STATED, {"digest": "of another migration"})
    assert done(stop_application, third, application, ledger)["needed"]


def test_who_took_it_up_again_does_not_wait_for_it_after_another_run_has_restored() -> None:
    first, second, ledger = a_rollback("rb1"), a_rollback("rb2"), cast("Ledger", MemoryLedger())
    second = replace(second, environment=second.environment.model_copy(update={"deploy_timeout_seconds": 0.01}))
    application = Application(first)
    done(stop_application, second, application, ledger)
    done(resume_application, second, application, ledger)
    done(stop_application, first, application, ledger)
    record(ledger, first, RESTORED, {})
    told = done(resume_application, second, application, ledger)
    assert not told["needed"]
    assert "does not belong to the restored database" in told["sentence"]


def test_a_slot_that_is_not_there_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    run, ledger = a_rollback(), cast("Ledger", MemoryLedger())
    application = Application(run, sizes={"green": 3})
    assert done(stop_application, run, application, ledger)["sizes"] == {"green": 3}
    assert done(resume_application, run, application, ledger)["needed"]
    assert application.sizes == {"green": 3}


def test_an_application_that_does_not_come_up_is_said_and_blocks_no_other_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, ledger = a_rollback(), cast("Ledger", MemoryLedger())
    environment = run.environment.model_copy(update={"deploy_timeout_seconds": 0.01})
    run = replace(run, environment=environment)
    application = Application(run)
    done(stop_application, run, application, ledger)

    async def none(_: str) -> tuple[()]:
        return ()

    monkeypatch.setattr(application, "endpoints", none)
    for _ in range(2):
        with pytest.raises(SlotNotReady, match="does not come up again"):
            done(resume_application, run, application, ledger)
    assert schema_proof(run, ledger) == "unchanged"


@pytest.mark.parametrize(
    ("kinds", "stopped"),
    [
        ((), None),
        ((RESTORE_STOPPED,), RESTORE_STOPPED),
        ((RESTORE_STOPPED, ROLLBACK_VERIFIED), RESTORE_STOPPED),  # of another run, which looked before the stop
        ((RESTORE_STOPPED, RESTORE_RESUMED), None),
        ((RESTORE_STOPPED, RESTORED), RESTORED),
        ((RESTORE_STOPPED, RESTORED, ROLLBACK_VERIFIED), None),
        ((RESTORE_STOPPED, RESTORED, BROUGHT_BACK), None),
        ((RESTORE_STOPPED, RESTORED, CUT_OVER), None),
    ],
)
def test_users_are_without_the_application_until_it_was_seen_again(kinds: tuple[str, ...], stopped: Any) -> None:
    ledger = cast("Ledger", MemoryLedger())
    for kind in kinds:
        record(ledger, a_rollback("rb1"), kind, {})
    found = stands_still(a_rollback("rb2"), ledger)
    assert (found and found.kind) == stopped


def test_a_ledger_that_is_out_keeps_nobody_from_going_back() -> None:
    def out() -> Any:
        raise LedgerUnavailable("the ledger gives no answer")

    assert stands_still_if_known(a_rollback(), out) is None
