"""Migrations of real trees in a real PostgreSQL: what stops them, and where they leave the database."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from include.errors import (
    DatabaseSilent,
    MigrationBlocked,
    MigrationBusy,
    MigrationFailed,
    MigrationInterrupted,
    MigrationRefused,
    SchemaDiffers,
    WrongDatabase,
)
from include.migration.apply import Migration
from include.migration.inventory import inventory
from include.migration.job import Job, Outcome, Progress
from include.migration.observe import connection
from include.migration.state import Inventory
from include.migration.tree import Tree
from include.sandbox.postgres import Postgres
from tests.contract.migrations import OWNER, QUICK, World, world
from tests.contract.trees import ENV, concurrently, revision, sql, tree, without_config

ROOT = Path(__file__).resolve().parents[2]
FIRST = {"a": revision("a", None, sql("CREATE TABLE orders (id int)"), sql("DROP TABLE orders"))}
LINE = FIRST | {
    "b": revision("b", "a", sql("ALTER TABLE orders ADD note text"), sql("ALTER TABLE orders DROP note")),
    "c": revision("c", "b", sql("CREATE TABLE notes (id int)"), sql("DROP TABLE notes")),
}
SLEEP = """
op.execute("ALTER TABLE orders ADD note text")
op.execute("SELECT pg_sleep(" + open("seconds").read() + ")")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    postgres = Postgres(tmp_path_factory.mktemp("postgres"))
    postgres.start()
    yield postgres
    postgres.remove()


@pytest.fixture
def erp(server: Postgres) -> World:
    return world(server, 'erp "Größe" 1')


def schema(given: World) -> Inventory:
    with connection(given.database) as opened:
        return inventory(opened)


def slow(folder: Path, seconds: float = 60, env: str = ENV) -> Tree:
    """A tree whose second revision sleeps, for as long as its folder says."""
    (folder / "seconds").write_text(str(seconds))
    return tree(folder, FIRST | {"b": revision("b", "a", SLEEP)}, env=env)


def at_a(given: World, folder: Path) -> None:
    Migration(given.job(tree(folder / "first", FIRST)), given.database).run()
    assert given.revisions() == {"a"}


# -- what goes well ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [tree, lambda *given: without_config(tree(*given))])
def test_it_ends_at_the_target_and_a_second_run_does_nothing(erp: World, tmp_path: Path, shape) -> None:
    job = erp.job(shape(tmp_path, LINE))
    done = Migration(job, erp.database).run()
    assert (done.state.kind, done.state.revisions, done.attempts) == ("target", {"c"}, 1)
    assert done.timings.keys() == {"a", "b", "c"}
    assert done.schema == schema(erp)
    assert "table public.notes" in done.schema.objects
    again = Migration(job, erp.database).run()
    assert (again.state.kind, again.attempts) == ("target", 0)
    assert erp.backends() == []


def test_it_goes_on_from_between(erp: World, tmp_path: Path) -> None:
    job = erp.job(tree(tmp_path, LINE))
    at_a(erp, tmp_path)
    done = Migration(job, erp.database).run()
    assert (done.state.kind, done.timings.keys()) == ("target", {"b", "c"})


def test_down_to_the_recorded_set_is_the_same_thing(erp: World, tmp_path: Path) -> None:
    branches = LINE | {"d": revision("d", "a"), "e": revision("e", ("c", "d"))}
    at_a(erp, tmp_path)
    before = schema(erp)
    given = tree(tmp_path, branches)
    up = erp.job(given)
    Migration(up, erp.database).run()
    assert erp.revisions() == {"e"}
    plan = up.graph.downgrade({"e"}, {"a"})
    down = replace(up, plan=plan, states=up.graph.states({"e"}, plan), before=None, expected=before)
    done = Migration(down, erp.database).run()
    assert (done.state.revisions, done.schema.fingerprint) == ({"a"}, before.fingerprint)


