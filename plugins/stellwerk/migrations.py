"""The parts of a migration as groups of tasks, for ``db-migration`` and for every DAG that migrates."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from airflow.sdk import TaskGroup

from stellwerk.gates import NAMED, PATIENCE, go_no_go
from stellwerk.operators.database import (
    BackUp,
    Migrate,
    Rehearse,
    Survey,
    VerifyBackup,
    VerifyMigrated,
)
from stellwerk.operators.way_back import AskTakeBack, StateWayBack, TakeBack

#: Whoever has to be asked is not kept waiting for longer: then people are called.
SOON: Final[dict[str, Any]] = {"retries": 8, "retry_delay": timedelta(seconds=10)}


def rehearsal() -> TaskGroup:
    """Back up, prove the backup, look again (at the database that it is of), rehearse on a copy."""
    with TaskGroup("rehearsal", tooltip="On a copy of this environment's own data") as group:
        (
            BackUp(task_id="back_up", purpose="rehearsal")
            >> VerifyBackup(task_id="verify_backup", purpose="rehearsal")
            >> Survey(task_id="survey")
            >> Rehearse(task_id="rehearse")
        )
    return group


def migration_gate() -> TaskGroup:
    """The migration's own gate: survey and rehearsal are shown, and are what a Go is bound to."""
    return go_no_go(about="migration")


def migration() -> TaskGroup:
    """A safety backup that was just written and proven, the migration, the proof."""
    with TaskGroup("migration", tooltip="Nothing is touched before the safety backup is proven") as group:
        (
            BackUp(task_id="back_up", purpose="safety")
            >> VerifyBackup(task_id="verify_backup", purpose="safety")
            >> Migrate(task_id="migrate", **PATIENCE)
            >> VerifyMigrated(task_id="verify")
        )
    return group


def way_back() -> TaskGroup:
    """Offered to a human where the migration fails, or the version on it; nothing of it happens by itself."""
    with TaskGroup("way_back", tooltip="Down to the recorded revision set, if a human says so") as group:
        state = StateWayBack(task_id="state", asks="ask", trigger_rule="one_failed", **SOON)
        ask = AskTakeBack.partial(task_id="ask", map_index_template=NAMED, **SOON).expand_kwargs(state.output)
        state >> ask >> TakeBack(task_id="take_back", **PATIENCE)
    return group
