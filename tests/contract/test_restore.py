"""Restoring on a real PostgreSQL: beside the damaged database, then in its place, whatever is killed when."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql
from upath import UPath

from include.backup.copies import Workshop, make_copy, take_stock
from include.backup.dump import Wanted, take_backup
from include.backup.exchange import drain, exchange
from include.backup.loss import RestoreLoss
from include.backup.manifest import Format, Manifest, Piece
from include.backup.restore import restore, what_stands_in_the_way, what_would_be_lost
from include.backup.spool import Spool
from include.backup.store import Store
from include.backup.swap import names
from include.backup.unfinished import settle
from include.database.confirmation import LossConfirmation
from include.database.counting import count_rows
from include.database.facts import DatabaseIdentity
from include.database.inventory import compare
from include.database.marks import mark
from include.database.properties import read_properties
from include.database.session import Session, session, try_lock
from include.errors import (
    ArchiveForeign,
    ArchiveUnusable,
    BackupDiffers,
    BackupMissing,
    DatabaseBusy,
    RestoreBusy,
    RestoreRefused,
    RestoreUnconfirmed,
    StellwerkError,
)
from include.sandbox.postgres import SUPERUSER, Postgres
from tests.contract.databases import NAME, OWNER, READER, World, child_environment, connect


@pytest.fixture
def world(server: Postgres, tmp_path: Path) -> World:
    """The rich database, new, with a backup of it."""
    world = World(server, tmp_path)
    world.make()
    return world


@pytest.fixture
def manifest(world: World) -> Manifest:
    return take_backup(world.database, world.store, world.clients, Wanted("one"))


def damage(world: World) -> None:
    with connect(world.database) as connection:
        connection.execute("DELETE FROM public.kunde WHERE id > 400")
        connection.execute("INSERT INTO lager.bewegung VALUES ('2025-07-01', 'neu', 1), ('2025-07-02', 'neu', 1)")
        connection.execute('DROP TABLE "Größe ""A"" b"."Tabelle mit ""Zeichen"""')


def stated(world: World, **more: object) -> RestoreLoss:
    return what_would_be_lost(world.database, world.workshop, "one", made_at=datetime.now(UTC), **more)  # type: ignore[arg-type]


def yes(statement: RestoreLoss) -> LossConfirmation:
    return LossConfirmation(digest=statement.digest, by="anna", reason="the data are damaged")


def count(world: World, query: str, name: str = NAME) -> int:
    with connect(world.database.named(name)) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


# -- the way it goes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Format))
def test_the_backup_takes_the_place_of_the_damaged_database_which_is_kept(
    world: World, tmp_path: Path, kind: Format
) -> None:
    workshop = replace(world.workshop, spool=Spool(tmp_path / "spool", 10**9))
    take_backup(world.database, world.store, world.clients, Wanted("one", format=kind, spool=workshop.spool))
    with session(world.database, application="test") as connection:
        before = take_stock(world.database), read_properties(connection)
    damage(world)
    statement = stated(world)
    with psycopg.connect(**world.database.parameters()) as user:
        user.execute("SELECT count(*) FROM public.kunde")
        restored = restore(world.database, workshop, statement, yes(statement))
        with pytest.raises(errors.AdminShutdown):
            user.execute("SELECT 1")
    assert (restored.backup, restored.by, restored.kept) == ("one", "anna", names(statement).kept)
    with session(world.database, application="test") as connection:
        assert read_properties(connection) == before[1]
    assert compare(before[0], take_stock(world.database)).sentences == ()
    assert world.names() == sorted([NAME, restored.kept])
    with connect(world.admin()) as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(restored.kept))
        )
    assert count(world, "SELECT count(*) FROM public.kunde", restored.kept) == 400
    assert restore(world.database, workshop, statement, None).kept == restored.kept, "a second time: nothing to do"