def test_every_name_is_taken_as_it_is(erp: World, tmp_path: Path) -> None:
    folder = tmp_path / "Bäume und Größen 100% 'x'"
    name = 'Auf träge "neu"'
    names = {"ä ö": revision("ä ö", None, f"op.create_table({name!r}, sa.Column('Größe', sa.Integer))")}
    done = Migration(erp.job(without_config(tree(folder, names))), erp.database).run()
    assert done.state.revisions == {"ä ö"}
    assert 'table public."Auf träge ""neu"""' in done.schema.objects


def test_an_env_py_that_takes_the_url_in_another_way_works_as_well(erp: World, tmp_path: Path) -> None:
    body = """
from sqlalchemy import create_engine, pool
from alembic import context
import os
url = {url}
with create_engine(url, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
    for number, url in enumerate(
        (
            "context.config.attributes['url']",
            "context.get_x_argument(as_dictionary=True)['url']",
            "os.environ['ERP_URL']",
        )
    ):
        given = tree(
            tmp_path / str(number),
            {"a": revision("a"), f"b{number}": revision(f"b{number}", "a")},
            env=body.format(url=url),
        )
        given = replace(given, url_variable="ERP_URL", version_schema=f"s{number}")
        given = replace(given, version_schema="")
        erp.do("DROP TABLE IF EXISTS public.alembic_version")
        assert Migration(erp.job(given), erp.database).run().state.revisions == {f"b{number}"}


def test_another_driver_works_as_well(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    given = replace(slow(tmp_path), driver="postgresql+psycopg2")
    job = erp.job(given, limits=replace(QUICK, statement=0.5))
    with pytest.raises(MigrationFailed, match=r"\(statement_timeout\)") as failed:
        Migration(job, erp.database).run()
    assert failed.value.state == "old, at a"
    done = Migration(replace(job, tree=replace(tree(tmp_path, LINE), driver="postgresql+psycopg2")), erp.database)
    with pytest.raises(MigrationFailed, match="is not the one that was planned"):
        done.run()


ASYNC = """
import asyncio
from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import async_engine_from_config

def do_run_migrations(connection):
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()

async def run():
    section = context.config.get_section(context.config.config_ini_section, {})
    connectable = async_engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
    async with connectable.connect() as connection:
        await connection.run_sync(do_run_migrations)
    await connectable.dispose()

