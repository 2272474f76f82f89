"""The tasks of ``staging-deploy``: in their mode, with what they need, and with a failure that is told once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from include.errors import MessageError, ReportError
from include.ledger.grants import GRANT
from include.steps import cutover, page
from include.steps.phase import PHASE_COMPLETED, claim
from include.steps.record import RELEASED, record
from include.steps.staging import complete, load, smoke, standing, urls
from include.steps.staging.entries import REHEARSAL_COMPLETED
from stellwerk.operators import staging as tasks
from stellwerk.operators.release import Cutover
from stellwerk.operators.staging import (
    Authorise,
    CompleteRehearsal,
    CompleteStaging,
    LoadTest,
    Rehearses,
    SmokeTests,
    VerifyUrls,
    WhatIsDeployed,
)
from stellwerk.operators.staging_failure import RecordFailure
from tests.unit.steps.staging.rehearsals import a_ledger, a_run
from tests.unit.steps.staging.shown import show


class World:
    """The surroundings of a task, replaced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.monkeypatch = monkeypatch
        self.run, self.ledger = a_run(), a_ledger()
        self.folder: Path | None = folder
        self.paged: list[Any] = []
        monkeypatch.setattr("stellwerk.operators.base.release_run", lambda context, **_: self.run)
        monkeypatch.setattr("stellwerk.hooks.reports.reports_folder", lambda: self.folder)
        monkeypatch.setattr("stellwerk.notifiers.transport.transports", lambda *_: {})
        monkeypatch.setattr(page, "call", self.call)
        self.slack_is_down = False
        self.states: Any = {"smoke_tests": "failed", "load_test": "upstream_failed"}

    def call(self, run: Any, ledger: Any, matter: Any, send: Any) -> str:
        if self.slack_is_down:
            raise MessageError("Slack gives no answer")
        self.paged.append(matter)
        return str(matter.key)

    def get_task_states(self, dag_id: str, run_ids: list[str]) -> Any:
        if self.states is None:
            raise RuntimeError("no answer")
        return {run_ids[0]: self.states}

    def does(self, task: Any, mode: str = "rehearsal") -> Any:
        self.monkeypatch.setattr(task, "ledger", lambda run: self.ledger)
        self.monkeypatch.setattr(task, "note_ledger_head", lambda: None)
        self.monkeypatch.setattr(task, "with_cluster", lambda run, step: asyncio.run(step(run, None)))
        ti = SimpleNamespace(dag_id="staging-deploy", get_task_states=self.get_task_states)
        told = {"params": {"mode": mode}, "ti": ti, "dag_run": SimpleNamespace(run_id=self.run.run_id)}
        return task.execute(cast(Any, told))

    def step(self, module: Any, name: str, result: Any) -> list[tuple[Any, ...]]:
        """Have a step of the domain give ``result``, and see what it was called with."""
        calls: list[tuple[Any, ...]] = []

        async def stands_in(*given: Any, **_: Any) -> Any:
            calls.append(given)
            return result

        self.monkeypatch.setattr(module, name, stands_in)
        return calls


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return World(monkeypatch, tmp_path)


def test_each_mode_does_its_own_part(world: World) -> None:
    world.step(urls, "verify_urls", {"ok": True})
    world.step(load, "load_test", {"result": "PASSED"})
    assert world.does(VerifyUrls(task_id="u")) == {"ok": True}
    assert world.does(LoadTest(task_id="l")) == {"result": "PASSED"}
    assert "migrate" in world.does(Rehearses(task_id="r"))
    for task in (
        VerifyUrls(task_id="u"),
        LoadTest(task_id="l"),
        Rehearses(task_id="r"),
    ):
        with pytest.raises(AirflowSkipException, match="mode final"):
            world.does(task, "final")
    world.step(smoke, "smoke", {"slot": "green"})
    assert world.does(SmokeTests(task_id="s"), "final") == {"slot": "green"}


def test_a_mode_that_does_not_exist_is_refused(world: World) -> None:
    with pytest.raises(AirflowFailException, match="there is no mode 'quick'"):
        world.does(Rehearses(task_id="r"), "quick")


def test_the_grant_of_a_release_and_of_a_migration_are_two(world: World) -> None:
    from include.steps.database import gate

    bound = replace(world.run, covers={"survey": "d"})
    world.monkeypatch.setattr(gate, "decided_about", lambda run, ledger: bound)
    first = world.does(Authorise(task_id="m", about="migration"))
    second = world.does(Authorise(task_id="r"))
    assert first["fingerprint"] == bound.fingerprint != second["fingerprint"] == world.run.fingerprint
    assert len(world.ledger.entries(kinds=(GRANT,))) == 2


def test_what_is_there_is_not_deployed_again(world: World) -> None:
    calls = world.step(standing, "look", {"deploy": False, "why": "it is in green"})
    with pytest.raises(AirflowSkipException, match="nothing to deploy: it is in green"):
        world.does(WhatIsDeployed(task_id="w"))
    world.step(standing, "look", {"deploy": True, "why": "2.9.0"})
    assert world.does(WhatIsDeployed(task_id="w"))["deploy"] is True
    assert calls[0][3] is None, "the plan names no registry"


