"""Migrations beside others: who blocks them is named, nobody waits behind them for long, one runs at a time."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from include.errors import MigrationBlocked, MigrationBusy, MigrationInterrupted
from include.migration.apply import Migration
from include.migration.job import Outcome, Progress
from include.sandbox.postgres import Postgres
from tests.contract.migrations import (
    INDEX,
    LINE,
    OWNER,
    QUICK,
    World,
    at_a,
    reached,
    slow,
    world,
)
from tests.contract.trees import tree


@pytest.fixture
def erp(server: Postgres) -> World:
    return world(server, 'erp "Größe" 1')


@pytest.mark.parametrize(
    ("may_see", "details"),
    [
        (False, "; more is hidden from this role, it lacks pg_read_all_stats"),
        (True, " from 127.0.0.1, idle in transaction, in its transaction for "),
    ],
)
def test_who_holds_a_lock_is_named_and_nobody_waits_behind_it_for_long(
    erp: World, tmp_path: Path, may_see: bool, details: str
) -> None:
    at_a(erp, tmp_path)
    seen: list[Progress] = []
    with erp.admits() as admin:
        admin.execute(
            f"GRANT pg_read_all_stats TO {OWNER}" if may_see else f"REVOKE pg_read_all_stats FROM {OWNER}"
        )
    with erp.admits() as somebody, somebody.transaction():
        somebody.execute("SELECT count(*) FROM orders WHERE 'anna@example.com' <> 'x'")
        with pytest.raises(MigrationBlocked) as blocked:
            Migration(erp.job(tree(tmp_path, LINE)), erp.database, report=seen.append).run()
        pid = somebody.info.backend_pid
    assert f"pid {pid} of postgres 'somebody'{details}" in blocked.value.seen
    assert blocked.value.expected == "a lock within 0.5 s, in 2 attempts"
    assert (blocked.value.state, blocked.value.retryable) == ("old, at a", True)
    waiting = [one for one in seen if one.blockers and one.revision == "b"]
    assert "ALTER TABLE orders ADD note text" in waiting[0].shown
    assert "BLOCKED BY pid" in waiting[0].shown
    assert "anna@example.com" not in f"{blocked.value} {[one.shown for one in waiting]}"


def test_a_lock_that_is_given_back_in_time_is_waited_for(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    with erp.admits() as somebody:
        somebody.execute("BEGIN; LOCK TABLE orders")
        migration = Migration(
            erp.job(tree(tmp_path, LINE), limits=replace(QUICK, attempts=20)),
            erp.database,
            report=lambda progress: somebody.execute("COMMIT") if progress.blockers else None,
        )
        done = migration.run()
    assert done.state.kind == "target"
    assert [one.application for one in done.blockers] == ["somebody"]


def test_two_migrations_at_once_are_one(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    job = erp.job(slow(tmp_path))
    first = Migration(job, erp.database)
    ended: list[BaseException] = []

    def run() -> None:
        with pytest.raises(MigrationInterrupted) as interrupted:
            first.run()
        ended.append(interrupted.value)

    thread = threading.Thread(target=run)
    thread.start()
    erp.until("the first one sleeps", lambda: any("pg_sleep" in one[3] for one in erp.backends()))
    with pytest.raises(MigrationBusy, match="pg_sleep") as busy:
        Migration(replace(job, key="another run"), erp.database).run()
    assert busy.value.state == "old, at a"
    assert len(erp.backends()) == 1, "the second one leaves the first one alone"
    first.cancel()
    thread.join(20)
    assert str(ended[0]).startswith("the migration was stopped")
    assert erp.backends() == []


def test_an_index_that_another_migration_is_building_is_left_alone(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    job = erp.job(tree(tmp_path, INDEX), limits=replace(QUICK, lock=60))
    ended: list[Outcome] = []
    with erp.admits() as somebody:
        somebody.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM orders")
        thread = threading.Thread(target=lambda: ended.append(Migration(job, erp.database).run()))
        thread.start()
        erp.until("it is being built", lambda: any(reached("index building", *one) for one in erp.backends()))
        with pytest.raises(MigrationBusy):
            Migration(replace(job, key="another run"), erp.database).run()
        somebody.execute("COMMIT")
        thread.join(30)
    assert [one.state.kind for one in ended] == ["target"]
