"""A server that stops in the middle of its work, one whose disk is full, and one that is older than a backup."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from include.backup import copies
from include.backup.dump import find_backup
from include.backup.restore import restore, what_would_be_lost
from include.backup.store import Store
from include.backup.verify import verify
from include.database.clients import Running, running
from include.database.confirmation import LossConfirmation
from include.errors import (
    BackupDiffers,
    DatabaseError,
    MigrationFailed,
    RestoreRefused,
    StellwerkError,
)
from include.sandbox import postgres
from include.sandbox.postgres import Postgres
from include.sandbox.postgres_binaries import installed_postgres
from include.sandbox.processes import Process
from include.steps.database.apply import gave_up, migrate
from include.steps.database.backup import prove, take
from include.steps.database.confirm import confirm
from include.steps.database.full_restore import restore_fully, state_restore
from include.steps.database.look import look
from include.steps.database.rehearse import Trying, rehearse
from include.steps.schema_course import (
    LEFT_OLD,
    MIGRATED,
    RESTORED,
)
from tests.contract.migrations import contents
from tests.contract.places import Place, generated, old_version
from tests.contract.trees import revision, sql

COPIED = "CREATE TABLE copied AS SELECT * FROM orders"
TREE = {
    "a": revision(
        "a",
        None,
        sql("CREATE TABLE articles (id int)")
        + "\n"
        + sql(
            "CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, article_id int, quantity int, "
            "total_cents int, text text)"
        ),
    ),
    "b": revision("b", "a", sql(COPIED), sql("DROP TABLE copied")),
}
# Rows as they are written: nothing of them is compressed on the server, and nearly everything in an archive.
WIDE = (
    "INSERT INTO orders (article_id, quantity, total_cents, text) "
    "SELECT 1, 1, i, repeat('x', 1900) FROM generate_series(1, {}) i"
)
LARGEST = 17 * 1024 * 1024
"""Bytes of a file: more than one of the log that PostgreSQL writes ahead, less than the table."""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Postgres]:
    """A server that may be stopped."""
    server = Postgres(tmp_path / "postgres")
    server.start()
    yield server
    server.remove()


def ready(server: Postgres, folder: Path, *, rows: int = 20) -> Place:
    """A place with rows, surveyed, and with a backup for its rehearsal that is taken and not yet looked at."""
    place = generated(server, folder, TREE)
    place.erp.do(WIDE.format(rows))
    take(place.run, place.site, place.ledger, "rehearsal")
    return place


def rehearsed(place: Place) -> None:
    prove(place.run, place.site, place.ledger, "rehearsal")
    look(place.run, place.site, place.ledger)
    rehearse(place.run, place.site, place.ledger, Trying(old_version))
    place.decide()
    place.secure()


# -- a server that stops -------------------------------------------------------------------------------------

STOPS = pytest.mark.parametrize("by", [signal.SIGQUIT, signal.SIGKILL], ids=["immediate stop", "killed"])


class Fed:
    """What is handed to ``pg_restore``: something happens once, when it has got the first half."""

    def __init__(self, feed: Any, act: Callable[[], object]) -> None:
        self.feed, self.act = feed, act

    def write(self, chunk: bytes) -> int:
        half = len(chunk) // 2
        self.feed.write(chunk[:half])
        self.feed.flush()
        self.act()
        return half + int(self.feed.write(chunk[half:]))


@contextmanager
def while_restoring(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> Iterator[None]:
    @contextmanager
    def feeding(*given: Any, **more: Any) -> Iterator[Running]:
        with running(*given, **more) as program:
            yield replace(program, feed=Fed(program.feed, act))

    with monkeypatch.context() as patched:
        patched.setattr(copies, "running", feeding)
        yield


def interrupted(step: Callable[[], Any]) -> None:
    """The step fails with what is worth another try: nothing is known, nothing is wrong with what it was given."""
    with pytest.raises(DatabaseError) as failed:
        step()
    assert failed.value.retryable, failed.value


def up_again(server: Postgres) -> None:
    server.stop()
    server.start()


@STOPS
def test_a_server_that_stops_in_the_middle_of_backup_proof_and_restore(
    own: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: signal.Signals
) -> None:
    def stop() -> None:
        os.kill(own.pid, by)

    place = generated(own, tmp_path, TREE)
    place.erp.do(WIDE.format(4000))
    before, databases = contents(place.erp), place.databases()

    write = Store.write

    def stopped(store: Store, folder: str, name: str, chunks: Any, **more: Any) -> Any:
        def broken() -> Iterator[bytes]:
            for number, chunk in enumerate(chunks):
                if number == 0 and name.endswith(".dump"):
                    stop()
                yield chunk

        return write(store, folder, name, broken(), **more)

    with monkeypatch.context() as patched:
        patched.setattr("include.backup.dump.CHUNK_BYTES", 1024)
        patched.setattr(Store, "write", stopped)
        interrupted(lambda: take(place.run, place.site, place.ledger, "rehearsal"))
    up_again(own)
    assert take(place.run, place.site, place.ledger, "rehearsal")["backup"].endswith("-1")

    with while_restoring(monkeypatch, stop):
        interrupted(lambda: prove(place.run, place.site, place.ledger, "rehearsal"))
    up_again(own)
    assert prove(place.run, place.site, place.ledger, "rehearsal")["level"] == "restore"
    assert (place.databases(), contents(place.erp)) == (databases, before)

    look(place.run, place.site, place.ledger)
    with while_restoring(monkeypatch, stop):
        interrupted(lambda: rehearse(place.run, place.site, place.ledger, Trying(old_version)))
    up_again(own)
    rehearsed(place)
    migrate(place.run, place.site, place.ledger)
    assert (place.databases(), contents(place.erp, like=before)) == (databases, before)

    stated = state_restore(place.run, place.site, place.ledger)
    said = {"digest": stated["digest"], "by": "anna", "reason": "drill"}
    confirm(place.ledger, place.run, said, at=datetime.now(UTC))
    with while_restoring(monkeypatch, stop):
        interrupted(lambda: restore_fully(place.run, place.site, place.ledger))
    up_again(own)
    assert place.erp.revisions() == {"b"}, "users have what they had"
    done = restore_fully(place.run, place.site, place.ledger)
    assert (place.erp.revisions(), place.count(RESTORED)) == ({"a"}, 1)
    assert contents(place.erp) == before
    assert place.databases() == databases | {done["kept"]}


# -- a disk that is full -------------------------------------------------------------------------------------


# Whose account a server runs as may limit it, and nobody else without further rights.
LIMIT = """
import os, resource, sys
pid, uid, gid, size = map(int, sys.argv[1:])
if os.geteuid() == 0:
    os.setgid(gid)
    os.setuid(uid)
_, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
resource.prlimit(pid, resource.RLIMIT_FSIZE, (size if size else most, most))
"""


def limit(server: Postgres, size: int) -> None:
    """Bound the server's files; 0 for no bound.

    PostgreSQL is told by the kernel that it cannot make a file larger, as on a full disk, but with another number
    of error. A disk of its own that can be full would take root.
    """
    owner = Path(f"/proc/{server.pid}").stat()
    argv = [sys.executable, "-I", "-S", "-c", LIMIT, *map(str, (server.pid, owner.st_uid, owner.st_gid, size))]
    subprocess.run(argv, check=True, timeout=60)


@contextmanager
def disk_full(server: Postgres) -> Iterator[None]:
    """No file of the server's becomes larger than :data:`LARGEST`, for the sessions that begin meanwhile."""
    limit(server, LARGEST)
    try:
        yield
    finally:
        limit(server, 0)


def test_a_server_whose_disk_is_full_is_told_and_nothing_is_left(own: Postgres, tmp_path: Path) -> None:
    place = ready(own, tmp_path, rows=12000)
    before, databases = contents(place.erp), place.databases()

    def refused(step: Callable[[], Any], kind: type[StellwerkError]) -> StellwerkError:
        with disk_full(own), pytest.raises(kind, match="could not extend file") as failed:
            step()
        assert (place.databases(), contents(place.erp)) == (databases, before)
        assert place.erp.revisions() == {"a"}
        return failed.value

    said = refused(lambda: prove(place.run, place.site, place.ledger, "rehearsal"), BackupDiffers)
    assert "UNKNOWN" in str(said), "nothing is wrong with the backup"
    prove(place.run, place.site, place.ledger, "rehearsal")
    assert len(list(Path(place.site.store.root.path).iterdir())) == 1, "nor is another one taken"

    look(place.run, place.site, place.ledger)
    refused(lambda: rehearse(place.run, place.site, place.ledger, Trying(old_version)), DatabaseError)
    rehearse(place.run, place.site, place.ledger, Trying(old_version))
    place.decide()
    place.secure()

    failed = refused(lambda: migrate(place.run, place.site, place.ledger), MigrationFailed)
    assert isinstance(failed, MigrationFailed)
    assert failed.state == "old, at a"
    assert gave_up(place.run, place.site, place.ledger) == {"old": True, "revisions": ["a"]}
    assert migrate(place.run, place.site, place.ledger)["state"] == "target"
    assert (place.count(LEFT_OLD), place.count(MIGRATED)) == (1, 1)
    assert (place.databases(), contents(place.erp, like=before)) == (databases, before)


# -- an older server -----------------------------------------------------------------------------------------


class Older(Postgres):
    """The oldest server that the wheel brings."""

    def _initialise(self, binaries: Path, data: Path) -> None:
        file = data.parent / "superuser-password"
        file.write_text(self.password(postgres.SUPERUSER))
        argv = [str(binaries / "initdb"), "-D", str(data), "-U", postgres.SUPERUSER, f"--pwfile={file}"]
        argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        with Process("initdb", self._as_account(argv), cwd=data.parent, log=self._log) as process:
            assert process.wait(60) == 0, process.log_tail()


def test_an_older_server_is_given_no_backup_of_a_newer_one(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ready(server, tmp_path)
    backup = take(place.run, place.site, place.ledger, "rehearsal")["backup"]
    monkeypatch.setattr(postgres, "installed_postgres", lambda: installed_postgres().with_name("pginstall"))
    older = Older(tmp_path / "older")
    older.start()
    try:
        there = generated(older, tmp_path / "there", TREE)
        there.erp.do(WIDE.format(3))
        assert there.erp.ask("SELECT current_setting('server_version_num')::int < 180000") == [(True,)]
        before, databases = contents(there.erp), there.databases()
        workshop, now = place.site.workshop, datetime.now(UTC)
        manifest = find_backup(workshop.store, backup)
        with pytest.raises(RestoreRefused, match="newer than the server's 16"):
            verify(backup, workshop, now=now, scratch=there.site.database)
        statement = what_would_be_lost(
            there.site.database, workshop, backup, made_at=now, accept_source=manifest.database
        )
        yes = LossConfirmation(digest=statement.digest, by="anna", reason="drill")
        with pytest.raises(RestoreRefused, match="newer than the server's 16"):
            restore(there.site.database, workshop, statement, yes)
        assert (there.databases(), contents(there.erp)) == (databases, before)
    finally:
        older.remove()