asyncio.run(run())
"""


def test_an_asynchronous_env_py_is_guarded_in_the_same_way(erp: World, server: Postgres, tmp_path: Path) -> None:
    done = Migration(erp.job(tree(tmp_path / "1", LINE, env=ASYNC)), erp.database).run()
    assert done.state.revisions == {"c"}
    other = world(server, "other")
    job = other.job(tree(tmp_path / "2", LINE, env=ASYNC))
    stray = ASYNC.replace(
        "connectable =",
        "section['sqlalchemy.url'] = section['sqlalchemy.url'][:-5] + 'postgres'\n    connectable =",
    )
    with pytest.raises(WrongDatabase, match="'postgres'"):
        Migration(replace(job, tree=tree(tmp_path / "3", LINE, env=stray)), other.database).run()


# -- the wrong database --------------------------------------------------------------------------------------


def test_an_env_py_that_goes_elsewhere_is_refused_before_it_executes_anything(
    erp: World, server: Postgres, tmp_path: Path
) -> None:
    other = world(server, "other")
    stubborn = ENV.replace(
        "config.get_section(config.config_ini_section, {})",
        '{"sqlalchemy.url": config.attributes["url"].rsplit("/", 1)[0] + "/other"}',
    )
    with pytest.raises(WrongDatabase, match="database 'other'") as refused:
        Migration(erp.job(tree(tmp_path, LINE, env=stubborn)), erp.database).run()
    assert refused.value.state == "old, at no revision at all"
    assert other.ask("SELECT count(*) FROM pg_class WHERE relname = 'alembic_version'") == [(0,)]


def test_a_connection_to_another_database_is_refused(erp: World, server: Postgres, tmp_path: Path) -> None:
    job = erp.job(tree(tmp_path, LINE))
    with pytest.raises(WrongDatabase, match="other"):
        Migration(job, world(server, "other").database).run()


def test_a_wrong_password_is_said_without_it(erp: World, tmp_path: Path) -> None:
    wrong = replace(erp.database, password="not-the-password")
    with pytest.raises(DatabaseSilent, match="password authentication failed") as refused:
        Migration(erp.job(tree(tmp_path, LINE)), wrong).run()
    assert "not-the-password" not in str(refused.value)
    assert refused.value.state == "unknown, it gave no answer"


def test_a_revision_set_on_no_way_is_refused(erp: World, tmp_path: Path) -> None:
    job = erp.job(tree(tmp_path, LINE))
    at_a(erp, tmp_path)
    erp.do("UPDATE alembic_version SET version_num = 'future'")
    with pytest.raises(MigrationRefused, match="the database is at future, which is on no way"):
        Migration(job, erp.database).run()


# -- failures ------------------------------------------------------------------------------------------------


def test_a_failing_statement_leaves_exactly_the_revisions_before_it(erp: World, tmp_path: Path) -> None:
    broken = LINE | {"c": revision("c", "b", sql("ALTER TABLE orders ADD x int") + "\n" + sql("SELECT 1/0"))}
    with pytest.raises(MigrationFailed, match="division by zero") as failed:
        Migration(erp.job(tree(tmp_path, broken)), erp.database).run()
    assert failed.value.state == "between, at b"
    assert "c.py:13" in failed.value.seen
    assert failed.value.what == "the migration failed at revision c"
    assert "column public.orders.x" not in schema(erp).objects


def test_a_revision_that_raises_leaves_the_old_state(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    given = tree(tmp_path, FIRST | {"b": revision("b", "a", "op.drop_table('orders')\nraise SystemExit(4)")})
    with pytest.raises(MigrationFailed, match="SystemExit: 4") as failed:
        Migration(erp.job(given), erp.database).run()
    assert failed.value.state == "old, at a"
    assert pickle.loads(pickle.dumps(failed.value)).state == "old, at a"


def test_a_statement_that_takes_too_long_is_ended(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    job = erp.job(slow(tmp_path), limits=replace(QUICK, statement=0.5))
    with pytest.raises(MigrationFailed, match=r"an end within 0\.5 s \(statement_timeout\)") as failed:
        Migration(job, erp.database).run()
    assert failed.value.state == "old, at a"
    assert "pg_sleep" in failed.value.seen


def test_the_limits_hold_against_what_env_py_sets(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    loose = ENV.replace(
        "        context.configure",
        "        connection.exec_driver_sql('SET statement_timeout = 0')\n"
        "        connection.commit()\n        context.configure",
    )
    job = erp.job(slow(tmp_path, env=loose), limits=replace(QUICK, statement=0.5))
    with pytest.raises(MigrationFailed, match="statement_timeout"):
        Migration(job, erp.database).run()


def test_an_env_py_that_runs_nothing_is_no_success(erp: World, tmp_path: Path) -> None:
    with pytest.raises(MigrationFailed, match="without having run"):
        Migration(erp.job(tree(tmp_path, LINE, env="pass")), erp.database).run()


def test_an_env_py_that_does_not_commit_is_no_success(erp: World, tmp_path: Path) -> None:
    forgetful = ENV.replace("with context.begin_transaction()", "if True").replace(
        ", transaction_per_migration=True", ""
    )
    with pytest.raises(MigrationFailed, match=r"env\.py has to commit") as failed:
        Migration(erp.job(tree(tmp_path, LINE, env=forgetful)), erp.database).run()
    assert failed.value.state == "old, at no revision at all"


def test_another_schema_than_the_rehearsals_is_no_success(erp: World, tmp_path: Path) -> None:
    expected = schema(erp)
    job = erp.job(tree(tmp_path, LINE), expected=expected)
    with pytest.raises(SchemaDiffers, match=r"\+ table public.notes") as differs:
        Migration(job, erp.database).run()
    assert differs.value.state == "target, at c"


# -- locks ---------------------------------------------------------------------------------------------------


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
        somebody.execute("SELECT count(*) FROM orders")
        with pytest.raises(MigrationBlocked) as blocked:
            Migration(erp.job(tree(tmp_path, LINE)), erp.database, report=seen.append).run()
        pid = somebody.info.backend_pid
    assert f"pid {pid} of postgres 'somebody'{details}" in blocked.value.seen
    assert blocked.value.expected == "a lock within 0.5 s, in 2 attempts"
    assert (blocked.value.state, blocked.value.retryable) == ("old, at a", True)
    waiting = [one for one in seen if one.blockers and one.revision == "b"]
    assert "ALTER TABLE orders ADD note text" in waiting[0].shown
    assert "BLOCKED BY pid" in waiting[0].shown


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


def stopping(job: Job, given: World, folder: Path) -> subprocess.Popen[str]:
    """A task that is told to stop by SIGTERM, as Airflow tells it."""
    file = folder / "job"
    file.write_bytes(pickle.dumps((job, given.database)))
    code = START.replace(".run()", "").replace("Migration(job", "migration = Migration(job") + (
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: migration.cancel())\nmigration.run()"
    )
    argv = [sys.executable, "-c", code, str(file)]
    return subprocess.Popen(
        argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
    )


def test_a_task_that_is_told_to_stop_leaves_nothing(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    job = erp.job(slow(tmp_path))
    task = stopping(job, erp, tmp_path)
    erp.until("it sleeps", lambda: any("pg_sleep" in one[3] for one in erp.backends()))
    runner = child_of(task.pid)
    task.terminate()
    _, said = task.communicate(timeout=20)
    assert "MigrationInterrupted: the migration was stopped" in said
    assert "the database: old, at a" in said
    assert erp.backends() == []
    assert not Path(f"/proc/{runner}").exists()


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


# -- deaths --------------------------------------------------------------------------------------------------

START = """
import pickle, sys
from include.migration.apply import Migration
job, database = pickle.load(open(sys.argv[1], "rb"))
Migration(job, database).run()
"""


def started(job: Job, given: World, folder: Path) -> subprocess.Popen[bytes]:
    file = folder / "job"
    file.write_bytes(pickle.dumps((job, given.database)))
    argv = [sys.executable, "-c", START, str(file)]
    return subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


def child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0


@pytest.mark.parametrize("victim", ["task", "runner", "both"])
def test_sigkill_leaves_no_backend_and_a_retry_converges(erp: World, tmp_path: Path, victim: str) -> None:
    at_a(erp, tmp_path)
    job = erp.job(slow(tmp_path))
    task = started(job, erp, tmp_path)
    erp.until("it sleeps", lambda: any("pg_sleep" in one[3] for one in erp.backends()))
    runner = child_of(task.pid)
    for pid in {"task": [task.pid], "runner": [runner], "both": [task.pid, runner]}[victim]:
        os.kill(pid, signal.SIGKILL)
    erp.until("the backend is gone", lambda: not erp.backends(), seconds=5)
    task.wait(20)
    erp.until("the runner is gone", lambda: not Path(f"/proc/{runner}").exists(), seconds=5)
    assert (erp.revisions(), "column public.orders.note" in schema(erp).objects) == ({"a"}, False)
    slow(tmp_path, 0)
    assert Migration(job, erp.database).run().state.kind == "target"


def pause(point: str) -> str:
    return f"""