@pytest.mark.parametrize(
    ("environment", "planned", "watched"),
    [("staging", False, False), ("staging", True, True), ("production", False, True), ("production", True, True)],
)
def test_production_is_never_cut_over_unwatched(
    world: World, environment: str, planned: bool, watched: bool
) -> None:
    world.run = a_run(name=environment)
    seen: list[bool] = []

    async def cut_over(*_: Any, watched: bool) -> dict[str, Any]:
        seen.append(watched)
        return {}

    world.monkeypatch.setattr(cutover, "cut_over", cut_over)
    task = Cutover(task_id="cutover", watched=planned)
    world.monkeypatch.setattr(task, "with_metrics", lambda run, step: asyncio.run(step(run, None, None)))
    world.does(task)
    assert seen == [watched]


def test_evidence_needs_a_place(world: World) -> None:
    world.folder = None
    claim(world.run, world.ledger, "staging-deploy")
    for task in (LoadTest(task_id="l"), CompleteRehearsal(task_id="c")):
        with pytest.raises(AirflowException, match="stellwerk_reports") as failed:
            world.does(task)
        assert isinstance(failed.value.__cause__, ReportError)


def test_a_run_that_came_second_has_failed_nothing(world: World) -> None:
    for first in ("", "another"):
        if first:
            claim(replace(world.run, run_id=first), world.ledger, "staging-deploy")
        with pytest.raises(AirflowSkipException, match="another run does this for this release"):
            world.does(RecordFailure(task_id="f"))
    assert (world.ledger.entries(kinds=(REHEARSAL_COMPLETED,)), world.paged) == ((), [])


def test_a_failure_is_recorded_and_people_are_called(world: World) -> None:
    claim(world.run, world.ledger, "staging-deploy")
    told = world.does(RecordFailure(task_id="f"))
    assert told["result"] == "failed"
    [entry] = world.ledger.entries(kinds=(REHEARSAL_COMPLETED,))
    assert entry.payload == told
    [matter] = world.paged
    assert "the rehearsal of 3.0.0 in staging has failed" in matter.what
    assert "smoke_tests has failed" in matter.seen


def test_what_fails_after_everything_was_shown_is_no_pass(world: World) -> None:
    claim(world.run, world.ledger, "staging-deploy")
    show(world.ledger, world.run)
    world.states = None
    assert world.does(RecordFailure(task_id="f"))["result"] == "failed"
    assert "a step has failed" in world.paged[0].seen


def test_people_are_called_although_nothing_can_be_kept(world: World) -> None:
    world.folder = None
    claim(world.run, world.ledger, "staging-deploy")
    assert world.does(RecordFailure(task_id="f"))["result"] == "failed"
    assert len(world.paged) == 1


def test_nobody_called_is_tried_again_and_recorded_all_the_same(world: World) -> None:
    claim(world.run, world.ledger, "staging-deploy")
    world.slack_is_down = True
    task = RecordFailure(task_id="f")
    assert task.retries == 8
    with pytest.raises(AirflowException, match="Slack gives no answer") as failed:
        world.does(task)
    assert not isinstance(failed.value, AirflowFailException)
    world.slack_is_down = False
    world.does(task)
    assert (len(world.paged), len(world.ledger.entries(kinds=(REHEARSAL_COMPLETED,)))) == (1, 1)


def test_a_final_test_that_fails_is_told_and_is_no_rehearsal(world: World) -> None:
    claim(world.run, world.ledger, "staging-deploy:final")
    world.does(RecordFailure(task_id="f"), "final")
    assert "the final test of 3.0.0 in staging has failed" in world.paged[0].what
    assert world.ledger.entries(kinds=(REHEARSAL_COMPLETED,)) == ()


def test_a_rehearsal_is_concluded_over_the_cluster(world: World) -> None:
    calls = world.step(complete, "complete", {"result": "passed"})
    assert world.does(CompleteRehearsal(task_id="c")) == {"result": "passed"}
    assert calls[0][0] is world.run
    assert tasks.reports() == world.folder


@pytest.mark.parametrize("results", [(), ("failed",), ("passed", "failed")])
def test_a_phase_is_not_completed_by_the_states_of_its_tasks(world: World, results: tuple[str, ...]) -> None:
    claim(world.run, world.ledger, "staging-deploy")
    show(world.ledger, world.run)
    for number, result in enumerate(results):
        record(world.ledger, world.run, REHEARSAL_COMPLETED, {"result": result}, number=number + 1)
    with pytest.raises(AirflowFailException, match="has not passed"):
        world.does(CompleteStaging(task_id="c"))
    assert world.ledger.entries(kinds=(PHASE_COMPLETED,)) == ()
    record(world.ledger, world.run, REHEARSAL_COMPLETED, {"result": "passed"}, number=9)
    world.does(CompleteStaging(task_id="c"))
    [entry] = world.ledger.entries(kinds=(PHASE_COMPLETED,))
    assert entry.payload["phase"] == "staging-deploy"


def test_a_final_test_is_completed_by_its_smoke_suite(world: World) -> None:
    claim(world.run, world.ledger, "staging-deploy:final")
    with pytest.raises(AirflowFailException, match="the end of the final test refused"):
        world.does(CompleteStaging(task_id="c", variant="final"), "final")
    record(world.ledger, world.run, RELEASED, {"slot": "green", "checks": []})
    world.does(CompleteStaging(task_id="c", variant="final"), "final")
    assert [entry.payload["phase"] for entry in world.ledger.entries(kinds=(PHASE_COMPLETED,))] == [
        "staging-deploy:final"
    ]