@pytest.mark.usefixtures("manifest")
def test_it_may_take_longer_than_the_role_lets_a_session_be_idle(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(world.admin()) as connection:
        short = sql.SQL("ALTER ROLE {} SET idle_session_timeout TO '300ms'").format(sql.Identifier(OWNER))
        connection.execute(short)
        monkeypatch.setattr("include.backup.store.CHUNK_BYTES", 4096)
        read = Store.read

        def slowly(store: Store, folder: str, piece: Piece) -> Iterator[bytes]:
            for chunk in read(store, folder, piece):
                time.sleep(0.4)
                yield chunk

        monkeypatch.setattr(Store, "read", slowly)
        try:
            statement = stated(world)
            restore(world.database, world.workshop, statement, yes(statement))
        finally:
            connection.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(sql.Identifier(OWNER)))
    assert world.names() == sorted([NAME, names(statement).kept])


@pytest.mark.usefixtures("manifest")
def test_what_is_lost_is_stated_with_every_table(world: World) -> None:
    damage(world)
    statement = stated(world)
    told = " ".join(statement.sentences)
    assert statement.readable
    assert "public.kunde: at least 100 rows come back (400 now, 500 in the backup)." in told
    assert "lager.bewegung_2025: at least 2 rows are lost (32 now, 30 in the backup)." in told
    assert 'Tabelle mit ""Zeichen""": at least 50 rows come back (0 now, 50 in the backup).' in told
    assert "lager.bewegung_rest" not in told


def test_what_the_backup_does_not_know_is_confirmed_and_hinders_nothing(world: World) -> None:
    take_backup(world.database, world.store, world.clients, Wanted("one", count_seconds=0))
    statement = stated(world)
    assert "public.kunde: how many rows are lost is not known." in statement.sentences
    restore(world.database, world.workshop, statement, yes(statement))
    assert world.names() == sorted([NAME, names(statement).kept])


@pytest.mark.usefixtures("manifest")
def test_a_database_that_is_gone_is_restored_from_the_artefact_alone(world: World) -> None:
    with connect(world.admin()) as connection:
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(NAME)))
    statement = stated(world)
    assert statement.target_missing
    restored = restore(world.database, world.workshop, statement, yes(statement))
    assert restored.kept == ""
    assert world.names() == [NAME]
    assert count(world, "SELECT count(*) FROM public.kunde") == 500
    again = restore(world.database, world.workshop, statement, yes(statement))
    assert again == replace(restored, lost=statement), "a second time nothing is lost"


def test_a_backup_of_another_database_needs_to_be_named(world: World, manifest: Manifest) -> None:
    with connect(world.admin()) as connection:
        connection.execute(sql.SQL("CREATE DATABASE other OWNER {}").format(sql.Identifier(OWNER)))
    other = world.database.named("other")
    now = datetime.now(UTC)
    with pytest.raises(ArchiveForeign, match="another database"):
        what_would_be_lost(other, world.workshop, "one", made_at=now)
    wrong = DatabaseIdentity(system_identifier="1", name=NAME)
    with pytest.raises(ArchiveForeign):
        what_would_be_lost(other, world.workshop, "one", made_at=now, accept_source=wrong)
    statement = what_would_be_lost(other, world.workshop, "one", made_at=now, accept_source=manifest.database)
    assert any("another database" in sentence for sentence in statement.sentences)
    restore(other, world.workshop, statement, yes(statement))
    assert count(world, "SELECT count(*) FROM public.kunde", "other") == 500


# -- what is refused before anything is touched --------------------------------------------------------------


@pytest.fixture
def untouched(world: World, manifest: Manifest) -> Iterator[None]:
    """Whatever the test tries: afterwards the server has the same databases, and the target is as it was."""
    damage(world)
    before = world.names(), take_stock(world.database)
    yield
    assert (world.names(), take_stock(world.database)) == before
    assert manifest.id == "one"


