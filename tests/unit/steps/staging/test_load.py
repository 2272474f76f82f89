"""The load test of a rehearsal: only on what works, kept before it is judged, judged by the plan."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from include.errors import EvidenceError, LoadNotMeasured, LoadTooSlow, PlanError, StellwerkError, TrafficError
from include.plan.staging import LoadTest
from include.slo.samples import PodSample, Snapshot
from include.steps.record import CUT_OVER, RELEASED, STARTED, record
from include.steps.staging import load
from include.steps.staging.artefacts import Artefact, again, folder_of
from include.steps.staging.entries import LOAD_MEASURED
from include.steps.staging.load import load_test
from tests.unit.load.test_figures import HISTORY, an_entry
from tests.unit.steps.staging.rehearsals import a_ledger, a_run
from tests.unit.steps.staging.served import Staging

PLAN = LoadTest.model_validate(
    {
        "seconds": 60,
        "kinds": [{"name": "reader", "requests": [{"path": "/"}]}],
        "thresholds": {"min_requests": 50, "requests_per_second": 0.5},
    }
)


async def counts(*_: Any) -> Snapshot:
    counts.answered += 100.0  # type: ignore[attr-defined]
    pod = PodSample("u", "p", 0.0, requests={"200": counts.answered})  # type: ignore[attr-defined]
    return Snapshot(0.0, "green", (pod,))


async def hold(*_: Any, take_over: bool) -> None:
    assert take_over


@asynccontextmanager
async def renewing(*_: Any) -> AsyncIterator[None]:
    yield


def locust(monkeypatch: pytest.MonkeyPatch, *, requests: int = 100, failures: int = 0) -> list[str]:
    asked: list[str] = []

    async def measure(plan: LoadTest, base_url: str, folder: Path) -> None:
        asked.append(base_url)
        totals = [an_entry("GET /", requests, failures, {"20": requests})]
        (folder / "load_stats.json").write_text(json.dumps(totals))
        (folder / "load_stats_history.csv").write_text(HISTORY)
        (folder / "load_unfinished.json").write_text("[]")

    monkeypatch.setattr(load, "measure", measure)
    monkeypatch.setattr(load, "hold", hold)
    counts.answered = 0.0  # type: ignore[attr-defined]
    monkeypatch.setattr(load, "counts", counts)
    monkeypatch.setattr(load, "renewing", renewing)
    return asked


def smoked(**changes: Any) -> Any:
    run, ledger = a_run(load=PLAN, **changes), a_ledger()
    record(ledger, run, STARTED, {"from": "blue", "to": "green"})
    record(ledger, run, CUT_OVER, {})
    record(ledger, run, RELEASED, {"slot": "green", "checks": []})
    return run, ledger


async def test_a_pass_is_recorded_with_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = locust(monkeypatch)
    run, ledger = smoked()
    told = await load_test(run, cast(Any, Staging(run)), ledger, tmp_path)
    assert asked == ["http://localhost:8001"], "the plan's public URL, and nothing else"
    [entry] = ledger.entries(kinds=(LOAD_MEASURED,))
    assert entry.payload == told
    assert (told["result"], told["figures"]["requests"]) == ("PASSED", 100)
    kept = [Artefact.of_facts(facts) for facts in told["artefacts"]]
    [place] = {one.name.split("/")[0] for one in kept}
    assert place.startswith("load-1-")
    assert [one.name.split("/")[1] for one in kept] == [
        *("load_stats.json", "load_stats_history.csv", "load_unfinished.json", "load.svg")
    ]
    assert b"<svg" in again(folder_of(run, tmp_path), kept)[f"{place}/load.svg"]


@pytest.mark.parametrize(
    ("seen", "kind", "why"),
    [
        ({"failures": 3}, LoadTooSlow, r"error rate 3\.00 %.*rehearse again .*clear this task alone"),
        ({"requests": 49}, LoadNotMeasured, r"nothing is known.*49 request.*clear this task alone"),
    ],
)
async def test_what_is_no_pass_is_recorded_before_it_stops(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seen: Any, kind: type[StellwerkError], why: str
) -> None:
    locust(monkeypatch, **seen)
    run, ledger = smoked()
    with pytest.raises(kind, match=why):
        await load_test(run, cast(Any, Staging(run)), ledger, tmp_path)
    locust(monkeypatch)
    await load_test(run, cast(Any, Staging(run)), ledger, tmp_path)
    first, second = ledger.entries(kinds=(LOAD_MEASURED,))
    assert (first.payload["result"] != "PASSED", second.payload["result"]) == (True, "PASSED")
    names = {facts["name"].split("/")[0] for one in (first, second) for facts in one.payload["artefacts"]}
    assert {name[:7] for name in names} == {"load-1-", "load-2-"}, "no measurement is written over"


async def test_what_something_else_was_measured_of_is_not_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    locust(monkeypatch)
    run, ledger = smoked()
    staging, measure = Staging(run), load.measure

    async def measure_and_switch(*given: Any) -> None:
        await measure(*given)
        staging.switched_back()

    monkeypatch.setattr(load, "measure", measure_and_switch)
    with pytest.raises(LoadNotMeasured, match="something else was measured: the traffic is on blue"):
        await load_test(run, cast(Any, staging), ledger, tmp_path)
    with pytest.raises(EvidenceError, match=r"the load test of 3\.0\.0 in staging would show something else"):
        await load_test(run, cast(Any, staging), ledger, tmp_path)
    assert [entry.payload["result"] for entry in ledger.entries(kinds=(LOAD_MEASURED,))] == ["UNKNOWN"]


async def test_a_load_that_came_elsewhere_is_not_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    locust(monkeypatch, requests=200)
    run, ledger = smoked()
    with pytest.raises(LoadNotMeasured, match=r"200 requests were answered rightly.*green have counted 100"):
        await load_test(run, cast(Any, Staging(run)), ledger, tmp_path)


async def test_nothing_is_loaded_that_does_not_even_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = locust(monkeypatch)
    with pytest.raises(TrafficError, match="the load test refused"):
        await load_test(a_run(load=PLAN), cast(Any, None), a_ledger(), tmp_path)
    assert asked == []


@pytest.mark.parametrize("changes", [{"load": None}, {"name": "production"}])
async def test_no_load_goes_where_the_plan_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: Any
) -> None:
    asked = locust(monkeypatch)
    run = a_run(**{"load": PLAN, **changes})
    with pytest.raises(PlanError, match="no load is ever put on production"):
        await load_test(run, cast(Any, None), a_ledger(), tmp_path)
    assert asked == []


def test_a_file_that_is_another_one_is_found(tmp_path: Path) -> None:
    wrong = Artefact("x", "file:///x", "0" * 64, 1)
    with pytest.raises(EvidenceError, match="clear the task that made it"):
        again(tmp_path, [wrong])
