"""The smoke suite looks at the slot that has the release, whoever has deployed it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from include.clients.prober import ProbeResult
from include.errors import EvidenceError, TrafficError
from include.steps.record import CUT_OVER, RELEASED, STARTED, record
from include.steps.staging import smoke as module
from include.steps.staging.entries import DEPLOYED_ALREADY
from include.steps.staging.smoke import must_have_passed, smoke
from tests.unit.steps.staging.rehearsals import a_ledger, a_run
from tests.unit.steps.staging.served import Staging


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
    told = await smoke(run, cast(Any, Staging(run)), ledger)
    assert (looked, told) == (["green"], {"slot": "green", "checks": ["alive: fine"]})
    assert ledger.entries(kinds=(RELEASED,))


async def test_what_an_earlier_one_has(looked: list[str]) -> None:
    run, ledger = a_run(), a_ledger()
    record(ledger, run, DEPLOYED_ALREADY, {"slot": "green", "by": "earlier"})
    await smoke(run, cast(Any, Staging(run, "3.0.0@staging/earlier")), ledger)
    assert looked == ["green"]


async def test_a_failure_counts_until_it_passes_again(looked: list[str]) -> None:
    run, ledger, staging = a_run(), a_ledger(), Staging(a_run())
    record(ledger, run, STARTED, {"from": "blue", "to": "green"})
    record(ledger, run, CUT_OVER, {})
    with pytest.raises(TrafficError, match="the load test refused"):
        must_have_passed(ledger, run, before="the load test")
    await smoke(run, cast(Any, staging), ledger)
    must_have_passed(ledger, run, before="the load test")
    staging.image = "valeo-erp:edited"
    with pytest.raises(EvidenceError, match="run valeo-erp:edited instead of"):
        await smoke(run, cast(Any, staging), ledger)
    with pytest.raises(TrafficError, match="valeo-erp:edited"):
        must_have_passed(ledger, run, before="the load test")
    staging.image = run.release.image.reference
    await smoke(run, cast(Any, staging), ledger)
    must_have_passed(ledger, run, before="the load test")
    assert len(looked) == 3


async def test_what_nobody_has_is_not_tested(looked: list[str]) -> None:
    with pytest.raises(TrafficError, match="a proof refused"):
        await smoke(a_run(), cast(Any, None), a_ledger())
    assert looked == []
