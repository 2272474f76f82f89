"""Of many runs that begin a phase at the same moment, a real ledger lets one act."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

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
PLAN = load_plan(plan_folder())


@pytest.fixture
def ledger(server: Postgres) -> Ledger:
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS claims WITH (FORCE)")
        connection.execute("CREATE DATABASE claims")
    url = server.url("claims", SUPERUSER)
    migrate(url, role="stellwerk_append", password=server.password("stellwerk_append"))
    return Ledger(server.url("claims", "stellwerk_append"))


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