@pytest.mark.usefixtures("untouched")
def test_nothing_happens_without_a_confirmation_of_this_very_statement(world: World) -> None:
    statement = stated(world)
    other = statement.model_copy(update={"made_at": statement.made_at + timedelta(seconds=1)})
    for confirmation in (None, yes(other), yes(statement).model_copy(update={"by": " "})):
        with pytest.raises(RestoreUnconfirmed):
            restore(world.database, world.workshop, statement, confirmation)
    later = datetime.now(UTC) + timedelta(hours=2)
    with pytest.raises(RestoreUnconfirmed, match="not older than an hour"):
        restore(world.database, world.workshop, statement, yes(statement), now=lambda: later)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("change", ["empty", "truncated", "corrupt", "foreign", "missing"])
def test_a_damaged_archive_is_refused(world: World, manifest: Manifest, change: str) -> None:
    statement = stated(world)
    file = Path(world.store.root.path) / "one" / manifest.pieces[0].name
    content = file.read_bytes()
    half = len(content) // 2
    changed = {
        "empty": b"",
        "truncated": content[:half],
        "corrupt": content[:half] + bytes([content[half] ^ 0xFF]) + content[half + 1 :],
        "foreign": b"\x1f\x8b".ljust(len(content)),
        "missing": None,
    }[change]
    file.unlink()
    if changed is not None:
        file.write_bytes(changed)
    with pytest.raises(ArchiveUnusable):
        restore(world.database, world.workshop, statement, yes(statement))


@pytest.mark.usefixtures("untouched")
def test_another_archive_under_the_same_name_is_refused(world: World) -> None:
    statement = stated(world)
    world.store.delete("one", world.store.files("one"))
    with pytest.raises(BackupMissing):
        restore(world.database, world.workshop, statement, yes(statement))
    take_backup(world.database, world.store, world.clients, Wanted("one"))
    with pytest.raises(RestoreRefused, match="not the one whose loss was stated"):
        restore(world.database, world.workshop, statement, yes(statement))


@pytest.mark.usefixtures("untouched")
def test_a_copy_that_could_not_be_compared_takes_nobodys_place(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = stated(world)

    def hasty(connection: Session, **more: Any) -> dict[str, int | None]:
        rows = count_rows(connection, **more)
        return rows if connection.info.dbname == NAME else {**rows, "public.kunde": None}

    monkeypatch.setattr("include.backup.copies.count_rows", hasty)
    with pytest.raises(BackupDiffers, match=r"public\.kunde.*count_seconds"):
        restore(world.database, world.workshop, statement, yes(statement))


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("take", "give", "told"),
    [
        ("ALTER ROLE {owner} NOCREATEDB", "ALTER ROLE {owner} CREATEDB", "may not create databases"),
        ("ALTER DATABASE {name} OWNER TO {reader}", "ALTER DATABASE {name} OWNER TO {owner}", "does not own"),
    ],
)
def test_a_role_that_lacks_a_right_is_refused(world: World, take: str, give: str, told: str) -> None:
    statement = stated(world)
    parts = {"owner": sql.Identifier(OWNER), "reader": sql.Identifier(READER), "name": sql.Identifier(NAME)}
    with connect(world.admin()) as connection:
        connection.execute(sql.SQL(take).format(**parts))  # type: ignore[arg-type]
        try:
            with pytest.raises(RestoreRefused, match=told):
                restore(world.database, world.workshop, statement, yes(statement))
        finally:
            connection.execute(sql.SQL(give).format(**parts))  # type: ignore[arg-type]


@pytest.mark.usefixtures("untouched")
def test_objects_of_a_role_that_one_may_not_act_as_are_refused(world: World) -> None:
    with connect(world.admin(NAME)) as connection:
        connection.execute("CREATE TABLE public.fremd (id int)")
        take_backup(world.admin(NAME), world.store, world.clients, Wanted("two"))
        connection.execute("DROP TABLE public.fremd")
    statement = what_would_be_lost(world.database, world.workshop, "two", made_at=datetime.now(UTC))
    with pytest.raises(RestoreRefused, match="may not create what belongs to postgres"):
        restore(world.database, world.workshop, statement, yes(statement))