stop = open("stop").read() == "{point}"
op.execute(f"SELECT pg_sleep({{60 if stop else 0}}) /* {point} */")
"""


POINTS = {
    "nothing yet": "old, at a",
    "table early": "old, at a",
    "table late": "old, at a",
    "index early": "between, at b",
    "index building": "between, at b",
    "index late": "between, at b",
    "drop late": "between, at c",
}
KILLED = FIRST | {
    "b": revision("b", "a", pause("table early") + sql("CREATE TABLE t (id int)") + pause("table late")),
    "c": revision(
        "c",
        "b",
        pause("index early") + concurrently("CREATE INDEX CONCURRENTLY i ON orders (id)") + pause("index late"),
    ),
    "d": revision("d", "c", sql("DROP TABLE t") + pause("drop late")),
}


def test_killed_at_every_point_the_state_is_declared_and_it_converges(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    (tmp_path / "stop").write_text("")
    job = erp.job(tree(tmp_path, KILLED), limits=replace(QUICK, lock=60))
    for point, declared in POINTS.items():
        (tmp_path / "stop").write_text(point)
        with erp.admits() as somebody, somebody.transaction():
            if point == "index building":  # it waits for everybody who may still need the table without it
                somebody.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                somebody.execute("SELECT count(*) FROM orders")
            task = started(job, erp, tmp_path)
            if point == "nothing yet":
                erp.until("its process is there", lambda: child_of(task.pid))  # noqa: B023
            else:
                erp.until(point, lambda: any(reached(point, *one) for one in erp.backends()))  # noqa: B023
            task.kill()
            task.wait()
            erp.until("no backend is left", lambda: not erp.backends(), seconds=5)
        assert str(job.declare(frozenset(erp.revisions()), schema(erp))) == declared
        if point in ("index building", "index late"):
            assert schema(erp).invalid == (("public.i",) if point == "index building" else ())
            assert "index public.i" in schema(erp).objects
    (tmp_path / "stop").write_text("")
    done = Migration(job, erp.database).run()
    assert (done.state.revisions, done.schema.invalid) == ({"d"}, ())
    assert "index public.i" in done.schema.objects
    assert "table public.t" not in done.schema.objects


def reached(point: str, _pid: int, state: str, waits_for: str, query: str) -> bool:
    if point == "index building":
        return "CONCURRENTLY" in query and waits_for == "Lock"
    return f"/* {point} */" in query and state == "active"


def test_a_backend_that_waits_for_a_lock_ends_with_its_killed_process(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    job = erp.job(tree(tmp_path, LINE), limits=replace(QUICK, lock=60))
    with erp.admits() as somebody, somebody.transaction():
        somebody.execute("LOCK TABLE orders")
        task = started(job, erp, tmp_path)
        erp.until("it waits", lambda: any(one[2] == "Lock" for one in erp.backends()))
        task.kill()
        task.wait()
        erp.until("the backend is gone", lambda: not erp.backends(), seconds=5)
    assert erp.revisions() == {"a"}


def test_a_later_try_ends_what_an_earlier_one_has_left(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    job = erp.job(slow(tmp_path))
    task = started(job, erp, tmp_path)
    erp.until("it sleeps", lambda: any("pg_sleep" in one[3] for one in erp.backends()))
    os.kill(task.pid, signal.SIGSTOP)  # a host that hangs
    os.kill(child_of(task.pid), signal.SIGSTOP)
    slow(tmp_path, 0)
    try:
        assert Migration(job, erp.database).run().state.kind == "target"
    finally:
        os.kill(child_of(task.pid), signal.SIGKILL)
        task.kill()
        task.wait()


def test_a_server_that_goes_away_is_an_unknown_state(tmp_path: Path) -> None:
    postgres = Postgres(tmp_path / "postgres")
    postgres.start()
    try:
        given = world(postgres, "erp")
        at_a(given, tmp_path)
        job = given.job(slow(tmp_path))
        migration = Migration(job, given.database, report=lambda _progress: postgres.stop())
        # Whoever notices it first: this process, or the one that migrates.
        with pytest.raises((DatabaseSilent, MigrationInterrupted)) as silent:
            migration.run()
        assert silent.value.retryable
        assert silent.value.state == "unknown, it gave no answer"
        postgres.start()
        slow(tmp_path, 0)
        given.database = replace(given.database, port=postgres.port)
        assert Migration(job, given.database).run().state.kind == "target"
    finally:
        postgres.remove()


# -- outside of a transaction --------------------------------------------------------------------------------

INDEX = FIRST | {"b": revision("b", "a", concurrently('CREATE UNIQUE INDEX CONCURRENTLY "i x" ON orders (id)'))}


def test_half_an_index_is_declared_and_built_again(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    erp.do("INSERT INTO orders VALUES (1), (1)")
    job = erp.job(tree(tmp_path, INDEX))
    with pytest.raises(MigrationFailed, match="could not create unique index") as failed:
        Migration(job, erp.database).run()
    assert failed.value.state == 'altered, at a, but + index public."i x"'
    assert schema(erp).invalid == ('public."i x"',)
    erp.do("TRUNCATE orders")
    done = Migration(job, erp.database).run()
    assert (done.state.kind, done.schema.invalid) == ("target", ())
    assert "invalid" not in done.schema.objects['index public."i x"']


def test_a_finished_index_without_its_revision_is_built_again(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    job = erp.job(tree(tmp_path, INDEX))
    erp.do('CREATE UNIQUE INDEX "i x" ON orders (id)')
    assert Migration(job, erp.database).run().state.kind == "target"


def test_an_index_that_was_there_before_is_left_alone(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    erp.do('CREATE UNIQUE INDEX "i x" ON orders (id)')
    with pytest.raises(MigrationFailed, match="already exists") as failed:
        Migration(erp.job(tree(tmp_path, INDEX)), erp.database).run()
    assert failed.value.state == "old, at a"


def test_half_a_mixed_revision_is_declared_and_not_repeated(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    erp.do("INSERT INTO orders VALUES (1), (1)")
    body = sql("ALTER TABLE orders ADD note text") + "\n"
    body += concurrently("CREATE UNIQUE INDEX CONCURRENTLY i ON orders (id)")
    job = erp.job(tree(tmp_path, FIRST | {"b": revision("b", "a", body)}))
    with pytest.raises(MigrationFailed) as failed:
        Migration(job, erp.database).run()
    assert failed.value.state == "altered, at a, but + column public.orders.note, + index public.i"
    with pytest.raises(MigrationRefused, match="undo it by hand") as refused:
        Migration(job, erp.database).run()
    assert refused.value.state == "altered, at a, but + column public.orders.note"


# -- secrets -------------------------------------------------------------------------------------------------


def test_the_password_is_nowhere(erp: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    at_a(erp, tmp_path)
    password = erp.database.password
    leaky = f"""
