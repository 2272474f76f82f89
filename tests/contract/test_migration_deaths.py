"""Migrations that are killed, stopped or fail half-way: no backend is left, a retry converges."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from include.errors import MigrationFailed, MigrationInterrupted, MigrationRefused
from include.migration.apply import Migration
from include.migration.job import Job
from include.sandbox.postgres import Postgres
from tests.contract.migrations import (
    FIRST,
    INDEX,
    LINE,
    QUICK,
    World,
    at_a,
    contents,
    reached,
    schema,
    slow,
    world,
)
from tests.contract.trees import concurrently, revision, sql, tree

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def erp(server: Postgres) -> World:
    return world(server, 'erp "Größe" 1')


def fill(given: World) -> None:
    """Rows in more than one schema, of which none may get lost."""
    given.do(
        'CREATE SCHEMA "Lager Ä"',
        'CREATE TABLE "Lager Ä".stock (article text, pieces int)',
        """INSERT INTO "Lager Ä".stock SELECT 'Größe ' || i, i FROM generate_series(1, 100) i""",
        "INSERT INTO orders SELECT generate_series(1, 500)",
    )


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
    return subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)})


def child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0


@pytest.mark.parametrize("victim", ["task", "runner", "both"])
def test_sigkill_leaves_no_backend_and_a_retry_converges(erp: World, tmp_path: Path, victim: str) -> None:
    at_a(erp, tmp_path)
    fill(erp)
    before = contents(erp)
    job = erp.job(slow(tmp_path))
    task = started(job, erp, tmp_path)
    erp.until("it sleeps", lambda: any("pg_sleep" in one[3] for one in erp.backends()))
    runner = child_of(task.pid)
    for pid in {"task": [task.pid], "runner": [runner], "both": [task.pid, runner]}[victim]:
        os.kill(pid, signal.SIGKILL)
    erp.until("the backend is gone", lambda: not erp.backends(), seconds=5)
    task.wait(20)
    erp.until("the runner is gone", lambda: not Path(f"/proc/{runner}").exists(), seconds=5)
    if victim != "both":  # whoever is left takes the password's file away
        assert list(tmp_path.rglob("pgpass")) == []
    assert (erp.revisions(), "column public.orders.note" in schema(erp).objects) == ({"a"}, False)
    assert contents(erp) == before
    slow(tmp_path, 0)
    assert Migration(job, erp.database).run().state.kind == "target"
    assert contents(erp, like=before) == before


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
    fill(erp)
    before = contents(erp)
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
        assert contents(erp, like=before) == before
        if point in ("index building", "index late"):
            assert schema(erp).invalid == (("public.i",) if point == "index building" else ())
            assert "index public.i" in schema(erp).objects
    (tmp_path / "stop").write_text("")
    done = Migration(job, erp.database).run()
    assert (done.state.revisions, done.schema.invalid) == ({"d"}, ())
    assert "index public.i" in done.schema.objects
    assert "table public.t" not in done.schema.objects
    assert contents(erp) == before


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
        with pytest.raises(MigrationInterrupted) as silent:
            migration.run()
        assert silent.value.retryable
        assert silent.value.state == "unknown, it gave no answer"
        postgres.start()
        slow(tmp_path, 0)
        given.database = replace(given.database, port=postgres.port)
        assert Migration(job, given.database).run().state.kind == "target"
    finally:
        postgres.remove()


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


# -- outside of a transaction --------------------------------------------------------------------------------


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
