"""A ledger that gives no answer: nothing goes forward unrecorded, and nothing that goes back waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NoReturn, cast

import pytest

from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, LastSwitch
from include.bluegreen.state import ServiceState
from include.errors import LedgerUnavailable
from include.ledger.store import Ledger
from include.steps import rollback
from include.steps.cleanup import clean_up
from include.steps.cutover import cut_over
from include.steps.database.apply import migrate
from include.steps.database.backup import take
from include.steps.deploy import deploy
from include.steps.drain import drain_left_slot
from include.steps.phase import claim, complete
from include.steps.planned import record_plan
from include.steps.record import SWITCHED_BACK, require_approval
from include.steps.rollback import ROLLED_BACK, record_switch_back, summarise
from include.steps.run import ReleaseRun
from include.steps.verify import verify_idle, verify_released
from tests.memory import DyingLedger, MemoryLedger
from tests.unit.report.postmortem.records import release_run

RUN = replace(release_run(), override_reason="a hotfix")
T = datetime(2030, 5, 1, 12, tzinfo=UTC)


class Untouched:
    """A cluster, a helm or a database that nobody may even ask."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)  # pytest looks for these in everything that a module holds
        pytest.fail(f"{name} was asked for before the ledger had answered")


UNTOUCHED: Any = Untouched()

FORWARD: dict[str, Callable[[Ledger], Awaitable[object]]] = {
    "deploy": lambda ledger: deploy(RUN, UNTOUCHED, UNTOUCHED, ledger),
    "verify": lambda ledger: verify_idle(RUN, UNTOUCHED, ledger),
    "cutover": lambda ledger: cut_over(RUN, UNTOUCHED, ledger),
    "drain": lambda ledger: drain_left_slot(RUN, UNTOUCHED, ledger),
    "clean-up": lambda ledger: clean_up(RUN, UNTOUCHED, UNTOUCHED, ledger),
    "verification": lambda ledger: verify_released(RUN, UNTOUCHED, ledger),
}


@pytest.mark.parametrize("step", sorted(FORWARD))
async def test_a_step_forward_asks_the_ledger_before_anything_else_and_may_be_tried_again(step: str) -> None:
    with pytest.raises(LedgerUnavailable) as caught:
        await FORWARD[step](cast(Ledger, DyingLedger()))
    assert caught.value.retryable, "the task waits, and goes on by itself when the ledger is back"


@pytest.mark.parametrize(
    "step",
    [
        lambda ledger: migrate(RUN, UNTOUCHED, ledger),
        lambda ledger: take(RUN, UNTOUCHED, ledger, "safety"),
        lambda ledger: require_approval(ledger, RUN),
        lambda ledger: claim(RUN, ledger, "final-check"),
        lambda ledger: complete(RUN, ledger, "final-check"),
        lambda ledger: record_plan(RUN, ledger),
    ],
    ids=["migrate", "safety-backup", "approval", "claim", "complete", "plan"],
)
def test_neither_the_database_nor_a_phase_goes_on_without_it(step: Callable[[Any], object]) -> None:
    with pytest.raises(LedgerUnavailable) as caught:
        step(DyingLedger())
    assert caught.value.retryable


def test_a_phase_that_could_not_be_recorded_is_not_begun() -> None:
    ledger = cast(Ledger, DyingLedger(answers=1))
    with pytest.raises(LedgerUnavailable):
        claim(RUN, ledger, "final-check")
    back = cast(Ledger, MemoryLedger(cast(Any, ledger).written))
    assert claim(RUN, back, "final-check") == 1, "it is, once the ledger is back"


class Switched:
    """The traffic Service after somebody went back."""

    def __init__(self, run: ReleaseRun) -> None:
        traffic = run.environment.traffic
        moved = LastSwitch("blue", "rollback (rita)", "customers call", T, run.release_id, "back")
        notes = {RELEASE_ID: run.release_id, LAST_SWITCH: moved.encode()}
        self.state = ServiceState(traffic.service, traffic.selector_for("blue"), notes)

    async def service(self, name: str) -> ServiceState:
        assert name == self.state.name
        return self.state


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Any:
    async def given_up(*_: object) -> None:
        return None

    monkeypatch.setattr(rollback, "give_up", given_up)
    return Switched(RUN)


async def test_a_switch_back_that_no_ledger_took_is_recorded_when_it_is_back(cluster: Any) -> None:
    back = replace(RUN, phase="rollback", run_id="rb1", triggered_by="rita")
    with pytest.raises(LedgerUnavailable) as caught:
        await summarise(back, cluster, cast(Ledger, DyingLedger()), "")
    assert caught.value.retryable, "the task that tells the end waits for it"
    memory = MemoryLedger()
    for _ in range(2):
        await summarise(back, cluster, cast(Ledger, memory), "")
    assert [entry.kind for entry in memory.written] == [SWITCHED_BACK, ROLLED_BACK]
    switch, end = (entry.payload for entry in memory.written)
    assert (switch["from"], switch["to"], switch["by"], switch["at"]) == (
        "green",
        "blue",
        "rollback (rita)",
        T.isoformat(),
    )
    assert "recorded after the fact" in switch["sentence"]
    assert (end["switched_at"], end["release_id"]) == (T.isoformat(), RUN.release_id)


async def test_a_switch_back_that_was_recorded_in_time_stays_as_it_is(cluster: Any) -> None:
    memory = MemoryLedger()
    told = {"from": "green", "to": "blue", "by": "rollback (rita)", "at": T.isoformat(), "sentence": "none lost"}
    record_switch_back(RUN, cast(Ledger, memory), {**told, "release_id": RUN.release_id})
    await summarise(RUN, cluster, cast(Ledger, memory), "")
    assert [entry.payload.get("sentence") for entry in memory.written if entry.kind == SWITCHED_BACK] == [
        "none lost"
    ]