@pytest.mark.usefixtures("untouched")
def test_a_session_that_cannot_be_ended_is_told_before(world: World) -> None:
    statement = stated(world)
    with connect(world.admin(NAME)), pytest.raises(RestoreRefused, match="may not disconnect postgres"):
        restore(world.database, world.workshop, statement, yes(statement))


@pytest.fixture
def two_phases(server: Postgres) -> Iterator[None]:
    def allow(number: int) -> None:
        with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER SYSTEM SET max_prepared_transactions = {}").format(number))
        server.stop()
        server.start()

    allow(1)
    yield
    allow(0)


@pytest.mark.usefixtures("two_phases", "untouched")
def test_a_forgotten_prepared_transaction_is_told_before(world: World, manifest: Manifest) -> None:
    statement = stated(world)
    with connect(world.database) as connection:
        connection.execute("BEGIN; DELETE FROM public.offen WHERE id < 0; PREPARE TRANSACTION 'forgotten'")
        try:
            (told,) = what_stands_in_the_way(world.database, world.workshop, manifest)
            assert "because of the prepared transaction 'forgotten' of Owner" in told
            with pytest.raises(RestoreRefused, match="forgotten"):
                restore(world.database, world.workshop, statement, yes(statement))
        finally:
            connection.execute("ROLLBACK PREPARED 'forgotten'")
    assert what_stands_in_the_way(world.database, world.workshop, manifest) == ()


def test_what_replicates_from_the_database_is_told_before(world: World, manifest: Manifest) -> None:
    admin = world.admin(NAME)
    replicating = psycopg.connect(**admin.parameters(), replication="database")
    with connect(world.admin()) as connection, replicating as other:
        (told,) = what_stands_in_the_way(admin, world.workshop, manifest)
        assert f"because of the walsender {other.info.backend_pid} of postgres" in told
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", (other.info.backend_pid,))
    assert what_stands_in_the_way(admin, world.workshop, manifest) == ()


@pytest.mark.usefixtures("manifest")
def test_roles_that_have_gone_since_the_backup_are_told_before(world: World) -> None:
    with connect(world.admin()) as connection:
        connection.execute("CREATE ROLE nightly; CREATE ROLE guest")
        for said in (
            "ALTER ROLE nightly IN DATABASE {} SET work_mem TO '1GB'",
            "GRANT CONNECT ON DATABASE {} TO guest",
        ):
            connection.execute(sql.SQL(said).format(sql.Identifier(NAME)))
        taken = take_backup(world.database, world.store, world.clients, Wanted("two"))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM guest").format(sql.Identifier(NAME)))
        connection.execute("DROP ROLE nightly, guest")
    told = what_stands_in_the_way(world.database, world.workshop, taken)
    assert told == tuple(f"the role {role} does not exist on the server" for role in ("guest", "nightly"))


@pytest.mark.usefixtures("manifest")
def test_settings_that_the_role_may_not_set_are_told_before(world: World) -> None:
    with connect(world.admin()) as connection:
        for said in (
            "ALTER ROLE {1} IN DATABASE {0} SET work_mem TO '4MB'",
            "ALTER DATABASE {0} SET log_duration TO on",
        ):
            connection.execute(sql.SQL(said).format(sql.Identifier(NAME), sql.Identifier(READER)))
    take_backup(world.database, world.store, world.clients, Wanted("two"))
    statement = what_would_be_lost(world.database, world.workshop, "two", made_at=datetime.now(UTC))
    with pytest.raises(RestoreRefused) as refused:
        restore(world.database, world.workshop, statement, yes(statement))
    assert f"may not set work_mem for the role {READER}" in refused.value.seen
    assert "may not set log_duration" in refused.value.seen
    assert world.names() == [NAME]


