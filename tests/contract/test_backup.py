"""Backups of a real PostgreSQL: all comes back, and what is half-written or damaged is never taken for one."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import psutil
import psycopg
import pytest
from psycopg import sql
from upath import UPath

from include.backup.copies import Workshop, drop
from include.backup.described import read_contents_of
from include.backup.dump import Wanted, find_backup, take_backup
from include.backup.expiry import expire, stored
from include.backup.manifest import BEGUN, MANIFEST, Format, Level, Manifest, Verification
from include.backup.retention import Retention
from include.backup.spool import Spool
from include.backup.store import Store
from include.backup.verify import last_verification, must_be_verified, scratch_name, verify
from include.database.clients import find_clients
from include.database.marks import marked, set_comment
from include.database.session import one_moment, session, try_lock
from include.errors import (
    ArchiveForeign,
    BackupBusy,
    BackupDiffers,
    BackupMissing,
    BackupStoreFailed,
    ClientFailed,
    ClientUnusable,
    DatabaseBusy,
    DatabaseRefused,
    DatabaseUnreachable,
    RestoreRefused,
    SpoolFull,
)
from include.sandbox.postgres import Postgres
from include.sandbox.postgres_binaries import installed_postgres
from tests.contract.databases import NAME, OWNER, OWNER_PASSWORD, World, child_environment, connect

KEEPER = "erp/production"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(server, tmp_path_factory.mktemp("world"))
    world.make()
    return world


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    """The database, read only by these tests, with an empty place for backups."""
    made.store = Store(UPath(str(tmp_path / "backups")))
    return made


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", 10**9)


def damage(world: World, manifest: Manifest, change: str) -> None:
    """Do to the archive what disks, networks and people do."""
    file = Path(world.store.root.path) / manifest.id / manifest.pieces[0].name
    content = file.read_bytes()
    middle = len(content) // 2
    file.write_bytes(
        {
            "empty": b"",
            "truncated": content[:middle],
            "corrupt": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        }[change]
    )


def as_written(world: World, manifest: Manifest, content: bytes) -> None:
    """Put other content in the archive's place, with a manifest that fits it."""
    piece = world.store.put(manifest.id, manifest.pieces[0].name, content)
    other = manifest.model_copy(update={"pieces": (piece,), "size": piece.size, "sha256": piece.sha256})
    world.store.put(manifest.id, MANIFEST, other.model_dump_json().encode())


# -- what a backup is ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Format))
def test_everything_comes_back(world: World, spool: Spool, kind: Format) -> None:
    manifest = take_backup(world.database, world.store, world.clients, Wanted("one", format=kind, spool=spool))
    workshop = replace(world.workshop, spool=spool)
    verification = verify("one", workshop, now=NOW, scratch=world.database)
    assert verification.sentences == ()
    assert (verification.verdict, verification.level) == ("VERIFIED", Level.RESTORE)
    assert verification.restore_seconds is not None
    assert verification.entries > 30
    must_be_verified(verification)
    assert verify("one", workshop, now=NOW).level == Level.CONTENTS
    assert last_verification(world.store, manifest) == verification, "the better proof is kept"
    assert scratch_name("one") not in world.names()
    assert list(spool.folder.glob("*")) == [] if kind is Format.DIRECTORY else not spool.folder.exists()


def test_the_manifest_says_what_was_backed_up(world: World) -> None:
    before = datetime.now(UTC)
    manifest = take_backup(world.database, world.store, world.clients, Wanted("one"))
    assert before <= manifest.started_at <= manifest.snapshot_at <= manifest.finished_at <= datetime.now(UTC)
    assert manifest.database.name == NAME
    assert manifest.database.system_identifier.isdigit()
    assert manifest.server_major == world.clients.major == int(manifest.client.split(".")[0])
    assert manifest.revisions == {
        "public.alembic_version": ("a1", "b2"),
        "lager.alembic_version_lager": ("l1",),
    }
    assert manifest.rows["public.kunde"] == 500
    assert manifest.rows['"Größe ""A"" b"."Tabelle mit ""Zeichen"""'] == 50
    assert manifest.rows["lager.bewegung_2025"] == 30
    assert manifest.rows["(large objects)"] == 2
    assert "lager.bewegung" not in manifest.rows
    file = Path(world.store.root.path) / "one" / manifest.pieces[0].name
    assert file.stat().st_size == manifest.size == manifest.pieces[0].size
    assert find_backup(world.store, "one") == manifest


