"""T-0 09:00: the database (DEPLOYMENT-PLAN, "Datenbank-Migration"): rehearsed, decided, migrated, watched."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from stellwerk.migrations import migration, migration_gate, rehearsal, way_back
from stellwerk.operators.database import MODES, OnlyInMode, RetainBackups, Survey
from stellwerk.operators.message import Announce
from stellwerk.params import release_params
from stellwerk.sensors.schema import LeftSchemaWatch, SchemaWatch

with DAG(
    dag_id="db-migration",
    description="Back up, rehearse on a copy, decide, migrate, watch - or take it back",
    schedule=None,
    max_active_runs=16,  # a second migration of a database is refused by its locks, one of another need not wait
    catchup=False,
    params=release_params(
        mode=Param(
            "plan",
            type="string",
            enum=list(MODES),
            values_display=MODES,
            title="Mode",
            description="How far the run goes",
        ),
    ),
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5)},
    tags=["stellwerk", "T-0"],
    doc_md="""
Trigger it for a release and an environment. **plan** looks at the revisions and at the database, and names all
that stands in the way. **rehearse** backs up, proves the backup, and migrates a copy: up, the old version on it,
down, up again. **apply** then asks for a Go, takes a safety backup, migrates, and watches the running version.

Nothing but **apply** changes the application's database. Every task may be retried or cleared: it goes on where it
was. If the running version fails afterwards, a human is asked whether the schema is taken back, and told what that
would lose.
""",
) as dag:
    survey = Survey(task_id="survey")
    rehearses = OnlyInMode(task_id="rehearses", modes=("rehearse", "apply"))
    tried = rehearsal()
    applies = OnlyInMode(task_id="applies", modes=("apply",))
    gate = migration_gate()
    migrated = migration()
    # It protects users: whatever breaks around it costs an attempt and must not end it.
    watch = SchemaWatch(task_id="watch", retries=20)

    survey >> rehearses >> tried >> applies >> gate >> migrated >> watch
    back = way_back()
    watch >> back
    # A migration that did not come to its watch has left something, too: it is watched while humans decide.
    back.get_child_by_label("state") >> LeftSchemaWatch(task_id="watch_left", trigger_rule="one_done", retries=20)
    # Whatever became of the migration, backups do not pile up; it decides about nothing.
    tried >> RetainBackups(task_id="retain_backups")

    gate >> Announce(task_id="announce_start", event="migration-started")
    # Who was told of the beginning is told of a failure at once, and of what it has left when that is decided.
    failed = Announce(task_id="announce_failure", event="migration-failed", trigger_rule="one_failed")
    watch >> failed
    left = Announce(task_id="announce_left", event="migration-left", trigger_rule="all_done")
    [failed, back.get_child_by_label("take_back")] >> left
    # The last task: a run whose migration was taken back, or whose schema was kept in spite of it all, has failed.
    watch >> Announce(task_id="announce_end", event="migration-completed")
