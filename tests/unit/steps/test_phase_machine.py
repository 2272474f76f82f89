"""However runs by hand and of the calendar come one after the other, an attempt at a phase is one run's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from include.errors import LedgerError, PhaseTaken
from include.ledger.entry import Entry, NewEntry
from include.ledger.store import Ledger
from include.plan.calendar import PhaseKey, Standing, entries
from include.plan.loader import load_plan, plan_folder
from include.steps.phase import KINDS, PHASE_COMPLETED, PHASE_STARTED, claim, complete, standings
from include.steps.run import ReleaseRun, open_run
from tests.memory import MemoryLedger

PLAN = load_plan(plan_folder())
KEY = PhaseKey("3.0.0", "staging-deploy")
WANTED = [entry for entry in entries(PLAN.releases.values()) if entry.key == KEY]
RUNS = ("3.0.0__staging-deploy", "manual__1", "manual__2")


def a_run(name: str) -> ReleaseRun:
    return open_run(
        PLAN, release="3.0.0", environment="staging", phase="staging-deploy", run_id=name, triggered_by=None
    )


class Stale:
    """A ledger as somebody sees it who looked before the newest entries were written, and writes now."""

    def __init__(self, ledger: MemoryLedger, seen: int) -> None:
        self._ledger = ledger
        self._seen = seen

    def entries(self, *, kinds: Sequence[str] | None = None, **wanted: Any) -> tuple[Entry, ...]:
        return tuple(one for one in self._ledger.entries(kinds=kinds, **wanted) if one.sequence <= self._seen)

    def append(self, new: NewEntry) -> Entry:
        return self._ledger.append(new)


class Phases(RuleBasedStateMachine):
    """Runs that begin, repeat and complete one phase, some of them with an old view of the ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = MemoryLedger()
        self.may_act: set[tuple[str, int]] = set()

    @rule(name=st.sampled_from(RUNS), reason=st.sampled_from(["", " ", "once more"]), behind=st.integers(0, 3))
    def begin(self, name: str, reason: str, behind: int) -> None:
        """A run's first task, which may have looked some entries ago."""
        seen = max(0, len(self.ledger.written) - behind)
        newest = self.ledger.entries(kinds=(PHASE_STARTED,))[-1:]
        try:
            attempt = claim(a_run(name), cast("Ledger", Stale(self.ledger, seen)), "staging-deploy", reason)
        except PhaseTaken:
            assert newest, "the first one to come is not refused"
            assert newest[0].run_id != name or seen < newest[0].sequence
        else:
            self.may_act.add((name, attempt))
            if not behind:
                assert self.ledger.entries(kinds=(PHASE_STARTED,))[-1].run_id == name, "nobody was superseded"

    @rule(name=st.sampled_from(RUNS))
    def end(self, name: str) -> None:
        """A run's last task."""
        try:
            complete(a_run(name), cast("Ledger", self.ledger), "staging-deploy")
        except (LedgerError, PhaseTaken):
            newest = self.ledger.entries(kinds=(PHASE_STARTED,))[-1:]
            assert not newest or newest[0].run_id != name

    @invariant()
    def an_attempt_is_one_runs(self) -> None:
        """Who may act has the claim, and nobody else has the same attempt."""
        claims = self.ledger.entries(kinds=(PHASE_STARTED,))
        assert [one.payload["attempt"] for one in claims] == list(range(1, len(claims) + 1))
        assert self.may_act <= {(one.run_id, one.payload["attempt"]) for one in claims}
        assert len({attempt for _, attempt in self.may_act}) == len(self.may_act)
        assert all(one.payload["reason"] for one in claims[1:]), "a repeat has a reason"

    @invariant()
    def it_has_succeeded_when_its_newest_attempt_is_completed(self) -> None:
        """Whatever Airflow says of the runs."""
        recorded = self.ledger.entries(kinds=KINDS)
        started = [one for one in recorded if one.kind == PHASE_STARTED]
        done = {one.payload["attempt"] for one in recorded if one.kind == PHASE_COMPLETED}
        found = standings(WANTED, recorded, lambda dag_id, run: "success")[KEY]
        assert (found is Standing.SUCCEEDED) == bool(started and started[-1].payload["attempt"] in done)


TestPhases = Phases.TestCase