@pytest.mark.usefixtures("untouched")
def test_one_restore_at_a_time(world: World) -> None:
    statement = stated(world)
    with session(world.database.named("postgres"), application="other") as other:
        assert try_lock(other, f"restore {NAME}")
        with pytest.raises(RestoreBusy):
            restore(world.database, world.workshop, statement, yes(statement))


@pytest.mark.usefixtures("manifest")
def test_a_database_that_appears_or_goes_meanwhile_is_not_replaced(world: World) -> None:
    statement = stated(world)
    with connect(world.admin()) as connection:
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(NAME)))
        with pytest.raises(RestoreRefused, match="has gone"):
            restore(world.database, world.workshop, statement, yes(statement))
        statement = stated(world)
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(NAME), sql.Identifier(OWNER))
        )
    with pytest.raises(RestoreRefused, match="has appeared"):
        restore(world.database, world.workshop, statement, yes(statement))


# -- more than was confirmed ---------------------------------------------------------------------------------


def sell(world: World, number: int) -> None:
    with connect(world.database) as connection:
        for _ in range(number):
            connection.execute("INSERT INTO public.kunde (name) VALUES (gen_random_uuid()::text)")


@pytest.mark.usefixtures("manifest")
@pytest.mark.parametrize("when", ["since it was stated", "while it is copied", "until the last session has ended"])
def test_no_more_is_lost_than_was_confirmed_whoever_writes(world: World, when: str) -> None:
    sell(world, 2)
    statement, made = stated(world), 0

    def copied(*given: object, **more: object) -> object:
        nonlocal made
        made += 1
        if when == "while it is copied":
            sell(world, 500)
        return make_copy(*given, **more)  # type: ignore[arg-type]

    writer = psycopg.connect(**world.database.parameters())
    if when == "until the last session has ended":
        writer.execute("INSERT INTO public.kunde (name) SELECT 'spät ' || i FROM generate_series(1, 500) i")
    elif when == "since it was stated":
        sell(world, 500)

    def drained(*given: object, **more: object) -> None:
        if when == "until the last session has ended":
            writer.commit()
        drain(*given, **more)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("include.backup.restore.make_copy", copied)
        patched.setattr("include.backup.exchange.drain", drained)
        with pytest.raises(RestoreUnconfirmed, match="somebody has written to it") as refused:
            restore(world.database, world.workshop, statement, yes(statement))
    writer.close()
    assert "public.kunde: at least 502 rows are lost, 2 were confirmed" in refused.value.seen
    assert made == (0 if when == "since it was stated" else 1)
    assert count(world, "SELECT count(*) FROM public.kunde") == 1002, "users have what they had"
    again = stated(world)
    restored = restore(world.database, world.workshop, again, yes(again))
    assert count(world, "SELECT count(*) FROM public.kunde") == 500
    assert (restored.lost.tables, restored.lost.made_at > again.made_at) == (again.tables, True)


@pytest.mark.usefixtures("manifest")
def test_what_cannot_be_counted_is_restored_where_that_was_confirmed(world: World) -> None:
    statement = stated(world).model_copy(update={"readable": False, "tables": ()})
    sell(world, 3)
    later = statement.made_at + timedelta(minutes=6)
    restored = restore(world.database, world.workshop, statement, yes(statement), now=lambda: later)
    assert restored.lost == statement.model_copy(update={"made_at": later}), "minutes count until the exchange"
    assert count(world, "SELECT count(*) FROM public.kunde") == 500


# -- sessions, kills -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("manifest")
def test_users_who_come_back_at_once_do_not_hinder_it(world: World) -> None:
    statement, over = stated(world), threading.Event()

    def use() -> None:
        while not over.is_set():
            try:
                with connect(world.database) as connection:
                    connection.execute("SELECT pg_sleep(0.05)")
            except psycopg.Error:
                continue

    users = [threading.Thread(target=use) for _ in range(4)]
    for user in users:
        user.start()
    try:
        restored = restore(world.database, world.workshop, statement, yes(statement))
    finally:
        over.set()
        for user in users:
            user.join()
    assert world.names() == sorted([NAME, restored.kept])