import os, sys
secret = open(os.environ["PGPASSFILE"]).read().strip().rsplit(":", 1)[1]
print(secret)
print(secret, file=sys.stderr)
print(op.get_bind().engine.url.render_as_string(hide_password=False), file=sys.stderr, flush=True)
{sql("SELECT pg_sleep(1)")}
raise ValueError(secret)
"""
    job = erp.job(tree(tmp_path, FIRST | {"b": revision("b", "a", leaky)}))
    shown: list[bytes] = []

    def look(_progress: Progress) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            for file in ("cmdline", "environ"):
                try:
                    shown.append((process / file).read_bytes())
                except OSError:
                    continue

    with pytest.raises(MigrationFailed, match="ValueError") as failed:
        Migration(job, erp.database, report=look).run()
    assert shown
    assert not any(password.encode() in one for one in shown)
    assert password not in str(failed.value)
    assert password not in repr(failed.value.__dict__)
    assert password not in repr(job)
    assert "***" in caplog.text
    assert password not in caplog.text


# -- the demo ERP --------------------------------------------------------------------------------------------


def test_the_demo_erp_migrates_with_its_own_image(erp: World) -> None:
    from include.sandbox.erp.build import build_folder
    from include.sandbox.erp.versions import VERSIONS

    app = build_folder(VERSIONS["3.0.0"]) / "app"
    given = Tree(
        app,
        (sys.executable, "-I", "-S"),
        search_path=(app, app / "lib"),
        script_location=str(app / "erp" / "migrations"),
    )
    done = Migration(erp.job(given), erp.database).run()
    assert done.state.revisions == {"0003_delivery_date"}
    with psycopg.connect(erp.admin) as opened:
        assert opened.execute("SELECT count(*) FROM articles").fetchone() == (12,)
