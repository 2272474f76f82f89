"""What works with the database in processes of its own: killed at each step, two at once, under odd names.

After a kill the state is declared, a retry converges, and nothing is left: no process, no backend, no database.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from include.backup.dump import Wanted, take_backup
from include.ledger.store import Ledger
from include.migration import squawk
from include.sandbox.postgres import SUPERUSER, Postgres
from include.sandbox.postgres_roles import create_role
from include.steps.database.confirm import confirm
from include.steps.database.entries import TRIED_OUT, WAY_BACK_STATED
from include.steps.schema_course import (
    LEFT_OLD,
    MIGRATED,
    MIGRATION_INTENDED,
    REHEARSED,
    RESTORED,
    TAKEN_BACK,
    WAY_BACK_INTENDED,
)
from include.steps.schema_proof import schema_proof
from tests.contract.deaths import Deaths, Work, answered, new_ledger
from tests.contract.migrations import contents, schema
from tests.contract.places import Place, generated
from tests.contract.trees import concurrently, revision, sql
from tests.tiers import further

# Whoever is killed when a revision begins is gone before it does anything.
SLEEP = 'op.execute("SELECT pg_sleep(0.5)")\n'
SUITE = """
import psycopg
with psycopg.connect() as connection:
    connection.execute("INSERT INTO orders (number) VALUES (100)")
    connection.execute("SELECT pg_sleep(0.6)")
