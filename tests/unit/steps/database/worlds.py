"""A run of ``db-migration`` with an environment that has a database, and a ledger in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from include.ledger.store import Ledger
from include.plan.database import DatabasePlan
from include.plan.loader import load_plan, plan_folder
from include.plan.models import Gate
from include.steps.database.look import rehearsal_digest
from include.steps.run import ReleaseRun, open_run
from tests.memory import MemoryLedger

ROLES = {"technical-lead": ("anna",), "on-call-lead": ("bo",), "business-owner": ("carl",)}
DATABASE: dict[str, Any] = {
    "connection": "erp",
    "backups": "file:///srv/backups",
    "tree": {"folder": "/srv/{version}", "interpreter": ["/srv/python"], "script_location": "/srv/{version}/db"},
}


def a_run(run_id: str = "r1", **database: Any) -> ReleaseRun:
    """A run of 3.0.0 to production."""
    run = open_run(
        load_plan(plan_folder()),
        release="3.0.0",
        environment="production",
        phase="db-migration",
        run_id=run_id,
        triggered_by="rm",
    )
    section = DatabasePlan.model_validate({**DATABASE, **database})
    changed = {"database": section, "gate": Gate(roles=ROLES)}
    return replace(run, environment=run.environment.model_copy(update=changed))


def a_hotfix(run_id: str = "hot") -> ReleaseRun:
    """A run of 3.0.1, which replaces 3.0.0, to the same environment."""
    run = a_run(run_id)
    return replace(run, release=run.release.model_copy(update={"version": "3.0.1", "previous": "3.0.0"}))


def a_ledger() -> Ledger:
    """An empty one."""
    return cast("Ledger", MemoryLedger())


SURVEYED: dict[str, Any] = {
    "digest": "d" * 64,
    "system": "7",
    "database": "erp",
    "heads": ["c"],
    "current": ["b"],
    "target": ["c"],
    "steps": ["c"],
    "fingerprint": "f" * 64,
    "findings": [],
    "way_back": "",
    "blocking": [],
    "warned": ["c.py:3: holds a lock for long; do: use CONCURRENTLY (squawk:x)"],
    "accepted": [],
    "idle": [],
    "policy": "p" * 64,
}
TRIED: dict[str, Any] = {
    "id": "0123456789abcdef",
    "backup": "backup-1",
    "backup_sha256": "a" * 64,
    "bytes": 8_000_000,
    "plan": rehearsal_digest(DatabasePlan.model_validate(DATABASE)),
    "previous": "2.9.0",
    "survey": SURVEYED["digest"],
    "recorded": ["b"],
    "target": ["c"],
    "steps": ["c"],
    "before": "f" * 64,
    "fingerprint": "e" * 64,
    "restore_seconds": 1.5,
    "up": {"timings": {"c": 2.0}, "blockers": []},
    "rewritten": ["public.orders"],
    "rows": [],
    "old_version": {"proven": True, "name": "suite", "sentences": ["12 passed"]},
    "way_back": {"proven": True, "why": "", "loses": ["3 values of orders.delivery_date"]},
}