def test_the_inventory_holds_every_kind_of_thing(world: World) -> None:
    contents = read_contents_of(
        world.store, take_backup(world.database, world.store, world.clients, Wanted("one"))
    )
    inventory, properties = contents.inventory, contents.properties
    kinds = {thing.kind for thing in inventory.things}
    assert kinds >= {"schema", "table", "partition", "view", "column", "constraint", "index", "sequence", "enum"}
    assert kinds >= {"domain", "function", "trigger", "privileges"}
    assert "lager.bewegung_2025" in inventory.names("partition")
    assert inventory.sequences["lager.rueckwaerts"] == -7
    assert (properties.owner, properties.comment) == (OWNER, "the ERP's")
    assert {setting.name for setting in properties.settings} == {
        "search_path",
        "work_mem",
        "statement_timeout",
    }


def test_rows_are_counted_in_the_snapshot_of_the_dump(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Store.write

    def write_and_insert(store: Store, folder: str, name: str, chunks, **more):  # type: ignore[no-untyped-def]
        if name != BEGUN:  # which is written before the snapshot
            with connect(world.database) as connection:
                connection.execute(
                    "INSERT INTO lager.bewegung VALUES ('2025-06-01', 'zu spät', 1) ON CONFLICT DO NOTHING"
                )
        return written(store, folder, name, chunks, **more)

    monkeypatch.setattr(Store, "write", write_and_insert)
    manifest = take_backup(world.database, world.store, world.clients, Wanted("one"))
    monkeypatch.undo()
    try:
        assert manifest.rows["lager.bewegung_2025"] == 30
        assert verify("one", world.workshop, now=NOW, scratch=world.database).verdict == "VERIFIED"
    finally:
        with connect(world.database) as connection:
            connection.execute("DELETE FROM lager.bewegung WHERE artikel = 'zu spät'")


def test_tables_that_were_not_counted_are_unknown_and_not_equal(world: World) -> None:
    take_backup(world.database, world.store, world.clients, Wanted("one", count_seconds=0))
    assert find_backup(world.store, "one").rows["public.kunde"] is None
    verification = verify("one", world.workshop, now=NOW, scratch=world.database)
    assert verification.verdict == "UNKNOWN"
    assert "public.kunde" in verification.sentences[0]
    with pytest.raises(BackupDiffers, match="UNKNOWN"):
        must_be_verified(verification)


def test_counting_a_copy_may_take_as_long_as_making_it_did(world: World) -> None:
    take_backup(world.database, world.store, world.clients, Wanted("one"))
    hasty = replace(world.workshop, count_seconds=0)
    assert verify("one", hasty, now=NOW, scratch=world.database).verdict == "VERIFIED"


def test_an_extension_may_come_back_in_another_version_and_that_is_told(world: World) -> None:
    with connect(world.admin(NAME)) as connection:
        connection.execute("CREATE EXTENSION vector")
        try:
            connection.execute("UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'vector'")
            manifest = take_backup(world.admin(NAME), world.store, world.clients, Wanted("one"))
            found = verify("one", world.workshop, now=NOW, scratch=world.admin(NAME))
        finally:
            connection.execute("DROP EXTENSION vector")
    assert (found.verdict, found.sentences, len(found.notes)) == ("VERIFIED", (), 1)
    assert re.fullmatch(r"extension vector is version [\d.]+, it was version 0\.0\.1: .*", found.notes[0])
    assert last_verification(world.store, manifest) == found


def test_the_same_backup_is_taken_once(world: World) -> None:
    first = take_backup(world.database, world.store, world.clients, Wanted("one"))
    assert take_backup(world.database, world.store, world.clients, Wanted("one")) == first
    with pytest.raises(ArchiveForeign, match="another database"):
        take_backup(world.admin(), world.store, world.clients, Wanted("one"))


def test_two_processes_never_write_the_same_backup(world: World) -> None:
    with session(world.database, application="other") as other:
        assert try_lock(other, "backup one")
        with pytest.raises(BackupBusy):
            take_backup(world.database, world.store, world.clients, Wanted("one"))
    assert world.store.files("one") == {}


# -- reading back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"), [("empty", "0 bytes"), ("truncated", "bytes"), ("corrupt", "is corrupt")]
)
def test_a_damaged_archive_is_found(world: World, change: str, told: str) -> None:
    manifest = take_backup(world.database, world.store, world.clients, Wanted("one"))
    damage(world, manifest, change)
    verification = verify("one", world.workshop, now=NOW)
    assert verification.verdict == "DAMAGED"
    assert told in verification.sentences[0]
    with pytest.raises(BackupDiffers):
        must_be_verified(verification)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "an empty file"),
        (b"\x1f\x8b\x08rest", "a gzip file"),
        (b"--\n-- PostgreSQL database dump\n", "an SQL script"),
        (b"PGDMP\x01\x10\x00 no more than the beginning", "pg_restore cannot read"),
    ],
)
def test_what_is_no_archive_is_told_even_when_its_checksum_fits(world: World, content: bytes, told: str) -> None:
    manifest = take_backup(world.database, world.store, world.clients, Wanted("one"))
    as_written(world, manifest, content)
    verification = verify("one", world.workshop, now=NOW, scratch=world.database)
    assert (verification.verdict, len(verification.sentences)) == ("DAMAGED", 1)
    assert told in verification.sentences[0]


