"""Of many runs that begin a phase at the same moment, a real ledger lets one act."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from threading import Barrier
from typing import Any

import psycopg
import pytest

from include.errors import PhaseTaken
from include.ledger.migrate import migrate
from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.sandbox.postgres import SUPERUSER, Postgres
from include.steps.phase import PHASE_STARTED, claim
from include.steps.run import ReleaseRun, open_run

RUNS = 8
PHASES = 12
PLAN = load_plan(plan_folder())


@pytest.fixture
def url(server: Postgres) -> str:
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS claims WITH (FORCE)")
        connection.execute("CREATE DATABASE claims")
    admin = server.url("claims", SUPERUSER)
    migrate(admin, role="stellwerk_append", password=server.password("stellwerk_append"))
    return server.url("claims", "stellwerk_append")


@pytest.fixture
def ledger(url: str) -> Ledger:
    return Ledger(url)


def a_run(number: int) -> ReleaseRun:
    return open_run(
        PLAN,
        release="3.0.0",
        environment="staging",
        phase="staging-deploy",
        run_id=f"run-{number}",
        triggered_by=None,
    )


def _begin(ledger: Ledger, together: Barrier, reason: str, number: int) -> int | None:
    together.wait()
    try:
        return claim(a_run(number), ledger, "staging-deploy", reason)
    except PhaseTaken:
        return None


@pytest.mark.parametrize("reason", ["", "once more"])
def test_an_attempt_is_one_runs(ledger: Ledger, reason: str) -> None:
    with ThreadPoolExecutor(RUNS) as pool:
        attempts = list(pool.map(partial(_begin, ledger, Barrier(RUNS), reason), range(RUNS)))
    taken = sorted(attempt for attempt in attempts if attempt is not None)
    claims = ledger.entries(kinds=(PHASE_STARTED,))
    assert taken == list(range(1, len(claims) + 1)), "one run for each attempt"
    assert len(claims) == 1 or reason
    owners = {one.payload["attempt"]: one.run_id for one in claims}
    assert all(attempt is None or owners[attempt] == f"run-{number}" for number, attempt in enumerate(attempts))


def _begin_all(url: str, number: int, together: Any, taken: Any) -> None:
    """A process that begins phase after phase, each at the same moment as the other."""
    ledger = Ledger(url, timeout_seconds=60)
    for phase in map(str, range(PHASES)):
        together.wait(60)
        try:
            claim(a_run(number), ledger, phase)
        except PhaseTaken:
            continue
        taken.put((phase, f"run-{number}"))


def test_of_two_processes_one_begins_each_phase(ledger: Ledger, url: str) -> None:
    context = get_context("spawn")
    together, taken = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_begin_all, args=(url, number, together, taken)) for number in range(2)]
    for process in processes:
        process.start()
    begun = [taken.get(timeout=120) for _ in range(PHASES)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert taken.empty()
    claims = ledger.entries(kinds=(PHASE_STARTED,))
    assert sorted(begun) == sorted((str(one.payload["phase"]), one.run_id) for one in claims)
    assert len({phase for phase, _ in begun}) == PHASES
