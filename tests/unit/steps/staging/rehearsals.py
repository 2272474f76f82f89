"""A run of ``staging-deploy`` with a ledger in memory."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.plan.slots import Slot
from include.plan.staging import Acceptance
from include.steps.deployed import record_deployed, source_of
from include.steps.run import ReleaseRun, open_run
from tests.memory import MemoryLedger

CASES = ({"id": "articles", "title": "Artikel"}, {"id": "order", "title": "Auftrag"})
USERS = ("test-admin", "test-user", "test-readonly")


def a_run(run_id: str = "3.0.0__staging-deploy", **changes: Any) -> ReleaseRun:
    """A rehearsal of 3.0.0 as the plan that ships has it, with ``changes`` of its environment."""
    run = open_run(
        load_plan(plan_folder()),
        release="3.0.0",
        environment="staging",
        phase="staging-deploy",
        run_id=run_id,
        triggered_by=None,
    )
    changes = {"uat": acceptance(), **changes}
    return replace(run, environment=run.environment.model_copy(update=changes))


def acceptance(**changes: Any) -> Acceptance:
    return Acceptance.model_validate({"cases": CASES, **changes})


def deployed(ledger: Ledger, run: ReleaseRun, slot: Slot = "green") -> None:
    """Record that the run has deployed what the plan has."""
    record_deployed(run, ledger, source_of(run, slot), {"slot": slot})


def with_another_chart(run: ReleaseRun, folder: Path) -> ReleaseRun:
    """The run after somebody has put another chart into the plan."""
    chart = folder / "another-chart"
    shutil.copytree(run.chart, chart)
    (chart / "README.md").write_text("another")
    return replace(run, chart=chart)


def a_ledger() -> Ledger:
    return cast("Ledger", MemoryLedger())