def test_the_archive_of_another_database_is_told_even_when_its_checksum_fits(world: World) -> None:
    other = take_backup(world.admin(), world.store, world.clients, Wanted("other"))
    manifest = take_backup(world.database, world.store, world.clients, Wanted("one"))
    as_written(world, manifest, b"".join(world.store.read("other", other.pieces[0])))
    verification = verify("one", world.workshop, now=NOW, scratch=world.database)
    assert verification.verdict == "DAMAGED"
    assert "another database" in verification.sentences[0]


def test_an_archive_in_which_a_table_is_missing_is_told(world: World, tmp_path: Path) -> None:
    manifest = take_backup(world.database, world.store, world.clients, Wanted("one"))
    file = tmp_path / "partial.dump"
    argv = [world.clients.path("pg_dump"), "-Fc", "-T", "public.kunde", f"--file={file}"]
    parameters = {"PGHOST": "127.0.0.1", "PGPORT": str(world.server.port), "PGUSER": OWNER, "PGDATABASE": NAME}
    subprocess.run(argv, env={**parameters, "PGPASSWORD": OWNER_PASSWORD}, check=True)
    as_written(world, manifest, file.read_bytes())
    told = verify("one", world.workshop, now=NOW, scratch=world.database).sentences
    assert "table public.kunde is not in the archive" in told
    assert "the rows of public.kunde are not in the archive" in told


def test_a_role_that_may_not_create_databases_is_told_before_anything_is_created(world: World) -> None:
    take_backup(world.database, world.store, world.clients, Wanted("one"))
    with connect(world.admin()) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} NOCREATEDB").format(sql.Identifier(OWNER)))
        try:
            with pytest.raises(RestoreRefused, match="may not create databases"):
                verify("one", world.workshop, now=NOW, scratch=world.database)
        finally:
            connection.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(OWNER)))