@pytest.mark.usefixtures("manifest")
def test_when_the_exchange_fails_users_have_what_they_had(world: World) -> None:
    damage(world)
    statement = stated(world)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("include.backup.exchange.rename", _refuse)
        with pytest.raises(DatabaseBusy):
            restore(world.database, world.workshop, statement, yes(statement))
    assert count(world, "SELECT count(*) FROM public.kunde") == 400
    with session(world.database, application="test") as connection:
        assert read_properties(connection).comment == "the ERP's"
    restored = restore(world.database, world.workshop, statement, yes(statement))
    assert world.names() == sorted([NAME, restored.kept])


@pytest.mark.usefixtures("manifest")
def test_what_is_raised_after_the_exchange_takes_nothing_of_it_back(world: World) -> None:
    damage(world)
    statement = stated(world)

    def exchanged_and_killed(*given: object, **more: object) -> None:
        exchange(*given, **more)  # type: ignore[arg-type]
        raise DatabaseBusy("told to end")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("include.backup.exchange.exchange", exchanged_and_killed)
        with pytest.raises(DatabaseBusy, match="told to end"):
            restore(world.database, world.workshop, statement, yes(statement))
    restored = restore(world.database, world.workshop, statement, yes(statement))
    assert world.names() == sorted([NAME, restored.kept])
    assert count(world, "SELECT count(*) FROM public.kunde") == 500


def _refuse(*_: object, **__: object) -> None:
    raise DatabaseBusy("somebody is still there")


CHILD = """
import os, signal, sys
from pathlib import Path
from upath import UPath
import include.backup.copies as copies, include.backup.exchange as exchange, include.backup.restore as module
from include.backup.copies import Workshop
from include.backup.loss import RestoreLoss
from include.database.confirmation import LossConfirmation
from include.backup.store import Store
from include.database.clients import find_clients
from include.database.connection import Database
import psycopg
host, port, name, user, folder, clients, statement, confirmation, point = sys.argv[1:]
where, _, number = point.partition(" ")
seen = 0
def reached(place):
    global seen
    if place == where:
        seen += 1
        if seen == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
class Dying(psycopg.Connection):
    def execute(self, *arguments, **more):
        reached("statement")
        return super().execute(*arguments, **more)
psycopg.connect = Dying.connect
read = Store.read
def dying(store, *arguments):
    for chunk in read(store, *arguments):
        yield chunk
        reached("chunk")
Store.read = dying
database = Database(host, int(port), name, user, sys.stdin.read())
module.restore(
    database, Workshop(Store(UPath(folder)), find_clients(Path(clients))),
    RestoreLoss.model_validate_json(statement), LossConfirmation.model_validate_json(confirmation),
)
print(seen)
"""


