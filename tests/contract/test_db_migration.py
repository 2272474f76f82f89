"""The steps of ``db-migration`` on a real PostgreSQL, most of them with the demo ERP's own tree."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from psycopg.sql import SQL, Identifier

from include.backup import copies
from include.database.connection import Database
from include.database.marks import marked, set_comment
from include.database.session import session, try_lock
from include.errors import (
    ApprovalMissing,
    ArchiveUnusable,
    BackupDiffers,
    BackupMissing,
    LedgerUnavailable,
    LossNotConfirmed,
    MigrationBlocked,
    MigrationBusy,
    MigrationFailed,
    MigrationRefused,
    RestoreUnconfirmed,
    SchemaDiffers,
    StellwerkError,
)
from include.gate.form import Frame
from include.ledger.entry import Entry, NewEntry
from include.ledger.store import Ledger
from include.migration.apply import Migration
from include.migration.job import LOCK
from include.migration.observe import connection
from include.sandbox.postgres import Postgres
from include.steps.database.apply import gave_up, migrate, verify_migrated
from include.steps.database.backup import prove, retain, take, utc_now
from include.steps.database.confirm import confirm
from include.steps.database.copy import copy_name
from include.steps.database.entries import BACKED_UP, TRIED_OUT
from include.steps.database.full_restore import restore_fully, state_restore
from include.steps.database.gate import decided_about, question
from include.steps.database.look import look
from include.steps.database.old_version import run_suite
from include.steps.database.rehearse import SuiteResult, Trying, rehearse
from include.steps.database.way_back import state_way_back, take_back
from include.steps.record import CUTOVER_INTENDED, SWITCHED_BACK, record
from include.steps.schema_course import (
    LEFT_OLD,
    MIGRATED,
    MIGRATION_INTENDED,
    REHEARSED,
    TAKEN_BACK,
)
from include.steps.schema_proof import schema_proof
from tests.contract.migrations import surveyed, world
from tests.contract.places import NEW, OLD, Place, demo_place, generated, old_version
from tests.contract.trees import revision, sql
from tests.memory import MemoryLedger
from tests.unit.steps.database.worlds import a_run


@pytest.fixture
def demo(server: Postgres, tmp_path: Path) -> Place:
    return demo_place(server, tmp_path)


# -- the way it goes -----------------------------------------------------------------------------------------


def test_looking_writes_nothing_but_what_was_found(demo: Place) -> None:
    before = demo.databases()
    found = look(demo.run, demo.site, demo.ledger)
    assert (found["current"], found["target"], found["blocking"]) == (sorted(OLD), sorted(NEW), [])
    assert look(demo.run, demo.site, demo.ledger) == found
    assert (demo.count("migration.surveyed"), demo.databases(), demo.erp.revisions()) == (1, before, OLD)
    assert not (Path(demo.site.store.root.path)).exists()


def test_the_whole_way_up_and_back(demo: Place) -> None:
    databases = demo.databases()
    tried = demo.rehearse(Trying(old_version))
    assert (tried["old_version"]["proven"], tried["way_back"]["proven"]) == (True, True)
    assert tried["up"]["timings"].keys() == tried["down"]["timings"].keys() == {"0003_delivery_date"}
    assert (tried["rewritten"], tried["rows"]) == ([], [])
    assert (demo.databases(), demo.erp.revisions(), demo.rows("orders")) == (databases, OLD, 10)
    assert schema_proof(demo.run, demo.ledger) == "unchanged"

    bound = decided_about(demo.run, demo.ledger)
    asked = question(bound, "x", demo.ledger, Frame(datetime.now(UTC)))
    assert "the old version works on the new schema: an order was placed" in asked.body
    with pytest.raises(ApprovalMissing):
        migrate(demo.run, demo.site, demo.ledger)
    demo.decide()
    with pytest.raises(BackupMissing, match="no verified safety backup"):
        migrate(demo.run, demo.site, demo.ledger)
    demo.secure()
    done = migrate(demo.run, demo.site, demo.ledger)
    assert (done["applied"], done["state"], done["fingerprint"]) == (True, "target", tried["fingerprint"])
    assert migrate(demo.run, demo.site, demo.ledger) == done
    proof = verify_migrated(demo.run, demo.site, demo.ledger)
    assert {"public.articles", "public.orders"} <= set(proof["tables"])
    assert schema_proof(demo.run, demo.ledger) == "rehearsed"

    demo.erp.do("UPDATE public.orders SET delivery_date = '2030-05-02' WHERE id <= 3")
    stated = state_way_back(demo.run, demo.site, demo.ledger)
    assert stated["destructive"]
    assert "3 (confirmed up to 3) values of orders.delivery_date" in stated["text"]
    with pytest.raises(LossNotConfirmed):
        take_back(demo.run, demo.site, demo.ledger)
    said = {"digest": stated["digest"], "by": "bo", "reason": "the outage is worse"}
    confirm(demo.ledger, demo.run, said, at=datetime.now(UTC))
    demo.erp.do("UPDATE public.orders SET delivery_date = '2030-05-02'")
    with pytest.raises(LossNotConfirmed, match="more than what bo has confirmed"):
        take_back(demo.run, demo.site, demo.ledger)
    demo.erp.do("UPDATE public.orders SET delivery_date = NULL WHERE id > 3")
    back = take_back(demo.run, demo.site, demo.ledger)
    assert (back["state"], demo.erp.revisions(), demo.rows("orders")) == ("back", OLD, 10)
    assert not take_back(demo.run, demo.site, demo.ledger)["needed"]
    assert schema_proof(demo.run, demo.ledger) == "unchanged"
    with pytest.raises(MigrationRefused, match="has been undone"):
        migrate(demo.run, demo.site, demo.ledger)
    assert demo.databases() == databases


def test_without_tests_of_the_old_version_nothing_is_proven_about_it(demo: Place) -> None:
    tried = demo.rehearse()
    assert not tried["old_version"]["proven"]
    assert demo.count(REHEARSED) == 0
    demo.decide()
    demo.secure()
    migrate(demo.run, demo.site, demo.ledger)
    assert schema_proof(demo.run, demo.ledger) == "unproven"


def test_a_suite_that_failed_is_run_again_when_the_task_is(demo: Place) -> None:
    failed = demo.rehearse(Trying(lambda _: SuiteResult("suite", ok=False, sentences=("it crashed",))))
    assert failed["old_version"] == {"proven": False, "name": "suite", "sentences": ["it crashed"]}
    assert rehearse(demo.run, demo.site, demo.ledger, Trying(old_version))["old_version"]["proven"]
    assert demo.count(REHEARSED) == 1
    again = rehearse(demo.run, demo.site, demo.ledger, Trying(_never))
    assert (again["old_version"]["proven"], demo.count(TRIED_OUT)) == (True, 2)


def _never(_: Database) -> SuiteResult:
    raise AssertionError("what is proven is not proven again")


def test_a_schema_that_is_the_releases_already_is_left_alone(demo: Place) -> None:
    found = surveyed(demo.site.tree, demo.erp.database)
    Migration(found.job("by hand"), demo.erp.database).run()
    assert demo.rehearse(Trying(old_version))["steps"] == []
    demo.decide()
    demo.secure()
    assert not migrate(demo.run, demo.site, demo.ledger)["applied"]
    assert demo.count(MIGRATION_INTENDED) == 0
    assert schema_proof(demo.run, demo.ledger) == "unchanged"


# -- killed anywhere -----------------------------------------------------------------------------------------


class Flaky(MemoryLedger):
    """Each entry costs three tries: killed before it was written, killed after, told."""

    def __init__(self) -> None:
        super().__init__()
        self.tries: dict[str, int] = {}

    def append(self, new: NewEntry) -> Entry:
        tries = self.tries[str(new.key)] = self.tries.get(str(new.key), 0) + 1
        if tries == 1:
            raise LedgerUnavailable("killed before")
        entry = super().append(new)
        if tries == 2:
            raise LedgerUnavailable("killed after")
        return entry


def insistently(step: Callable[[], Any]) -> Any:
    for _ in range(10):
        try:
            return step()
        except LedgerUnavailable:
            continue
    raise AssertionError("it does not converge")


def test_killed_at_every_record_it_converges(demo: Place) -> None:
    demo.ledger = cast("Ledger", Flaky())
    run, site, ledger, databases = demo.run, demo.site, demo.ledger, demo.databases()
    for step in (
        lambda: take(run, site, ledger, "rehearsal"),
        lambda: prove(run, site, ledger, "rehearsal"),
        lambda: look(run, site, ledger),
        lambda: rehearse(run, site, ledger, Trying(old_version)),
    ):
        insistently(step)
    insistently(demo.decide)
    for step in (
        lambda: take(run, site, ledger, "safety"),
        lambda: prove(run, site, ledger, "safety"),
        lambda: migrate(run, site, ledger),
        lambda: verify_migrated(run, site, ledger),
    ):
        insistently(step)
    assert (demo.erp.revisions(), demo.rows("orders"), demo.databases()) == (NEW, 10, databases)
    assert (demo.count(BACKED_UP), demo.count(MIGRATED)) == (2, 1)
    insistently(lambda: state_way_back(run, site, ledger))
    stated = state_way_back(run, site, ledger)
    said, at = {"digest": stated["digest"], "by": "anna", "reason": "drill"}, datetime.now(UTC)
    insistently(lambda: confirm(ledger, run, said, at=at))
    insistently(lambda: take_back(run, site, ledger))
    assert (demo.erp.revisions(), demo.rows("orders")) == (OLD, 10)


def test_a_migration_that_was_cancelled_goes_on(server: Postgres, tmp_path: Path) -> None:
    made = generated(
        server,
        tmp_path,
        {
            "a": revision("a", None, sql("CREATE TABLE orders (id int)"), sql("DROP TABLE orders")),
            "b": revision("b", "a", sql("ALTER TABLE orders ADD note text"), sql("ALTER TABLE orders DROP note")),
        },
    )
    made.rehearse(Trying(_fine))
    made.decide()
    made.secure()
    with pytest.raises(StellwerkError) as stopped:
        migrate(made.run, made.site, made.ledger, started=lambda migration: migration.cancel())
    assert stopped.value.retryable
    assert (made.erp.revisions(), schema_proof(made.run, made.ledger)) == ({"a"}, "unproven")
    assert migrate(made.run, made.site, made.ledger)["state"] == "target"
    assert (made.erp.revisions(), schema_proof(made.run, made.ledger)) == ({"b"}, "rehearsed")


def _fine(_: Database) -> SuiteResult:
    return SuiteResult("suite", ok=True)


# -- what stands in the way ----------------------------------------------------------------------------------


def test_what_changed_after_the_go_is_refused_and_nothing_touched(demo: Place) -> None:
    demo.rehearse(Trying(old_version))
    demo.decide()
    demo.secure()
    demo.erp.do("CREATE TABLE public.somebody_else (id int)")
    with pytest.raises(MigrationRefused, match="what was looked at has changed"):
        migrate(demo.run, demo.site, demo.ledger)
    assert (demo.erp.revisions(), demo.count(MIGRATION_INTENDED)) == (OLD, 0)


def test_a_rehearsal_of_yesterdays_schema_is_refused(demo: Place) -> None:
    take(demo.run, demo.site, demo.ledger, "rehearsal")
    prove(demo.run, demo.site, demo.ledger, "rehearsal")
    demo.erp.do("CREATE TABLE public.somebody_else (id int)")
    look(demo.run, demo.site, demo.ledger)
    databases = demo.databases()
    with pytest.raises(MigrationRefused, match="another schema than the database has now"):
        rehearse(demo.run, demo.site, demo.ledger)
    assert demo.databases() == databases


def test_an_old_safety_backup_does_not_count(demo: Place) -> None:
    demo.rehearse(Trying(old_version))
    demo.decide()
    demo.secure()
    later = utc_now() + timedelta(hours=2)
    with pytest.raises(BackupMissing, match="is too old"):
        migrate(demo.run, demo.site, demo.ledger, now=lambda: later)
    first = take(demo.run, demo.site, demo.ledger, "safety")
    second = take(demo.run, demo.site, demo.ledger, "safety", now=lambda: later)
    assert first["backup"].endswith("safety-1")
    assert second["backup"].endswith("safety-2")
    with pytest.raises(BackupMissing, match="safety-2, not verified"):
        migrate(demo.run, demo.site, demo.ledger)


def test_a_copy_that_could_not_be_compared_is_no_rehearsal(demo: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    take(demo.run, demo.site, demo.ledger, "rehearsal")
    prove(demo.run, demo.site, demo.ledger, "rehearsal")
    look(demo.run, demo.site, demo.ledger)
    counted = copies.count_rows
    monkeypatch.setattr(copies, "count_rows", lambda *a, **b: {**counted(*a, **b), "public.orders": None})
    with pytest.raises(BackupDiffers, match=r"public\.orders.*count_seconds"):
        rehearse(demo.run, demo.site, demo.ledger, Trying(old_version))
    assert [name for name in demo.databases() if "rehearsal" in name] == []


def test_a_backup_that_vanished_is_taken_again(demo: Place) -> None:
    first = take(demo.run, demo.site, demo.ledger, "rehearsal")
    for file in Path(demo.site.store.root.path, first["backup"]).iterdir():
        file.unlink()
    second = take(demo.run, demo.site, demo.ledger, "rehearsal")
    assert second["backup"] != first["backup"]
    assert prove(demo.run, demo.site, demo.ledger, "rehearsal")["backup"] == second["backup"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda content: content[:-40] + bytes(40), BackupDiffers),
        (lambda content: content[:-40], ArchiveUnusable),
    ],
    ids=["corrupt", "truncated"],
)
def test_when_a_damaged_backup_is_cleared_another_one_is_taken(
    demo: Place, change: Callable[[bytes], bytes], found: type[StellwerkError]
) -> None:
    first = take(demo.run, demo.site, demo.ledger, "rehearsal")
    (archive,) = Path(demo.site.store.root.path, first["backup"]).glob("*.dump")
    archive.write_bytes(change(archive.read_bytes()))
    with pytest.raises(found):
        prove(demo.run, demo.site, demo.ledger, "rehearsal")
    second = take(demo.run, demo.site, demo.ledger, "rehearsal")
    assert second["backup"] != first["backup"]
    assert prove(demo.run, demo.site, demo.ledger, "rehearsal")["backup"] == second["backup"]
    assert take(demo.run, demo.site, demo.ledger, "rehearsal") == second


def test_a_backup_that_nobody_could_compare_completely_is_taken_again(demo: Place) -> None:
    backup = demo.site.plan.backup.model_copy(update={"count_seconds": 0})
    hasty = replace(demo.site, plan=demo.site.plan.model_copy(update={"backup": backup}))
    first = take(demo.run, hasty, demo.ledger, "rehearsal")
    with pytest.raises(BackupDiffers, match="UNKNOWN"):
        prove(demo.run, hasty, demo.ledger, "rehearsal")
    assert take(demo.run, demo.site, demo.ledger, "rehearsal")["backup"] != first["backup"]


def test_a_store_that_loses_what_it_was_given_is_not_asked_for_ever(
    demo: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.steps.database.backup.find_backup", _lost)
    first = take(demo.run, demo.site, demo.ledger, "rehearsal")
    second = take(demo.run, demo.site, demo.ledger, "rehearsal")
    assert [one["backup"][-1] for one in (first, second)] == ["1", "2"]


def _lost(*_: object) -> None:
    raise ArchiveUnusable("truncated")


def test_a_lock_that_is_not_to_be_had_leaves_the_old_state_and_says_so(demo: Place) -> None:
    demo.rehearse(Trying(old_version))
    demo.decide()
    demo.secure()
    with demo.erp.admits() as somebody, somebody.transaction():
        somebody.execute("SELECT count(*) FROM public.orders")
        with pytest.raises(MigrationBlocked, match="pid"):
            migrate(demo.run, demo.site, demo.ledger)
    assert schema_proof(demo.run, demo.ledger) == "unproven", "it has begun, and nobody has looked"
    assert gave_up(demo.run, demo.site, demo.ledger) == {"old": True, "revisions": sorted(OLD)}
    assert (demo.count(LEFT_OLD), schema_proof(demo.run, demo.ledger)) == (1, "unchanged")
    assert not state_way_back(demo.run, demo.site, demo.ledger)["needed"]
    assert migrate(demo.run, demo.site, demo.ledger)["state"] == "target", "cleared, it begins anew"
    assert (demo.count(MIGRATION_INTENDED), schema_proof(demo.run, demo.ledger)) == (2, "rehearsed")
    assert state_way_back(demo.run, demo.site, demo.ledger)["needed"]


def test_what_one_run_has_left_as_it_was_closes_no_other_runs_migration(demo: Place) -> None:
    second = replace(demo, run=replace(demo.run, run_id="r2"))
    for one in (demo, second):
        one.rehearse(Trying(old_version))
        one.decide()
        one.secure()
    with connection(demo.erp.database) as another:
        assert try_lock(another, LOCK)
        for step in (migrate, gave_up):
            with pytest.raises(MigrationBusy, match="another migration is running"):
                step(second.run, second.site, second.ledger)
    with pytest.raises(StellwerkError):
        migrate(demo.run, demo.site, demo.ledger, started=lambda migration: migration.cancel())
    assert gave_up(second.run, second.site, second.ledger)["old"]
    assert schema_proof(demo.run, demo.ledger) == "unproven", "the first has begun"
    migrate(demo.run, demo.site, demo.ledger)
    assert (demo.erp.revisions(), schema_proof(demo.run, demo.ledger)) == (NEW, "rehearsed")
    assert state_way_back(demo.run, demo.site, demo.ledger)["needed"]
    with pytest.raises(MigrationRefused):
        migrate(second.run, second.site, second.ledger)


def test_a_schema_goes_back_by_a_humans_word_and_not_under_a_version_cut_over_since(
    server: Postgres, tmp_path: Path
) -> None:
    view = revision("b", "a", sql("CREATE VIEW v AS SELECT id FROM orders"), sql("DROP VIEW v"))
    made = generated(server, tmp_path, ORDERS | {"b": view})
    made.rehearse(Trying(_fine))
    made.decide()
    made.secure()
    migrate(made.run, made.site, made.ledger)
    stated = state_way_back(made.run, made.site, made.ledger)
    assert "nothing is lost" in stated["text"]
    with pytest.raises(LossNotConfirmed, match="nobody has confirmed it"):
        take_back(made.run, made.site, made.ledger)
    said = {"digest": stated["digest"], "by": "bo", "reason": "drill"}
    confirm(made.ledger, made.run, said, at=datetime.now(UTC))
    release = a_run("release")
    record(made.ledger, release, CUTOVER_INTENDED, {})
    with pytest.raises(MigrationRefused, match="under a version that users are on"):
        take_back(made.run, made.site, made.ledger)
    assert made.erp.revisions() == {"b"}
    record(made.ledger, release, SWITCHED_BACK, {})
    take_back(made.run, made.site, made.ledger)
    assert made.erp.revisions() == {"a"}


def test_a_connection_that_leads_elsewhere_says_nothing_about_the_migration(server: Postgres, demo: Place) -> None:
    demo.migrate()
    site = replace(demo.site, database=world(server, "another erp", template="erp").database)
    for step in (verify_migrated, gave_up, state_way_back, take_back):
        with pytest.raises(MigrationRefused, match="another database than the one that was migrated"):
            step(demo.run, site, demo.ledger)
    assert (demo.erp.revisions(), schema_proof(demo.run, demo.ledger)) == (NEW, "rehearsed")


ORDERS = {"a": revision("a", None, sql("CREATE TABLE orders (id int)"), sql("DROP TABLE orders"))}


def test_a_migration_that_fails_on_the_data_fails_on_the_copy(server: Postgres, tmp_path: Path) -> None:
    unique = revision("b", "a", sql("ALTER TABLE orders ADD CONSTRAINT once UNIQUE (id)"), "pass")
    # The linters would stop it; here somebody has taken the responsibility, and the copy shows what comes of it.
    accepted = [{"rule": "constraint-index", "revision": "b", "by": "anna", "reason": "a small table"}]
    rules = {"squawk:disallowed-unique-constraint": "warn"}
    made = generated(server, tmp_path, ORDERS | {"b": unique}, migration={"accepted": accepted, "rules": rules})
    made.erp.do("INSERT INTO public.orders VALUES (1), (1)")
    databases = made.databases()
    with pytest.raises(MigrationFailed, match="could not create unique index"):
        made.rehearse(Trying(_fine))
    assert (made.databases(), made.erp.revisions(), made.count(TRIED_OUT)) == (databases, {"a"}, 0)


def test_without_a_downgrade_the_plan_decides(server: Postgres, tmp_path: Path) -> None:
    revisions = ORDERS | {"b": revision("b", "a", sql("ALTER TABLE orders ADD note text"))}
    made = generated(server, tmp_path, revisions)
    with pytest.raises(MigrationRefused, match="there is no way down"):
        made.rehearse(Trying(_fine))
    made = generated(server, tmp_path / "2", revisions, migration={"way_back_needed": False})
    tried = made.rehearse(Trying(_fine))
    assert (tried["way_back"]["proven"], tried["old_version"]["proven"]) == (False, True)
    assert "b.py" in tried["way_back"]["why"]
    made.decide()
    made.secure()
    migrate(made.run, made.site, made.ledger)
    with pytest.raises(MigrationRefused, match="there is no way down"):
        state_way_back(made.run, made.site, made.ledger)


def test_a_way_down_that_leads_elsewhere_fails_the_rehearsal(server: Postgres, tmp_path: Path) -> None:
    wrong = revision("b", "a", sql("ALTER TABLE orders ADD note text"), sql("CREATE TABLE left_over (id int)"))
    made = generated(server, tmp_path, ORDERS | {"b": wrong})
    with pytest.raises(SchemaDiffers):
        made.rehearse(Trying(_fine))


def test_the_copy_of_a_rehearsal_that_was_killed_and_given_up_is_dropped_by_the_next_one(demo: Place) -> None:
    databases = demo.databases()
    left, worked_with = (copy_name("erp", f"{run} was killed") for run in ("one", "another"))
    for name in (left, worked_with):
        with session(demo.erp.database.named("postgres"), application="test") as administration:
            administration.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
            set_comment(
                administration, name, marked("", "restoring", hashlib.sha256(name.encode()).hexdigest()[:12])
            )
    with session(demo.erp.database.named("postgres"), application="test") as another:
        assert try_lock(another, f"rehearsal {worked_with}")
        demo.rehearse(Trying(old_version))
    assert demo.databases() == databases | {worked_with}


def test_a_database_that_is_too_large_is_not_copied(demo: Place) -> None:
    rehearsal = demo.site.plan.rehearsal.model_copy(update={"largest_bytes": 1000})
    demo.site = replace(demo.site, plan=demo.site.plan.model_copy(update={"rehearsal": rehearsal}))
    with pytest.raises(MigrationRefused, match="too large for a copy"):
        demo.rehearse()


# -- the last resort -----------------------------------------------------------------------------------------


def test_the_database_comes_back_from_the_backup_that_the_migration_began_with(demo: Place) -> None:
    with pytest.raises(BackupMissing, match=r"no migration of 3\.0\.0"):
        state_restore(demo.run, demo.site, demo.ledger)
    demo.migrate()
    demo.erp.do("DELETE FROM public.orders WHERE id <= 4")
    with pytest.raises(RestoreUnconfirmed, match="nobody was shown"):
        restore_fully(demo.run, demo.site, demo.ledger)
    stated = state_restore(demo.run, demo.site, demo.ledger)
    assert "public.orders: at least 4 rows come back (6 now, 10 in the backup)." in stated["sentences"]
    with pytest.raises(RestoreUnconfirmed, match="nobody has confirmed"):
        restore_fully(demo.run, demo.site, demo.ledger)
    said = {"digest": stated["digest"], "by": "anna", "reason": "the data are damaged"}
    confirm(demo.ledger, demo.run, said, at=datetime.now(UTC))
    done = restore_fully(demo.run, demo.site, demo.ledger)
    assert (done["by"], demo.erp.revisions(), demo.rows("orders")) == ("anna", OLD, 10)
    assert restore_fully(demo.run, demo.site, demo.ledger) == done
    assert schema_proof(demo.run, demo.ledger) == "unchanged"
    assert done["kept"] in demo.databases()


def test_retention_keeps_what_an_open_migration_needs(demo: Place) -> None:
    demo.migrate()
    retention = demo.site.plan.backup.retention.model_copy(update={"newest": 1, "days": 0.000001})
    backup = demo.site.plan.backup.model_copy(update={"retention": retention})
    site = replace(demo.site, plan=demo.site.plan.model_copy(update={"backup": backup}))
    later = utc_now() + timedelta(days=400)
    other = a_run("r9")
    for run in (demo.run, other):
        assert retain(run, site, demo.ledger, now=later) == []
    record(demo.ledger, other, TAKEN_BACK, {})
    gone = retain(other, site, demo.ledger, now=later)
    assert [line.partition(":")[0].rpartition("-")[0].rpartition("-")[2] for line in gone] == ["rehearsal"]


# -- the old version's tests as a program --------------------------------------------------------------------

SUITE = """
import os, sys, psycopg
assert "SECRET" not in os.environ
with psycopg.connect() as connection:
    print(connection.execute("SELECT current_database()").fetchone()[0], "answers")
sys.exit(int(sys.argv[1]))
"""


def test_a_program_is_the_old_versions_suite(demo: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    file = tmp_path / "suite.py"
    file.write_text(SUITE)
    argv = [sys.executable, str(file)]
    passed = run_suite([*argv, "0"], demo.erp.database, timeout_seconds=60)
    assert (passed.ok, passed.sentences) == (True, ("erp answers",))
    failed = run_suite([*argv, "3"], demo.erp.database, timeout_seconds=60)
    assert (failed.ok, failed.sentences) == (False, ("exit code 3", "erp answers"))
    slow = run_suite([sys.executable, "-c", "import time; time.sleep(60)"], demo.erp.database, timeout_seconds=0.5)
    assert (slow.ok, slow.sentences) == (False, ("not ended after 0.5 s",))
