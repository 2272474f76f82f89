"""Everything around a running watch is killed or restarted; it goes on, and one fault is one switch."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from include.bluegreen.slots import other
from include.sandbox.airflow_client import AirflowClient, Run
from include.sandbox.cluster import SandboxCluster
from include.sandbox.environment import Sandbox
from include.sandbox.processes import wait_until
from include.sandbox.story import constant_load, observed_switches
from tests.e2e.conftest import World
from tests.e2e.test_watch_steering import FAILED, SUCCESS, watched

_ALIVE_SECONDS = 120.0

# The ERP lives on the database that is restarted: a few failed answers of it must be no fault of the release here.
# Nobody is to be called either: that would resume the task.
_TOLERANT: dict[str, Any] = {
    "slo": {"triggers": {"down_seconds": 120}},
    "watch": {"min_errors": 100, "page_after_seconds": 900},
}


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[AirflowClient]:
    with sandbox.airflow.client() as session:
        yield session


def _goes_on(client: AirflowClient, run: Run, after: str) -> None:
    """Wait until the deferred watch shows a poll that was made after now."""
    since = time.time()

    def seen() -> bool:
        newest = client.xcom(run, "watch", "watch")["at"]
        return bool(newest > since) and client.task(run, "watch").state == "deferred"

    wait_until(seen, deadline_seconds=_ALIVE_SECONDS, what=f"the watch to go on after {after}", poll_seconds=1.0)


def test_whatever_is_killed_the_watch_goes_on_and_a_fault_is_switched_back_once(
    sandbox: Sandbox, world: World, client: AirflowClient
) -> None:
    source, airflow = world.active(), sandbox.airflow
    rollbacks = len(client.runs("rollback"))
    with watched(sandbox, client, "3.0.6", 1200, **_TOLERANT) as run:
        _goes_on(client, run, "its beginning")
        for name, breakdown in _breakdowns(sandbox):
            breakdown()
            _goes_on(client, run, name)
        assert world.active() == other(source)

        # Two triggerers run the watch at once: one stalls, the other takes over, the first one wakes in the fault.
        second = airflow.add_component("triggerer")
        with observed_switches(sandbox) as switches, _stalled(sandbox, "triggerer") as wake:
            _goes_on(client, run, "its triggerer was stalled")
            with constant_load(sandbox, "e2e-watch-faults", 100):
                wait_until(lambda: _failing(sandbox), deadline_seconds=120, what="the fault", poll_seconds=0.05)
                airflow.signal_component("scheduler", signal.SIGKILL)
                wake()
                wait_until(lambda: world.active() == source, deadline_seconds=90, what="the switch back")
                client.wait_for_run(run, deadline_seconds=180, states=FAILED)
            airflow.stop_component(second)
            back = client.runs("rollback")[-1]
            client.wait_for_run(back, deadline_seconds=120, states=SUCCESS)

    assert switches == [(source, "back")]
    assert len(client.runs("rollback")) == rollbacks + 1
    assert back.run_id == f"after__{run.run_id}"
    assert "error rate" in client.log(run, "watch")


def _breakdowns(sandbox: Sandbox) -> Iterator[tuple[str, Callable[[], None]]]:
    airflow = sandbox.airflow
    yield "the triggerer was killed", lambda: airflow.signal_component("triggerer", signal.SIGKILL)
    yield "the scheduler was killed", lambda: airflow.signal_component("scheduler", signal.SIGKILL)
    yield "the database was restarted", lambda: _restart_database(sandbox)
    if isinstance(sandbox.cluster, SandboxCluster):
        control_plane = sandbox.cluster.control_plane
        yield "Kubernetes' API was killed", lambda: control_plane.restart_api_server(away_seconds=3.0)


def _restart_database(sandbox: Sandbox) -> None:
    sandbox.postgres.stop()
    time.sleep(2.0)
    sandbox.postgres.start()


@contextlib.contextmanager
def _stalled(sandbox: Sandbox, component: str) -> Iterator[Callable[[], None]]:
    """Stop a component in the middle of whatever it does; what is yielded lets it go on."""
    sandbox.airflow.signal_component(component, signal.SIGSTOP)

    def wake() -> None:
        sandbox.airflow.signal_component(component, signal.SIGCONT)

    try:
        yield wake
    finally:
        wake()


def _failing(sandbox: Sandbox) -> bool:
    answer = httpx.get(f"{sandbox.addresses.public_url}/api/v1/orders", timeout=5, trust_env=False)
    return answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR
