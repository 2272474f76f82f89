"""The smoke suite looks at the slot that has the release, whoever has deployed it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from include.clients.prober import ProbeResult
from include.errors import TrafficError
from include.steps.record import CUT_OVER, RELEASED, STARTED, record
from include.steps.staging import smoke as module
from include.steps.staging.entries import DEPLOYED_ALREADY
from include.steps.staging.smoke import smoke
from tests.unit.steps.staging.rehearsals import a_ledger, a_run


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    slots: list[str] = []

    async def prove(run: Any, cluster: Any, slot: str) -> list[ProbeResult]:
        slots.append(slot)
        return [ProbeResult("alive", True, 200, slot, None, 0.1, "alive: fine")]

    monkeypatch.setattr(module, "prove_traffic", prove)
    return slots


async def test_what_this_run_has_deployed(looked: list[str]) -> None:
    run, ledger = a_run(), a_ledger()
    record(ledger, run, STARTED, {"from": "blue", "to": "green"})
    record(ledger, run, CUT_OVER, {})
    told = await smoke(run, cast(Any, None), ledger)
    assert (looked, told) == (["green"], {"slot": "green", "checks": ["alive: fine"]})
    assert ledger.entries(kinds=(RELEASED,))


async def test_what_an_earlier_one_has(looked: list[str]) -> None:
    run, ledger = a_run(), a_ledger()
    record(ledger, run, DEPLOYED_ALREADY, {"slot": "blue"})
    await smoke(run, cast(Any, None), ledger)
    assert looked == ["blue"]


async def test_what_nobody_has_is_not_tested(looked: list[str]) -> None:
    with pytest.raises(TrafficError, match="the smoke suite refused"):
        await smoke(a_run(), cast(Any, None), a_ledger())
    assert looked == []