print("an order was placed")
"""
TREE = {
    "a": revision(
        "a",
        None,
        sql("CREATE SCHEMA lager")
        + "\n"
        + sql("CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number int)")
        + "\n"
        + sql("CREATE TABLE lager.stock (article text PRIMARY KEY, pieces int)")
        + "\n"
        + sql("CREATE TABLE log (what text)"),
    ),
    "b": revision(
        "b",
        "a",
        SLEEP + sql("ALTER TABLE orders ADD note text") + "\n" + sql("INSERT INTO log VALUES ('b up')"),
        SLEEP + sql("ALTER TABLE orders DROP note") + "\n" + sql("INSERT INTO log VALUES ('b down')"),
    ),
    "c": revision(
        "c",
        "b",
        concurrently("SELECT pg_sleep(0.5)", "CREATE INDEX CONCURRENTLY by_number ON orders (number)"),
        concurrently("SELECT pg_sleep(0.5)", "DROP INDEX CONCURRENTLY IF EXISTS by_number"),
    ),
    "d": revision(
        "d",
        "c",
        SLEEP + sql("CREATE TABLE notes (id int)") + "\n" + sql("INSERT INTO log VALUES ('d up')"),
        SLEEP + sql("DROP TABLE notes") + "\n" + sql("INSERT INTO log VALUES ('d down')"),
    ),
}
ROWS = (
    "INSERT INTO orders (number) SELECT i FROM generate_series(1, 200) i",
    "INSERT INTO lager.stock SELECT 'Größe ' || i, i FROM generate_series(1, 50) i",
)


# Each kill costs seconds: of a step's many moments `make test` takes the first, the middle and the last one.
killed_at_moments = pytest.mark.parametrize("world", ["a few", *further("every one")], indirect=True)


@dataclass(frozen=True)
class World:
    """A place with rows in more than one schema, and what starts and kills its processes.

    :param every: processes are killed at each moment that a test names, instead of at a few of them
    """

    place: Place
    deaths: Deaths
    every: bool = True

    def log(self) -> list[str]:
        return [what for (what,) in self.place.erp.ask("SELECT what FROM public.log ORDER BY what")]

    def confirm(self, digest: str) -> None:
        run = self.deaths.work.run
        said = {"digest": digest, "by": "anna", "reason": "drill"}
        confirm(self.place.ledger, run, said, at=datetime.now(UTC))

    def each_killed(self, step: str, *points: str) -> None:
        """Kill one process after the other, each later; every second one with all its process group."""
        chosen = points if self.every else (points[0], points[len(points) // 2], points[-1])
        for number, point in enumerate(dict.fromkeys(chosen)):
            self.deaths.killed(step, point, group=number % 2 == 1)


@pytest.fixture
def world(server: Postgres, tmp_path: Path, request: pytest.FixtureRequest) -> World:
    return replace(a_world(server, tmp_path), every=getattr(request, "param", "") != "a few")


def a_world(server: Postgres, tmp_path: Path, **named: Any) -> World:
    suite = tmp_path / "suite.py"
    suite.write_text(SUITE)
    old_version = {"program": [sys.executable, str(suite)]}
    place = generated(server, tmp_path, TREE, rehearsal={"old_version": old_version}, **named)
    place.erp.do(*ROWS)
    url = new_ledger(server)
    place.ledger = Ledger(url)
    work = Work(place.run, place.site, url, tmp_path / "cluster.json")
    return World(place, Deaths(work, tmp_path, place.erp.admin))


@killed_at_moments
def test_a_rehearsal(world: World) -> None:
    place, deaths = world.place, world.deaths
    databases, before = place.databases(), contents(place.erp)
    place.prepare_rehearsal()
    world.each_killed(
        "rehearse",
        "statement CREATE DATABASE",
        "statement COMMENT ON",
        "pg_restore at work",
        "pg_restore has ended",
        "statement ANALYZE",
        "begins up to b",
        "ran up to c",
        "old version at work",
        "begins down from d",
        "begins down from c",
        f"before {TRIED_OUT}",
        f"after {TRIED_OUT}",
    )
    told = deaths.done("rehearse")
    assert told["old_version"]["proven"], told
    assert told["way_back"]["proven"], told
    assert (place.count(TRIED_OUT), place.count(REHEARSED)) == (1, 1)
    assert (place.databases(), contents(place.erp)) == (databases, before)
    assert place.erp.revisions() == {"a"}


@killed_at_moments
def test_a_scratch_restore(world: World) -> None:
    place, deaths = world.place, world.deaths
    databases, before = place.databases(), contents(place.erp)
    workshop = place.site.workshop
    take_backup(place.site.database, workshop.store, workshop.clients, Wanted("one"))
    world.each_killed(
        "scratch restore",
        "statement CREATE DATABASE",
        "statement COMMENT ON",
        "pg_restore at work",
        "pg_restore has ended",
        "statement ANALYZE",
    )
    assert deaths.done("scratch restore") == ["VERIFIED", "restore"]
    assert (place.databases(), contents(place.erp)) == (databases, before)


@killed_at_moments
def test_a_migration_its_state_and_its_way_back(world: World) -> None:
    place, deaths = world.place, world.deaths
    databases, before, old = place.databases(), contents(place.erp), schema(place.erp)
    place.prepare_rehearsal()
    assert deaths.done("rehearse")["old_version"]["proven"]
    place.decide()
    place.secure()

    deaths.killed("migrate", f"before {MIGRATION_INTENDED}")
    deaths.killed("migrate", f"after {MIGRATION_INTENDED}")
    assert schema_proof(place.run, place.ledger) == "unproven", "it may have begun"
    world.each_killed(
        "migrate", "begins up to b", "begins up to c", "ran up to c", "ran up to d", f"before {MIGRATED}"
    )
    assert deaths.done("migrate")["state"] == "target"
    assert (place.count(MIGRATION_INTENDED), place.count(MIGRATED), place.count(LEFT_OLD)) == (1, 1, 0)
    assert world.log() == ["b up", "d up"]
    assert contents(place.erp, like=before) == before
    new = schema(place.erp)

    world.each_killed("state the way back", f"before {WAY_BACK_STATED}", f"after {WAY_BACK_STATED}")
    world.confirm(deaths.done("state the way back")["digest"])
    assert place.count(WAY_BACK_STATED) == 1
    deaths.killed("take back", f"before {WAY_BACK_INTENDED}")
    assert schema(place.erp) == new
    world.each_killed(
        "take back",
        f"after {WAY_BACK_INTENDED}",
        "begins down from d",
        "ran down from d",
        "begins down from c",
        "ran down from c",
        "begins down from b",
        f"before {TAKEN_BACK}",
        f"after {TAKEN_BACK}",
    )
    assert deaths.done("take back")["needed"] is False
    assert (place.count(WAY_BACK_INTENDED), place.count(TAKEN_BACK)) == (1, 1)
    assert world.log() == ["b down", "b up", "d down", "d up"]
    assert (place.erp.revisions(), schema(place.erp).fingerprint) == ({"a"}, old.fingerprint)
    assert (place.databases(), contents(place.erp, like=before)) == (databases, before)


def test_a_state_between_and_a_way_back_from_it(world: World) -> None:
    place, deaths = world.place, world.deaths
    databases, before, old = place.databases(), contents(place.erp), schema(place.erp)
    place.prepare_rehearsal()
    assert deaths.done("rehearse")["old_version"]["proven"]
    place.decide()
    place.secure()
    deaths.killed("migrate", "begins up to d")
    assert place.erp.revisions() == {"c"}
    world.each_killed("state the way back", f"before {WAY_BACK_STATED}")
    world.confirm(deaths.done("state the way back")["digest"])
    deaths.killed("take back", "ran down from c", group=True)
    # Somebody asks again what there is to lose, half-way down.
    deaths.killed("state the way back", f"before {WAY_BACK_STATED}")
    told = deaths.done("state the way back")
    assert told["needed"], told
    world.confirm(told["digest"])
    told = deaths.done("take back")
    assert told.get("state") == "back", told
    assert (place.erp.revisions(), schema(place.erp).fingerprint) == ({"a"}, old.fingerprint)
    assert (place.databases(), contents(place.erp, like=before)) == (databases, before)


@killed_at_moments
def test_a_full_restore(world: World, tmp_path: Path) -> None:
    place = world.place
    databases, before, old = place.databases(), contents(place.erp), schema(place.erp)
    place.prepare_rehearsal()
    assert world.deaths.done("rehearse")["old_version"]["proven"]
    place.decide()
    place.secure()
    assert world.deaths.done("migrate")["state"] == "target"
    place.erp.do("DELETE FROM orders WHERE number <= 20")

    run = replace(place.run, phase="rollback", run_id="rb1")
    deaths = replace(world.deaths, work=replace(world.deaths.work, run=run))
    world = replace(world, deaths=deaths)
    world.each_killed("state the restore", "before restore.stated", "after restore.stated")
    world.confirm(deaths.done("state the restore")["digest"])
    world.each_killed("stop", "before restore.stopped", "after restore.stopped", "after scaling blue")
    assert deaths.done("stop")["sizes"] == {"blue": 2, "green": 3}
    assert (tmp_path / "cluster.json").read_text() == '{"blue": 0, "green": 0}'
    world.each_killed(
        "restore",
        "statement CREATE DATABASE",
        "pg_restore at work",
        "pg_restore has ended",
        "statement ALTER DATABASE",
        f"before {RESTORED}",
    )
    assert place.count(RESTORED) == 0
    # Whoever cleans up after it finds out that it is done, and leaves the new version down.
    deaths.killed("resume", f"before {RESTORED}")
    deaths.done("resume")
    done = deaths.done("restore")
    assert (done["by"], place.erp.revisions()) == ("anna", {"a"})
    assert (tmp_path / "cluster.json").read_text() == '{"blue": 0, "green": 0}'
    assert schema(place.erp).fingerprint == old.fingerprint
    assert contents(place.erp, like=before) == before
    assert place.databases() == databases | {done["kept"]}


@pytest.mark.exhaustive
def test_a_full_restore_that_nobody_goes_on_with(world: World, tmp_path: Path) -> None:
    place = world.place
    place.prepare_rehearsal()
    assert world.deaths.done("rehearse")["old_version"]["proven"]
    place.decide()
    place.secure()
    assert world.deaths.done("migrate")["state"] == "target"
    databases, before, new = place.databases(), contents(place.erp), schema(place.erp)

    run = replace(place.run, phase="rollback", run_id="rb1")
    deaths = replace(world.deaths, work=replace(world.deaths.work, run=run))
    world = replace(world, deaths=deaths)
    world.confirm(deaths.done("state the restore")["digest"])
    deaths.done("stop")
    deaths.killed("restore", "pg_restore at work", group=True)
    assert place.databases() != databases
    world.each_killed("resume", "after scaling blue", "before restore.resumed", "after restore.resumed")
    deaths.done("resume")
    assert (tmp_path / "cluster.json").read_text() == '{"blue": 2, "green": 3}'
    assert (place.databases(), contents(place.erp), schema(place.erp)) == (databases, before, new)


# -- two at once, odd names, secrets -------------------------------------------------------------------------


def test_two_runs_at_once_are_one_migration(world: World) -> None:
    place, one = world.place, world.deaths
    databases, before = place.databases(), contents(place.erp)
    second = replace(place, run=replace(place.run, run_id="r2"))
    folder = one.folder / "r2"
    folder.mkdir()
    other = replace(one, work=replace(one.work, run=second.run), folder=folder)

    for tried, _ in both(one, other, "before the gate"):
        assert tried["old_version"]["proven"], tried
    assert (place.databases(), contents(place.erp)) == (databases, before)
    place.decide()
    second.decide()
    told = [answer for answer, _ in both(one, other, "behind the gate")]
    done = [answer for answer in told if "error" not in answer]
    refused = [answer["error"] for answer in told if "error" in answer]
    assert done, told
    assert set(refused) <= {"MigrationBusy", "MigrationRefused"}, told
    assert place.erp.revisions() == {"d"}
    assert world.log() == ["b up", "d up"], "each revision ran once"
    assert (place.databases(), contents(place.erp, like=before)) == (databases, before)
    again = [answer for answer, _ in both(one, other, "behind the gate")]
    assert {answer.get("error", "MigrationRefused") for answer in again} == {"MigrationRefused"}
    assert world.log() == ["b up", "d up"]


def both(one: Deaths, other: Deaths, step: str) -> list[tuple[Any, list[str]]]:
    """What two processes return that do the same step at once."""
    return [answered(process) for process in [one.start(step), other.start(step)]]


@pytest.mark.exhaustive
def test_odd_names_of_database_and_role(server: Postgres, tmp_path: Path) -> None:
    owner = """Rolle 'ä' "ö" 100%"""
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as opened:
        create_role(opened, owner, server.password(owner))
    world = a_world(server, tmp_path, name="""erp 'Größe' "1" \\ =%s""", owner=owner)
    place, deaths = world.place, world.deaths
    databases, before = place.databases(), contents(place.erp)
    tried = deaths.done("before the gate")
    assert (tried["old_version"]["proven"], tried["way_back"]["proven"]) == (True, True), tried
    place.decide()
    deaths.killed("behind the gate", "begins up to c")
    assert deaths.done("behind the gate")["revisions"] == ["d"]
    world.confirm(deaths.done("state the way back")["digest"])
    assert deaths.done("take back")["state"] == "back"
    assert place.erp.revisions() == {"a"}
    assert (place.databases(), contents(place.erp, like=before)) == (databases, before)


def below(pid: int) -> list[int]:
    """A process and all that it has started, quickly: some of them do not live long."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{one}/task").iterdir():
                found += [int(child) for child in (thread / "children").read_text().split()]
    return found


