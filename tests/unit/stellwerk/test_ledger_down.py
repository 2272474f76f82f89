"""``rollback`` while the ledger's database is down: the traffic goes back at once, and is recorded afterwards."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from include.errors import LedgerUnavailable, RollbackBlocked
from stellwerk.hooks import ledger as ledger_hook
from stellwerk.operators import base
from stellwerk.operators.rollback import LEDGER_SECONDS, RollbackSummary, SwitchBack, VerifyTraffic
from tests.memory import DyingLedger
from tests.unit.report.postmortem.records import release_run

CONTEXT = cast(Any, {"ti": SimpleNamespace(try_number=1)})
DONE = {"from": "green", "to": "blue", "by": "rollback (rita)", "release_id": "3.0.0@production/r"}


class World:
    """A cluster that goes back, and a ledger that gives so many answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opens = True
        self.ledger = DyingLedger()
        self.asked: list[float] = []
        self.went_back = 0
        monkeypatch.setattr(base, "release_run", lambda context, **_: release_run())
        monkeypatch.setattr(base.StellwerkOperator, "with_cluster", lambda _, run, step: self._went_back(step))
        monkeypatch.setattr(ledger_hook, "open_ledger", self._open)
        monkeypatch.setattr(ledger_hook, "note_head_outside", lambda _: None)

    def _went_back(self, step: Any) -> dict[str, Any]:
        self.went_back += 1
        return DONE

    def _open(self, _: str, *, timeout_seconds: float = 10.0) -> DyingLedger:
        self.asked.append(timeout_seconds)
        if not self.opens:
            raise LedgerUnavailable("the ledger cannot be opened")
        return self.ledger


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.parametrize("opens", [True, False])
def test_the_traffic_goes_back_without_it(world: World, opens: bool) -> None:
    world.opens = opens
    assert SwitchBack(task_id="switch_back").execute(CONTEXT) == DONE
    assert (world.went_back, world.ledger.written) == (1, [])


def test_a_ledger_that_is_out_delays_it_once_and_by_little(world: World) -> None:
    task = SwitchBack(task_id="switch_back")
    assert task.execute(CONTEXT) == DONE
    task.note(release_run(), "rollback.verified", {})
    assert world.asked == [LEDGER_SECONDS], "what did not answer is not asked again by the same try"


def test_a_step_that_only_records_in_passing_goes_on_too(world: World) -> None:
    assert VerifyTraffic(task_id="verify_traffic").execute(CONTEXT) == DONE


def test_why_a_step_failed_is_told_although_it_cannot_be_recorded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blocked(*_: object) -> None:
        raise RollbackBlocked("blue has no pods")

    monkeypatch.setattr(base.StellwerkOperator, "with_cluster", blocked)
    with pytest.raises(AirflowFailException, match="blue has no pods"):
        SwitchBack(task_id="switch_back").execute(CONTEXT)


def test_the_end_waits_for_hours_until_it_can_be_recorded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    task = RollbackSummary(task_id="summary")
    assert task.retries is not None
    assert task.retries * task.max_retry_delay.total_seconds() > 4 * 3600  # type: ignore[union-attr, operator]
    monkeypatch.setattr(base.StellwerkOperator, "with_cluster", lambda _, run, step: world.ledger.head())
    with pytest.raises(AirflowException) as caught:
        task.execute(CONTEXT)
    assert not isinstance(caught.value, AirflowFailException), "it is tried again"
    world.ledger.answers = 1
    assert task.execute(CONTEXT).sequence == 0
