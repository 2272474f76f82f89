"""Everything around a running watch is killed or restarted; it goes on, and one fault is one switch."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from include.sandbox.airflow_client import AirflowClient, Run
from include.sandbox.cluster import SandboxCluster
from include.sandbox.environment import Sandbox
from include.sandbox.processes import wait_until
from include.sandbox.story import constant_load, observed_switches
from tests.e2e.conftest import World
from tests.e2e.test_watch_steering import FAILED, SUCCESS, watched

STALLED_SECONDS = 40.0
_ALIVE_SECONDS = 90.0


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[AirflowClient]:
    with sandbox.airflow.client() as session:
        yield session


def _goes_on(client: AirflowClient, run: Run, after: str, *, seconds: float = _ALIVE_SECONDS) -> None:
    """Wait until the watch shows a poll that was made after now."""
    since = time.time()
    wait_until(
        lambda: client.xcom(run, "watch", "watch")["at"] > since,
        deadline_seconds=seconds,
        what=f"the watch to go on after {after}",
        poll_seconds=1.0,
    )


def test_whatever_is_killed_the_watch_goes_on_and_a_fault_is_switched_back_once(
    sandbox: Sandbox, world: World, client: AirflowClient
) -> None:
    source, airflow = world.active(), sandbox.airflow
    rollbacks = len(client.runs("rollback"))
    with watched(sandbox, client, "3.0.1", 900) as run, observed_switches(sandbox) as switches:
        _goes_on(client, run, "its beginning")
        for name, breakdown in _breakdowns(sandbox):
            breakdown()
            _goes_on(client, run, name)
            assert client.task(run, "watch").state == "deferred", f"after {name}"

        # Two triggerers run the watch at once: one stalls, the other takes over, the first one wakes in the fault.
        second = airflow.add_triggerer()
        wait_until(lambda: _heartbeats(client) >= 2, deadline_seconds=60, what="a second triggerer")
        airflow.signal_component("triggerer", signal.SIGSTOP)
        time.sleep(STALLED_SECONDS)
        _goes_on(client, run, "the stalled triggerer")
        with constant_load(sandbox, "e2e-watch-faults", 60):
            airflow.signal_component("scheduler", signal.SIGKILL)
            airflow.signal_component("triggerer", signal.SIGCONT)
            wait_until(lambda: world.active() == source, deadline_seconds=90, what="the switch back")
            client.wait_for_run(run, deadline_seconds=180, states=FAILED)
        airflow.stop_component(second)
        back = client.runs("rollback")[-1]
        client.wait_for_run(back, deadline_seconds=120, states=SUCCESS)

    assert switches == [(source, "back")], "the cutover was before; nothing else moved"
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


def _heartbeats(client: AirflowClient) -> int:
    jobs = client.request("GET", "jobs", params={"job_type": "TriggererJob", "is_alive": True})
    with contextlib.suppress(KeyError):
        return int(jobs["total_entries"])
    return 0