class Watching(threading.Thread):
    """Reads the arguments and the environment of everything that a process starts, while it runs."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.seen: dict[str, bytes] = {}

    def run(self) -> None:
        while Path(f"/proc/{self.pid}/cmdline").exists():
            for one in below(self.pid):
                for file in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        said = Path(f"/proc/{one}/{file}").read_bytes()
                        self.seen[f"{one} {file} {said[:300]!r}"] = said

    def named(self, *words: str) -> set[str]:
        """Which of them were seen among the arguments."""
        return {word for word in words for said in self.seen.values() if word.encode() in said}


def slow_linter(folder: Path) -> Path:
    """Squawk, that waits for a second before it begins: on a busy machine it comes and goes unseen."""
    program = squawk.find()
    assert program is not None, "squawk is a dependency"
    slow = folder / "squawk"
    slow.write_text(f'#!/bin/sh\nsleep 1\nexec "{program}" "$@"\n')
    slow.chmod(0o755)
    return slow


def test_no_process_shows_a_secret(world: World, tmp_path: Path) -> None:
    place, work = world.place, world.deaths.work
    deaths = replace(world.deaths, work=replace(work, site=replace(work.site, linter=slow_linter(tmp_path))))
    programs = ("pg_dump", "pg_restore", "squawk", "migration/runner/__main__.py", "suite.py")
    for step in ("before the gate", "behind the gate"):
        process = deaths.start(step)
        watching = Watching(process.pid)
        watching.start()
        told, _ = answered(process)
        watching.join(10)
        assert "error" not in told, told
        expected = set(programs) if step == "before the gate" else set(programs) - {"suite.py"}
        assert watching.named(*programs) == expected
        assert watching.named("PGPASSFILE=") == {"PGPASSFILE="}
        secrets = [place.erp.database.password, server_password(deaths.work.ledger)]
        shown = [said for said in watching.seen.values() if any(one.encode() in said for one in secrets)]
        assert shown == []
        if step == "before the gate":
            place.decide()


def server_password(url: str) -> str:
    found = make_url(url).password
    assert isinstance(found, str)
    return found
