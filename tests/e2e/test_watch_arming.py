"""No release goes live unwatched: without a triggerer nothing moves, and who orders the rollback then stops it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from include.bluegreen.slots import other
from include.sandbox.airflow_client import AirflowClient, Run
from include.sandbox.environment import Sandbox
from include.sandbox.people import answer_gate, trigger_release
from include.sandbox.processes import wait_until
from include.sandbox.story import constant_load
from tests.e2e.conftest import World
from tests.e2e.test_watch_steering import DEFERRED, FAILED, LEAD, SUCCESS, entries, say


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[AirflowClient]:
    with sandbox.airflow.client() as session:
        yield session


@contextmanager
def _without_triggerer(sandbox: Sandbox, client: AirflowClient, version: str) -> Iterator[Run]:
    """A release that is about to cut over, and no triggerer."""
    run = trigger_release(sandbox.airflow, version)
    answer_gate(sandbox.airflow, run)
    client.wait_for_task(run, "go_no_go.approve", deadline_seconds=90, states=SUCCESS)
    sandbox.airflow.stop_component("triggerer")
    try:
        client.wait_for_task(run, "watch", deadline_seconds=150, states=DEFERRED)
        asked = lambda: entries(sandbox, run, "cutover.watch-called")  # noqa: E731 - short
        wait_until(asked, deadline_seconds=60, what="the cutover to ask for the watch")
        yield run
    finally:
        sandbox.airflow.start_component("triggerer")


def test_without_a_triggerer_nothing_moves_and_with_it_the_release_goes_on(
    sandbox: Sandbox, world: World, client: AirflowClient
) -> None:
    source = world.active()
    with constant_load(sandbox, "e2e-arming", 40):
        with _without_triggerer(sandbox, client, "3.0.0") as run:
            time.sleep(3.0)
            assert world.active() == source
            assert client.task(run, "cutover").state == "running"
            assert not entries(sandbox, run, "watch.armed", "cutover.intended")
        client.wait_for_run(run, deadline_seconds=240, states=SUCCESS)
    assert world.active() == other(source)
    told = [entry.kind for entry in entries(sandbox, run, "watch.armed", "cutover.intended", "watch.baseline")]
    assert told[-3:] == ["watch.armed", "cutover.intended", "watch.baseline"]
    [done], [began] = entries(sandbox, run, "cutover.done"), entries(sandbox, run, "watch.baseline")
    assert began.recorded_at < done.recorded_at, "it watched before the cutover was proven"


def test_roll_back_now_before_the_cutover_stops_it(sandbox: Sandbox, world: World, client: AirflowClient) -> None:
    source, before = world.active(), world.service().annotations.get("stellwerk.io/last-switch")
    with _without_triggerer(sandbox, client, "3.0.0") as run:
        question = client.wait_for_question(run, "watch", deadline_seconds=60)
        say(sandbox, LEAD, question, "Roll back now", comment="the wrong release")
        ordered = lambda: entries(sandbox, run, "watch.rollback-ordered")  # noqa: E731 - short
        wait_until(ordered, deadline_seconds=60, what="the order in the ledger")
    client.wait_for_run(run, deadline_seconds=240, states=FAILED)
    assert world.active() == source
    assert world.service().annotations.get("stellwerk.io/last-switch") == before
    assert not entries(sandbox, run, "cutover.intended", "cutover.done", "watch.baseline")
    assert f"{LEAD} ordered the rollback before the cutover" in client.log(run, "cutover")
    assert "NotCutOver" in client.log(run, "watch")
    assert client.task(run, "start_rollback").state == "skipped"
