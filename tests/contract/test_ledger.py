"""The ledger on a real PostgreSQL: what its role may do, what tampering leaves behind, many writers at once."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import psycopg
import pytest
from psycopg import errors, sql

from include.errors import InvalidEntry, LedgerError, LedgerUnavailable, MessageError
from include.ledger.approvals import Approval, approval, decision
from include.ledger.entry import Head, NewEntry
from include.ledger.heads import note_head
from include.ledger.migrate import migrate
from include.ledger.store import Ledger
from include.messages.deliver import deliver
from include.messages.model import Message
from include.sandbox.postgres import Postgres

ROLE, PASSWORD = "stellwerk_append", "p@ss:w/ord%"
TABLE = "stellwerk_ledger.entries"


@pytest.fixture
def admin_url(server: Postgres) -> str:
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS ledger_test WITH (FORCE)")
        connection.execute("CREATE DATABASE ledger_test")
    url = server.url("ledger_test", "postgres")
    migrate(url, role=ROLE, password=PASSWORD)
    return url


@pytest.fixture
def url(server: Postgres, admin_url: str) -> str:
    return f"postgresql://{ROLE}:p%40ss%3Aw%2Ford%25@127.0.0.1:{server.port}/ledger_test"


@pytest.fixture
def ledger(url: str) -> Ledger:
    return Ledger(url)


def new(number: int = 0, **other: object) -> NewEntry:
    facts: dict[str, object] = {
        "kind": "deploy.done",
        "release": "3.0.0",
        "environment": "production",
        "run_id": "run",
        "actor": "anna",
        "payload": {"number": number, "ratio": 0.1, "huge": 1e300, "text": "Grüße \x00 \ud800", "none": None},
    }
    return NewEntry(**{**facts, **other})  # type: ignore[arg-type]


def filled(ledger: Ledger, length: int = 6) -> Ledger:
    for number in range(length):
        ledger.append(new(number))
    return ledger


def tamper(admin_url: str, *statements: str) -> None:
    with psycopg.connect(admin_url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def damages(ledger: Ledger, *heads: Head) -> set[str]:
    return {fault.damage for fault in ledger.examine(heads).faults}


# -- writing and reading -------------------------------------------------------------------------------------


def test_what_was_written_is_read_back_with_every_field(ledger: Ledger) -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    written = [ledger.append(new(1, at=at, key="one")), ledger.append(new(2, kind="cutover.done", run_id="other"))]
    assert list(ledger.entries()) == written
    assert written[0].payload == dict(new(1).payload)
    assert (written[0].at, written[0].sequence, written[1].previous) == (at, 1, written[0].hash)
    assert written[1].at == written[1].recorded_at
    assert ledger.head() == Head(2, written[1].hash)
    assert ledger.find("one") == written[0]
    assert ledger.find("two") is None
    assert ledger.entries(kinds=["cutover.done"]) == (written[1],)
    assert ledger.entries(run_id="run", release="3.0.0", environment="production") == (written[0],)
    assert ledger.entries(release="4.0.0") == ()


def test_only_one_process_at_a_time_is_alone_with_something(ledger: Ledger, url: str) -> None:
    other = Ledger(url)
    with ledger.alone("a message") as first:
        assert first
        with other.alone("a message") as second, other.alone("another message") as third:
            assert (second, third) == (False, True)
        ledger.append(new())
    with other.alone("a message") as now:
        assert now


def test_a_process_that_dies_is_alone_no_more(ledger: Ledger, url: str) -> None:
    code = (
        "import os, sys; from include.ledger.store import Ledger\n"
        "with Ledger(sys.argv[1]).alone('a message') as alone:\n"
        "    print(alone, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-9, "True\n"), done.stderr
    deadline = datetime.now(UTC).timestamp() + 10
    while datetime.now(UTC).timestamp() < deadline:
        with ledger.alone("a message") as alone:
            if alone:
                return
    pytest.fail("the server still keeps the lock of a process that is dead")


def test_a_database_that_dies_meanwhile_undoes_nothing(ledger: Ledger, server: Postgres, admin_url: str) -> None:
    with ledger.alone("a message") as alone, psycopg.connect(admin_url, autocommit=True) as admin:
        assert alone
        admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'".encode())
    with pytest.raises(LedgerUnavailable), Ledger(f"postgresql://{ROLE}@127.0.0.1:1/x").alone("a message"):
        pytest.fail("nobody is alone without a database")


def test_times_are_utc_whatever_zone_the_server_prefers(admin_url: str, ledger: Ledger) -> None:
    ledger.append(new())
    tamper(admin_url, f"ALTER ROLE {ROLE} SET timezone = 'Asia/Tokyo'")
    ledger.append(new())
    assert {entry.recorded_at.utcoffset() for entry in ledger.entries()} == {UTC.utcoffset(None)}
    assert ledger.examine().ok
    tamper(admin_url, f"ALTER ROLE {ROLE} RESET timezone")


def test_a_key_is_written_once(ledger: Ledger) -> None:
    first = ledger.append(new(1, key="k"))
    assert ledger.append(new(2, key="k")) == first
    assert ledger.head().sequence == 1
    with pytest.raises(InvalidEntry, match="already stands for something else"):
        ledger.append(new(3, key="k", kind="cutover.done"))


def test_an_approval_is_found_in_the_ledger(ledger: Ledger) -> None:
    roles = {"technical-lead": ("tina",), "business-owner": ("bert",)}
    for role, (user,) in roles.items():
        answer = decision(
            phase="production",
            role=role,
            user=user,
            choice="Go",
            comment="",
            fingerprint="sha256:abc",
            release="3.0.0",
            environment="production",
            run_id="run",
            at=datetime.now(UTC),
        )
        ledger.append(answer)
        ledger.append(answer)
    entries = ledger.entries(run_id="run", kinds=["gate.decision"])
    assert len(entries) == 2
    found = approval(entries, phase="production", run_id="run", fingerprint="sha256:abc", roles=roles)
    assert isinstance(found, Approval)


def _append_many(url: str, writer: int) -> None:
    ledger = Ledger(url, timeout_seconds=60)
    for number in range(12):
        ledger.append(new(number, actor=f"writer-{writer}"))
        ledger.append(new(number, key=f"shared-{number}"))


def test_eight_writers_at_once_keep_one_chain(ledger: Ledger, url: str) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as processes, ThreadPoolExecutor(4) as threads:
        jobs = [
            pool.submit(_append_many, url, 4 * side + n)
            for side, pool in enumerate((processes, threads))
            for n in range(4)
        ]
        for job in jobs:
            job.result()
    entries = ledger.entries()
    assert ledger.examine().ok
    assert [entry.sequence for entry in entries] == list(range(1, 8 * 12 + 12 + 1))
    assert sum(entry.key is not None for entry in entries) == 12


def test_a_writer_waits_for_another_and_then_gives_up(ledger: Ledger, url: str) -> None:
    with psycopg.connect(url) as blocker:
        blocker.execute("SELECT pg_advisory_xact_lock(%s)", [0x5374656C6C7765])
        with pytest.raises(LedgerUnavailable, match=r"(lock|statement) timeout"):
            Ledger(url, timeout_seconds=0.5).append(new())
    assert ledger.append(new()).sequence == 1


def test_a_writer_that_dies_leaves_nothing_half_written(ledger: Ledger, url: str, admin_url: str) -> None:
    ledger.append(new())
    with psycopg.connect(url) as dying:
        dying.execute("SELECT pg_advisory_xact_lock(%s)", [0x5374656C6C7765])
        tamper(admin_url, f"SELECT pg_terminate_backend({dying.info.backend_pid})")
        with pytest.raises(errors.AdminShutdown):
            dying.execute("SELECT 1")
    assert ledger.append(new()).sequence == 2
    assert ledger.examine().ok


def test_a_message_goes_out_once_although_its_task_is_repeated(ledger: Ledger) -> None:
    message = Message("key", "slack", "3.0.0", "production", "run", "Rollback", channel="#alerts", urgent=True)
    posted: list[Message] = []

    def refuse(_: Message) -> None:
        raise OSError("connection refused")

    with pytest.raises(MessageError):
        deliver(ledger, message, refuse, datetime.now(UTC))
    for _ in range(3):
        deliver(ledger, message, posted.append, datetime.now(UTC))
    assert posted == [message]
    assert [entry.kind for entry in ledger.entries()] == ["message.failed", "message.sent"]


# -- what the role may not do --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE {TABLE} SET actor = 'mallory'",
        f"DELETE FROM {TABLE}",
        f"TRUNCATE {TABLE}",
        f"DROP TABLE {TABLE}",
        f"ALTER TABLE {TABLE} DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        f"ALTER TABLE {TABLE} OWNER TO CURRENT_USER",
        "CREATE TABLE stellwerk_ledger.other (a int)",
        "DROP SCHEMA stellwerk_ledger CASCADE",
        "UPDATE stellwerk_ledger.alembic_version SET version_num = 'x'",
        "CREATE OR REPLACE FUNCTION stellwerk_ledger.refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
        f"INSERT INTO {TABLE} SELECT * FROM {TABLE} ON CONFLICT (sequence) DO UPDATE SET actor = 'mallory'",
    ],
)
def test_the_role_that_appends_can_do_nothing_else(ledger: Ledger, url: str, statement: str) -> None:
    filled(ledger, 2)
    with psycopg.connect(url) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement.encode())
    assert ledger.examine().ok


@pytest.mark.parametrize(
    ("sequence", "previous"), [(2, "'" + "0" * 64 + "'"), (9, "hash"), (4, "repeat('b', 64)")]
)
def test_a_writer_around_stellwerk_cannot_fork_or_skip(
    ledger: Ledger, url: str, sequence: int, previous: str
) -> None:
    filled(ledger, 3)
    statement = (
        f"INSERT INTO {TABLE} SELECT {sequence}, kind, release, environment, run_id, actor, NULL, at, "
        f"recorded_at, payload, {previous}, repeat('a', 64) FROM {TABLE} WHERE sequence = 3"
    )
    with psycopg.connect(url) as connection, pytest.raises(errors.IntegrityConstraintViolation):
        connection.execute(statement.encode())


@pytest.mark.parametrize("verb", [f"UPDATE {TABLE} SET actor = 'x'", f"DELETE FROM {TABLE}", f"TRUNCATE {TABLE}"])
def test_even_a_role_with_all_privileges_is_refused_unless_it_is_the_owner(
    ledger: Ledger, admin_url: str, verb: str
) -> None:
    filled(ledger, 2)
    with psycopg.connect(admin_url) as connection:
        connection.execute("CREATE ROLE meddler")
        connection.execute("GRANT ALL ON SCHEMA stellwerk_ledger TO meddler")
        connection.execute(f"GRANT ALL ON {TABLE} TO meddler".encode())
        connection.execute("SET ROLE meddler")
        with pytest.raises(errors.InsufficientPrivilege, match="append-only"):
            connection.execute(verb.encode())
        connection.rollback()


# -- what tampering leaves behind ----------------------------------------------------------------------------


def test_a_changed_entry_is_found(ledger: Ledger, admin_url: str) -> None:
    filled(ledger)
    tamper(admin_url, f"UPDATE {TABLE} SET actor = 'mallory' WHERE sequence = 3")
    assert [(fault.damage, fault.sequence) for fault in ledger.examine().faults] == [("changed", 3)]


def test_a_payload_rewritten_with_the_same_meaning_is_found(ledger: Ledger, admin_url: str) -> None:
    filled(ledger)
    tamper(admin_url, f"UPDATE {TABLE} SET payload = (payload::text || ' ')::json WHERE sequence = 3")
    assert damages(ledger) == {"changed"}


def test_a_removed_entry_is_found(ledger: Ledger, admin_url: str) -> None:
    filled(ledger)
    tamper(admin_url, f"DELETE FROM {TABLE} WHERE sequence = 3")
    assert [(fault.damage, fault.sequence) for fault in ledger.examine().faults] == [("removed", 3)]


def test_swapped_entries_are_found(ledger: Ledger, admin_url: str) -> None:
    filled(ledger)
    tamper(
        admin_url,
        f"UPDATE {TABLE} SET sequence = 99 WHERE sequence = 3",
        f"UPDATE {TABLE} SET sequence = 3 WHERE sequence = 4",
        f"UPDATE {TABLE} SET sequence = 4 WHERE sequence = 99",
    )
    assert "reordered" in damages(ledger)


def test_a_cut_off_tail_is_found_with_the_head_of_a_message(ledger: Ledger, admin_url: str) -> None:
    head = Head.parse(filled(ledger).head().short)
    tamper(admin_url, f"DELETE FROM {TABLE} WHERE sequence > 4")
    assert damages(ledger) == set()
    assert damages(ledger, head) == {"cut-off"}
    filled(ledger, 3)
    assert damages(ledger, head) == {"rewritten"}


# -- the commands --------------------------------------------------------------------------------------------


def command(url: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "STELLWERK_LEDGER_URL": url, "PYTHONPATH": str(Path.cwd()), **variables}
    argv = [sys.executable, "-m", "include.ledger", *arguments]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_verifies_against_the_noted_heads(
    ledger: Ledger, url: str, admin_url: str, tmp_path: Path
) -> None:
    filled(ledger)
    heads = tmp_path / "heads"
    done = command(url, "head", "--heads-folder", str(heads))
    assert done.returncode == 0
    assert done.stdout.startswith(f"6:{ledger.head().hash}\n")
    note_head(heads, ledger.head(), datetime.now(UTC))
    fine = command(url, "verify", "--heads-folder", str(heads))
    assert (fine.returncode, fine.stderr) == (0, "")
    assert fine.stdout == f"6 entries, head {ledger.head().short}, 1 noted heads compared: intact\n"
    assert "shows only against a head" in command(url, "verify").stdout

    tamper(admin_url, f"DELETE FROM {TABLE} WHERE sequence = 6")
    assert command(url, "verify").returncode == 0
    broken = command(url, "verify", "--heads-folder", str(heads))
    assert broken.returncode == 1
    assert "cut-off: the ledger ends at entry 5, but head 6:" in broken.stdout


def test_the_command_shows_entries(ledger: Ledger, url: str) -> None:
    filled(ledger, 2)
    ledger.append(new(kind="cutover.done", payload={"to": "grün"}))
    shown = command(url, "show", "--kind", "cutover.done").stdout
    assert shown.count("\n") == 1
    assert '{"to": "grün"}' in shown
    assert command(url, "show", "--json", "--release", "3.0.0").stdout.count(ledger.head().hash) == 1


def test_the_command_says_what_it_lacks(url: str) -> None:
    missing = command("", "verify")
    assert (missing.returncode, "STELLWERK_LEDGER_URL is not set" in missing.stderr) == (2, True)
    wrong = command(url.replace("p%40ss", "wrong"), "verify")
    assert wrong.returncode == 2
    assert "authentication failed" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    assert command(url, "verify", "--head", "nonsense").returncode == 2


# -- the migration -------------------------------------------------------------------------------------------


def test_migrating_again_keeps_entries_and_takes_privileges_back(ledger: Ledger, url: str, admin_url: str) -> None:
    head = filled(ledger, 2).head()
    tamper(admin_url, f"GRANT ALL ON {TABLE} TO {ROLE}", f"GRANT UPDATE ON {TABLE} TO PUBLIC")
    migrate(admin_url, role=ROLE, password=PASSWORD)
    assert ledger.head() == head
    with psycopg.connect(url) as connection:
        rights = connection.execute(
            "SELECT array_agg(verb) FROM unnest(%s::text[]) verb WHERE has_table_privilege(%s, verb)",
            [["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"], TABLE],
        ).fetchone()
    assert rights == (["SELECT", "INSERT"],)


def test_the_command_migrates_with_addresses_from_the_environment(url: str, admin_url: str) -> None:
    variables = {
        "STELLWERK_LEDGER_ADMIN_URL": admin_url,
        "STELLWERK_LEDGER_ROLE": ROLE,
        "STELLWERK_LEDGER_PASSWORD": "another",
    }
    done = command("", "migrate", **variables)
    assert (done.returncode, done.stdout, done.stderr) == (0, "the ledger is set up\n", "")
    with pytest.raises(LedgerUnavailable, match="authentication failed"):
        Ledger(url).head()
    assert Ledger(url.replace("p%40ss%3Aw%2Ford%25", "another")).head() == Head(0, "0" * 64)


def test_many_deployments_may_migrate_at_once(server: Postgres) -> None:
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS fresh WITH (FORCE)")
        connection.execute("CREATE DATABASE fresh")
    url = server.url("fresh", "postgres")
    with ThreadPoolExecutor(4) as pool:
        for job in [pool.submit(migrate, url, role="fresh_append", password="x") for _ in range(4)]:
            job.result()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM stellwerk_ledger.alembic_version").fetchone() == (1,)


def test_the_owner_cannot_be_the_role_that_appends(admin_url: str) -> None:
    with pytest.raises(LedgerError, match="owns the ledger"):
        migrate(admin_url, role="postgres", password="x")


def test_an_administrator_without_superuser_is_enough(server: Postgres) -> None:
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS modest WITH (FORCE)")
        connection.execute("DROP ROLE IF EXISTS modest_admin")
        verifier = connection.pgconn.encrypt_password(b"x", b"modest_admin", b"scram-sha-256").decode()
        connection.execute(
            sql.SQL("CREATE ROLE modest_admin LOGIN CREATEROLE PASSWORD {}").format(sql.Literal(verifier))
        )
        connection.execute("CREATE DATABASE modest OWNER modest_admin")
    admin = f"postgresql://modest_admin:x@127.0.0.1:{server.port}/modest"
    for _ in range(2):
        migrate(admin, role="modest_append", password="y")
    ledger = Ledger(f"postgresql://modest_append:y@127.0.0.1:{server.port}/modest")
    assert filled(ledger, 2).examine().ok


def test_a_database_without_the_ledger_says_to_migrate(server: Postgres) -> None:
    with pytest.raises(LedgerError, match="run the migration") as caught:
        Ledger(server.url("airflow")).head()
    assert not isinstance(caught.value, LedgerUnavailable)