def test_a_restore_that_fails_says_nothing_about_the_backup_and_undoes_no_proof(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = take_backup(world.database, world.store, world.clients, Wanted("one"))

    def hindered(*_: object, **__: object) -> None:
        raise ClientFailed("pg_restore failed", seen="could not extend file: No space left on device")

    def looked() -> Verification:
        with monkeypatch.context() as patched:
            patched.setattr("include.backup.verify.make_copy", hindered)
            return verify("one", world.workshop, now=NOW, scratch=world.database)

    unknown = looked()
    assert (unknown.verdict, unknown.level) == ("UNKNOWN", Level.RESTORE)
    assert "No space left on device" in unknown.sentences[0]
    assert last_verification(world.store, manifest) == unknown
    with pytest.raises(BackupDiffers, match=r"UNKNOWN.*No space left.*verify it again"):
        must_be_verified(unknown)
    proof = verify("one", world.workshop, now=NOW, scratch=world.database)
    assert looked().verdict == "UNKNOWN"
    assert last_verification(world.store, manifest) == proof
    assert proof.verdict == "VERIFIED"
    damage(world, manifest, "corrupt")
    assert verify("one", world.workshop, now=NOW).verdict == "DAMAGED"
    found = last_verification(world.store, manifest)
    assert found is not None
    assert found.verdict == "DAMAGED"


def test_without_room_for_its_listing_nothing_is_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    take_backup(world.database, world.store, world.clients, Wanted("one"))
    with Path("/dev/full").open("r+b", buffering=0) as full, monkeypatch.context() as patched:
        patched.setattr("include.backup.reading.tempfile", SimpleNamespace(TemporaryFile=lambda: full))
        found = verify("one", world.workshop, now=NOW)
    assert (found.verdict, len(found.sentences)) == ("UNKNOWN", 1)
    assert "No space left on device" in found.sentences[0]


def test_older_client_programs_are_refused(world: World) -> None:
    old = find_clients(installed_postgres().with_name("pginstall") / "bin")
    assert old.major < world.clients.major
    with pytest.raises(ClientUnusable, match="older than the server"):
        take_backup(world.database, world.store, old, Wanted("one"))
    take_backup(world.database, world.store, world.clients, Wanted("one"))
    with pytest.raises(ClientUnusable, match="older than the backup"):
        verify("one", replace(world.workshop, clients=old), now=NOW)
    assert last_verification(world.store, find_backup(world.store, "one")) is None
    with pytest.raises(ClientUnusable):
        find_clients(Path("/nonexistent"))


# -- faults --------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_a_refusal_that_does_not_repeat_it(world: World) -> None:
    wrong = replace(world.database, password="wrong-password")
    with pytest.raises(DatabaseRefused) as refused:
        take_backup(wrong, world.store, world.clients, Wanted("one"))
    assert "wrong-password" not in str(refused.value)
    with pytest.raises(DatabaseRefused):
        take_backup(world.database.named("gibt es nicht"), world.store, world.clients, Wanted("one"))


def test_nobody_there(world: World) -> None:
    with pytest.raises(DatabaseUnreachable):
        take_backup(replace(world.database, port=1), world.store, world.clients, Wanted("one"))


def test_a_table_that_somebody_has_locked_is_waited_for_and_told(world: World) -> None:
    with psycopg.connect(**world.database.parameters()) as other:
        other.execute("LOCK TABLE public.kunde IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseBusy, match="lock"):
            take_backup(world.database, world.store, world.clients, Wanted("one", lock_wait_seconds=1))
    assert set(world.store.files("one")) == {BEGUN}


class Interrupted:
    """Does something once, when the archive's first bytes have been written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act) -> None:  # type: ignore[no-untyped-def]
        original = Store.write

        def write(store: Store, folder: str, name: str, chunks, **more):  # type: ignore[no-untyped-def]
            def interrupted() -> Iterator[bytes]:
                stream = iter(chunks)
                yield next(stream)
                if name.endswith(".dump"):
                    act()
                yield from stream

            return original(store, folder, name, interrupted(), **more)

        monkeypatch.setattr(Store, "write", write)


@pytest.fixture(scope="module")
def ballast(made: World) -> Iterator[None]:
    made.fill(8)
    yield
    with connect(made.database) as connection:
        connection.execute("DROP TABLE IF EXISTS public.ballast")


def pg_dumps() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child.name() == "pg_dump"]


def end_backends(world: World) -> None:
    with connect(world.admin()) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stellwerk backup'"
        )


@pytest.mark.usefixtures("ballast")
@pytest.mark.parametrize("how", ["server gone", "pg_dump killed", "disk full", "interrupted"])
def test_a_dump_that_breaks_off_leaves_no_archive_and_can_be_taken_again(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def act() -> None:
        if how == "server gone":
            end_backends(world)
        elif how == "pg_dump killed":
            pg_dumps()[0].send_signal(signal.SIGKILL)
        elif how == "disk full":
            raise OSError(errno.ENOSPC, "No space left on device")
        else:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        Interrupted(patched, act)
        expected = {
            "server gone": DatabaseUnreachable,
            "pg_dump killed": ClientFailed,
            "disk full": BackupStoreFailed,
            "interrupted": KeyboardInterrupt,
        }[how]
        with pytest.raises(expected):
            take_backup(world.database, world.store, world.clients, Wanted("one"))
    assert pg_dumps() == []
    assert set(world.store.files("one")) == {BEGUN}
    with pytest.raises(BackupMissing):
        find_backup(world.store, "one")
    take_backup(world.database, world.store, world.clients, Wanted("one"))
    assert verify("one", world.workshop, now=NOW).verdict == "VERIFIED"


@pytest.mark.usefixtures("ballast")
def test_a_full_disk_is_told(world: World) -> None:
    place = Path("/dev/full")
    if not place.exists():
        pytest.skip("no /dev/full here")
    folder = Path(world.store.root.path) / "one"
    folder.mkdir(parents=True)
    # The archive's name is made up; whatever it is called, it ends on the full device.
    original = Path.open

    def full(path: Path, *arguments, **more):  # type: ignore[no-untyped-def]
        return original(place if path.name.endswith(".dump.partial") else path, *arguments, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "open", full)
        with pytest.raises(BackupStoreFailed, match="No space left"):
            take_backup(world.database, world.store, world.clients, Wanted("one"))
    with pytest.raises(BackupMissing):
        find_backup(world.store, "one")


def test_a_store_that_refuses_is_told(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BackupStoreFailed):
        take_backup(world.database, Store(UPath(str(tmp_path / "file" / "below"))), world.clients, Wanted("one"))


@pytest.mark.usefixtures("ballast")
def test_the_bound_of_the_spool_holds(world: World, spool: Spool) -> None:
    small = Spool(spool.folder, 100_000)
    with pytest.raises(SpoolFull, match="too small"):
        take_backup(
            world.database, world.store, world.clients, Wanted("one", format=Format.DIRECTORY, spool=small)
        )
    assert list(spool.folder.iterdir()) == []
    take_backup(world.database, world.store, world.clients, Wanted("one", format=Format.DIRECTORY, spool=spool))
    with pytest.raises(SpoolFull):
        verify("one", replace(world.workshop, spool=small), now=NOW, scratch=world.database)
    assert scratch_name("one") not in world.names()


def test_what_a_killed_verification_has_left_goes_with_the_next_one(world: World) -> None:
    take_backup(world.database, world.store, world.clients, Wanted("one"))
    left, others = scratch_name("killed"), scratch_name("of another place")
    with session(world.database.named(world.workshop.maintenance), application="test") as administration:
        for name, beside in ((left, world.database.name), (others, "another")):
            administration.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            mark = hashlib.sha256(f"{name} {beside}".encode()).hexdigest()[:12]
            set_comment(administration, name, marked("", "restoring", mark))
    verify("one", world.workshop, now=NOW, scratch=world.database)
    assert left not in world.names()
    assert others in world.names()
    with session(world.database.named(world.workshop.maintenance), application="test") as administration:
        drop(administration, others)


CHILD = """
import os, signal, sys
from upath import UPath
from include.backup.dump import Wanted, take_backup
from include.backup.store import Store
from include.database.clients import find_clients
from include.database.connection import Database
from pathlib import Path
host, port, name, user, folder, clients, point = sys.argv[1:]
original = Store.write
def write(store, where, file, chunks, **more):
    kind = file.rpartition(".")[0] if file.endswith(".json") else "archive"
    def dying():
        for number, chunk in enumerate(chunks):
            yield chunk
            if point == f"{kind} {number}":
                os.kill(os.getpid(), signal.SIGKILL)
    if point == f"before {kind}":
        os.kill(os.getpid(), signal.SIGKILL)
    written = original(store, where, file, dying(), **more)
    if point == f"after {kind}":
        os.kill(os.getpid(), signal.SIGKILL)
    return written
Store.write = write
database = Database(host, int(port), name, user, sys.stdin.read())
take_backup(database, Store(UPath(folder)), find_clients(Path(clients)), Wanted("one"))
"""
POINTS = [
    *("before begun", "begun 0", "after begun"),
    *("before archive", "archive 0", "archive 20", "after archive"),
    *("before inventory", "inventory 0", "after inventory", "before manifest", "manifest 0", "after manifest"),
]


def child(world: World, point: str, name: str = NAME) -> subprocess.CompletedProcess[str]:
    database = world.database.named(name)
    arguments = [database.host, str(database.port), database.name, database.user, world.store.root.path]
    return subprocess.run(
        [sys.executable, "-c", CHILD, *arguments, str(world.clients.folder), point],
        input=database.password,
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.usefixtures("ballast")
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_process_leaves_no_backup_and_the_next_one_takes_it(world: World, point: str) -> None:
    assert child(world, point).returncode == -signal.SIGKILL
    if point == "after manifest":
        assert find_backup(world.store, "one").id == "one"
    else:
        with pytest.raises(BackupMissing):
            find_backup(world.store, "one")
    manifest = take_backup(world.database, world.store, world.clients, Wanted("one"))
    expected = {BEGUN, MANIFEST, manifest.inventory.name, manifest.pieces[0].name}
    assert set(world.store.files("one")) == expected
    assert verify("one", world.workshop, now=NOW).verdict == "VERIFIED"


@pytest.mark.usefixtures("ballast")
def test_pg_dump_and_its_session_end_with_a_killed_process(world: World) -> None:
    assert child(world, "archive 0").returncode == -signal.SIGKILL

    def busy() -> int:
        with connect(world.admin()) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stellwerk backup'"
            ).fetchone()
        assert row is not None
        return int(row[0])

    gone = threading.Event()
    for _ in range(100):
        if busy() == 0:
            break
        gone.wait(0.1)
    assert busy() == 0


# -- secrets and memory --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ballast")
def test_the_password_is_nowhere_to_be_seen(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[bytes] = []

    def look() -> None:
        for process in pg_dumps():
            seen.append(Path(f"/proc/{process.pid}/cmdline").read_bytes())
            seen.append(Path(f"/proc/{process.pid}/environ").read_bytes())

    Interrupted(monkeypatch, look)
    with caplog.at_level(logging.DEBUG):
        take_backup(world.database, world.store, world.clients, Wanted("one"))
    assert len(seen) == 2
    assert b"--snapshot=" in seen[0]
    assert b"PGPASSFILE=" in seen[1]
    seen += [Path(world.store.root.path, "one", file).read_bytes() for file in ("manifest.json", "inventory.json")]
    seen.append(caplog.text.encode())
    assert not any(OWNER_PASSWORD.encode() in text for text in seen)
    assert not any(b"SCRAM-SHA-256" in text for text in seen)


MEMORY = """
import json, resource, sys
from pathlib import Path
from datetime import UTC, datetime
from upath import UPath
from include.backup.copies import Workshop, drop
from include.backup.dump import Wanted, take_backup
from include.backup.store import Store
from include.backup.verify import verify
from include.database.clients import find_clients
from include.database.connection import Database
host, port, name, user, folder, clients = sys.argv[1:]
database = Database(host, int(port), name, user, sys.stdin.read())
store, clients = Store(UPath(folder)), find_clients(Path(clients))
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
manifest = take_backup(database, store, clients, Wanted("one"))
verdict = verify("one", Workshop(store, clients), now=datetime.now(UTC)).verdict
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"size": manifest.size, "kilobytes": peak - idle, "verdict": verdict}))
"""


def test_memory_does_not_grow_with_the_database(made: World, tmp_path: Path) -> None:
    measured = []
    for number, megabytes in enumerate((1, 60)):
        made.fill(megabytes)
        database = made.database
        arguments = [database.host, str(database.port), database.name, database.user, str(tmp_path / str(number))]
        answer = subprocess.run(
            [sys.executable, "-c", MEMORY, *arguments, str(made.clients.folder)],
            input=database.password,
            env=child_environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        measured.append(json.loads(answer.stdout))
    with connect(made.database) as connection:
        connection.execute("DROP TABLE IF EXISTS public.ballast")
    small, large = measured
    assert (small["verdict"], large["verdict"]) == ("VERIFIED", "VERIFIED")
    assert large["size"] - small["size"] > 50_000_000
    assert large["kilobytes"] < 64 * 1024
    assert large["kilobytes"] - small["kilobytes"] < 16 * 1024


# -- retention and other stores ------------------------------------------------------------------------------


def test_old_backups_go_and_the_newest_verified_stays(world: World, spool: Spool) -> None:
    for day, name in enumerate(("oldest", "verified", "newest")):
        taken = NOW + timedelta(days=day)
        wanted = Wanted(name, KEEPER, now=lambda taken=taken: taken)
        take_backup(world.database, world.store, world.clients, wanted)
    for name in ("oldest", "verified"):
        assert verify(name, world.workshop, now=NOW).verdict == "VERIFIED"
    later = NOW + timedelta(days=400)
    wanted = Wanted("left", KEEPER, format=Format.DIRECTORY, spool=Spool(spool.folder, 1))
    with pytest.raises(SpoolFull):
        take_backup(world.database, world.store, world.clients, wanted)
    os.utime(Path(world.store.root.path) / "left" / BEGUN, (0, 0))
    (Path(world.store.root.path) / "monthly").mkdir()
    (Path(world.store.root.path) / "monthly" / "20260101.dump").write_bytes(b"not ours")
    os.utime(Path(world.store.root.path) / "monthly" / "20260101.dump", (0, 0))
    fates = expire(world.store, Retention(newest=1), keeper=KEEPER, now=later)
    assert {fate.folder for fate in fates if not fate.kept} == {"oldest", "left"}
    assert world.store.folders() == ("monthly", "newest", "verified")
    assert [one.proof for one in stored(world.store, KEEPER) if one.ours] == ["UNKNOWN", "VERIFIED"]
    assert find_backup(world.store, "verified").id == "verified"


def test_a_verified_backup_that_was_damaged_later_protects_no_more(world: World) -> None:
    manifest = take_backup(world.database, world.store, world.clients, Wanted("one", KEEPER))
    assert verify("one", world.workshop, now=NOW).verdict == "VERIFIED"
    damage(world, manifest, "truncated")
    assert [one.proof for one in stored(world.store, KEEPER)] == ["DAMAGED"]


def test_backups_go_to_any_file_system(world: World) -> None:
    store = Store(UPath("memory://contract/backups"))
    try:
        manifest = take_backup(world.database, store, world.clients, Wanted("one"))
        verification = verify("one", Workshop(store, world.clients), now=NOW, scratch=world.database)
        assert verification.verdict == "VERIFIED"
        assert store.folders() == ("one",)
        assert expire(store, Retention(), keeper=KEEPER, now=NOW)[0].kept
        store.delete("one", store.files("one"))
        assert store.files("one") == {}
        assert manifest.size > 0
    finally:
        store.root.fs.rm("/contract", recursive=True)


def test_counting_ends_when_its_time_is_over(world: World) -> None:
    from include.database.counting import count_rows

    ticks = iter([0.0, 0.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0])
    with session(world.database, application="test") as connection, one_moment(connection):
        counts = count_rows(connection, seconds=50, clock=lambda: next(ticks))
    assert sum(count is not None for count in counts.values()) == 2
    assert counts["(large objects)"] == 2