def child(world: World, statement: RestoreLoss, point: str) -> subprocess.CompletedProcess[str]:
    database = world.database
    arguments = [database.host, str(database.port), database.name, database.user, world.store.root.path]
    said = [statement.model_dump_json(), yes(statement).model_dump_json()]
    return subprocess.run(
        [sys.executable, "-c", CHILD, *arguments, str(world.clients.folder), *said, point],
        input=database.password,
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.exhaustive
def test_killed_before_any_statement_of_its_own_it_converges(world: World, manifest: Manifest) -> None:
    """Kills the restore before one statement after the other, and goes on each time where that one ended."""
    damage(world)
    statement = stated(world)
    whole = child(world, statement, "statement 100000")
    assert whole.returncode == 0, whole.stderr
    statements = int(whole.stdout)
    assert statements > 50
    assert manifest.id == "one"
    for number in range(1, statements + 1, 7):
        world.make()
        take_again(world)
        damage(world)
        statement = stated(world)
        killed = child(world, statement, f"statement {number}")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        _converges(world, statement)


@pytest.mark.usefixtures("manifest")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_killed_while_it_reads_it_converges(world: World, number: int) -> None:
    damage(world)
    statement = stated(world)
    assert child(world, statement, f"chunk {number}").returncode == -signal.SIGKILL
    _converges(world, statement)


def take_again(world: World) -> None:
    world.store.delete("one", world.store.files("one"))
    take_backup(world.database, world.store, world.clients, Wanted("one"))


def _converges(world: World, statement: RestoreLoss) -> None:
    for _ in range(50):
        try:
            restored = restore(world.database, world.workshop, statement, yes(statement))
            break
        except RestoreBusy:
            threading.Event().wait(0.1)  # the server has yet to see that the killed one is gone
    else:
        pytest.fail("the killed process holds its lock")
    assert world.names() == sorted([NAME, restored.kept])
    assert count(world, "SELECT count(*) FROM public.kunde") == 500


@pytest.mark.usefixtures("manifest")
def test_a_killed_restore_that_nobody_confirms_again_lets_users_in(world: World) -> None:
    statement = stated(world)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("include.backup.exchange.drain", _refuse)
        patched.setattr("include.backup.exchange.reopen", lambda *_: None)
        with pytest.raises(DatabaseBusy):
            restore(world.database, world.workshop, statement, yes(statement))
    with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
        psycopg.connect(**world.database.parameters())
    with pytest.raises(RestoreUnconfirmed):
        restore(world.database, world.workshop, statement, None)
    assert count(world, "SELECT count(*) FROM public.kunde") == 500


@pytest.mark.usefixtures("manifest")
def test_a_restore_that_takes_longer_than_an_hour_survives_a_kill(world: World) -> None:
    statement = stated(world)
    late = statement.made_at + timedelta(minutes=70)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("include.backup.exchange.put_in_place", _refuse)
        with pytest.raises(DatabaseBusy):
            restore(world.database, world.workshop, statement, yes(statement))
        with pytest.raises(RestoreUnconfirmed, match="nobody has confirmed"):
            restore(world.database, world.workshop, statement, None, now=lambda: late)
    restored = restore(world.database, world.workshop, statement, yes(statement), now=lambda: late)
    assert world.names() == sorted([NAME, restored.kept])
    assert restored.lost.made_at == late


@pytest.mark.usefixtures("manifest")
def test_of_restores_that_nobody_goes_on_with_nothing_is_left(world: World) -> None:
    mine, theirs = names(stated(world)), names(stated(world))
    with session(world.database.named("postgres"), application="test") as administration:
        for name in (mine.new, theirs.new, f"{NAME}_restore_abc"):
            administration.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        mark(administration, theirs.new, "verified", theirs.mark)
        mark(administration, NAME, "replacing", theirs.mark)
        administration.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(NAME)))
        assert try_lock(administration, f"restore {NAME}")
        with pytest.raises(RestoreBusy):
            settle(world.database, world.workshop)
    assert settle(world.database, world.workshop, [mine.mark]) == ""
    assert world.names() == sorted([NAME, f"{NAME}_restore_abc"]), "the last one is nobody's"
    assert count(world, "SELECT count(*) FROM public.kunde") == 500
    statement = stated(world)
    restore(world.database, world.workshop, statement, yes(statement))
    assert settle(world.database, world.workshop) == names(statement).mark


def test_errors_say_no_password(world: World, manifest: Manifest) -> None:
    statement = stated(world)
    wrong = replace(world.database, password="wrong-password")
    with pytest.raises(StellwerkError) as refused:
        restore(wrong, world.workshop, statement, yes(statement))
    assert "wrong-password" not in str(refused.value)
    gone = Workshop(Store(UPath("memory://nowhere")), world.clients)
    with pytest.raises(BackupMissing):
        what_would_be_lost(world.database, gone, manifest.id, made_at=datetime.now(UTC))
