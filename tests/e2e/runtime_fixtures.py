"""Airflow alone, without a cluster: for the tests of the runtime itself."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from include.sandbox.airflow import COMPONENTS, AirflowRuntime
from include.sandbox.airflow_client import AirflowClient
from include.sandbox.postgres import Postgres
from include.sandbox.processes import wait_until
from include.sandbox.settings import Settings

HERE = Path(__file__).parent
DAG_FOLDERS = {"runtime": HERE / "runtime_dags", "race": HERE / "race_dags"}


def make_runtime(state: Path, postgres: Postgres) -> AirflowRuntime:
    """An Airflow that knows the tests' DAGs and nothing else."""
    return AirflowRuntime(
        state / "airflow",
        database_url=postgres.url("airflow", driver="psycopg2"),
        settings=Settings(),
        own_dags=None,
        dag_folders=DAG_FOLDERS,
    )


def processes_of(runtime: AirflowRuntime) -> list[psutil.Process]:
    """The components with everything below them."""
    roots = [psutil.Process(runtime.pid(component)) for component in COMPONENTS]
    return [process for root in roots for process in (root, *root.children(recursive=True))]


def still_running(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended; a zombie has, its parent only hasn't looked yet."""
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def listens(url: str) -> bool:
    """Whether somebody accepts connections at the URL's port."""
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, int(port))) == 0


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowRuntime]:
    """A running Airflow. At its end a task runs: stopping must end that too, and leave nothing behind."""
    state = tmp_path_factory.mktemp("runtime")
    postgres = Postgres(state / "postgres")
    postgres.start()
    runtime = make_runtime(state, postgres)
    try:
        runtime.start()
        yield runtime
        run_long_task(runtime)
        processes = processes_of(runtime)
    finally:
        runtime.stop()
        postgres.remove()
    assert still_running(processes) == []
    assert not listens(runtime.url)


def run_long_task(runtime: AirflowRuntime) -> None:
    """Start a task that never ends and wait until its own child process is there."""
    with runtime.client("release-manager") as client:
        client.trigger("runtime-long")
    wait_until(
        lambda: [process for process in processes_of(runtime) if process.name() == "sleep"],
        deadline_seconds=90,
        what="the long task's child process",
    )


@pytest.fixture
def manager(runtime: AirflowRuntime) -> Iterator[AirflowClient]:
    """The release manager's session."""
    with runtime.client("release-manager") as client:
        yield client
