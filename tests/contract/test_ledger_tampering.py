"""A superuser who disables the protections of a real PostgreSQL: whatever they leave in the table is found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from psycopg import sql

from include.ledger.entry import Entry, Head
from include.ledger.heads import note_head, noted_heads
from include.ledger.migrate import migrate
from include.ledger.store import Ledger
from include.sandbox.postgres import Postgres
from tests.contract.test_ledger import PASSWORD, ROLE, TABLE, command, new
from tests.unit.ledger.tampering import CASES, WAYS

DATABASE = "ledger_tampering"
COLUMNS = "sequence, kind, release, environment, run_id, actor, key, at, recorded_at, payload, previous, hash"


class Place(NamedTuple):
    """A ledger of six entries, whose head was noted outside after each.

    :param admin: URL of the superuser
    :param url: URL of the role that appends
    """

    admin: str
    url: str
    entries: tuple[Entry, ...]
    heads: Path

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.url)


@pytest.fixture(scope="module")
def written(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Place:
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(DATABASE)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    admin = server.url(DATABASE, "postgres")
    migrate(admin, role=ROLE, password=PASSWORD)
    url = f"postgresql://{ROLE}:p%40ss%3Aw%2Ford%25@127.0.0.1:{server.port}/{DATABASE}"
    ledger, heads = Ledger(url), tmp_path_factory.mktemp("heads")
    for number in range(6):
        ledger.append(new(number, key=f"key-{number}" if number % 2 else None))
        note_head(heads, ledger.head(), datetime.now(UTC))
    with psycopg.connect(admin) as connection:
        # Who can switch triggers off can drop these, too; they would make some of what follows harder to write.
        for column in ("previous", "hash", "key"):
            connection.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT entries_{column}_key".encode())
    return Place(admin, url, ledger.entries(), heads)


@pytest.fixture
def place(written: Place) -> Iterator[Place]:
    yield written
    leave(written, written.entries)


def leave(place: Place, entries: Sequence[Entry]) -> None:
    """Make these the rows of the table, past every trigger, and leave no other trace."""
    rows = [
        (
            *(one.sequence, one.kind, one.release, one.environment, one.run_id, one.actor, one.key),
            *(one.at, one.recorded_at, one.payload_json, one.previous, one.hash),
        )
        for one in entries
    ]
    with psycopg.connect(place.admin) as connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(f"DELETE FROM {TABLE}".encode())
        marks = ", ".join(["%s"] * 9 + ["%s::text::json"] + ["%s"] * 2)
        cursor.executemany(f"INSERT INTO {TABLE} ({COLUMNS}) VALUES ({marks})".encode(), rows)


def told(ledger: Ledger, heads: Sequence[Head] = ()) -> list[tuple[str, int]]:
    return [(fault.damage, fault.sequence) for fault in ledger.examine(heads).faults]


@pytest.mark.parametrize(("name", "at"), CASES)
def test_it_is_found_and_named(place: Place, name: str, at: int) -> None:
    way = WAYS[name]
    leave(place, way.tamper(list(place.entries), at))
    assert (way.shows, at + 1 + way.behind) in told(place.ledger, noted_heads(place.heads))
    assert (told(place.ledger) == []) == way.anchored


def test_an_untouched_ledger_is_not_accused_even_after_every_row_was_written_anew(place: Place) -> None:
    leave(place, place.entries)
    assert place.ledger.entries() == place.entries
    assert told(place.ledger, noted_heads(place.heads)) == []


def test_a_ledger_that_is_written_meanwhile_is_not_accused(place: Place) -> None:
    ledger = place.ledger

    def write(writer: int) -> None:
        for number in range(15):
            ledger.append(new(number, actor=f"writer-{writer}"))

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(write, writer) for writer in range(4)]
        while not all(job.done() for job in jobs):
            heads = [ledger.head()]
            assert told(ledger, heads) == []
        for job in jobs:
            job.result()


@pytest.mark.parametrize("name", ["refuse_change", "extend_only"])
def test_protections_that_are_left_off_are_said(place: Place, name: str) -> None:
    with psycopg.connect(place.admin) as connection:
        connection.execute(f"ALTER TABLE {TABLE} DISABLE TRIGGER {name}".encode())
    try:
        found = place.ledger.examine(noted_heads(place.heads))
        assert [(fault.damage, fault.sequence) for fault in found.faults] == [("unprotected", 0)]
        assert name in found.faults[0].sentence
        verified = command(place.url, "verify", "--heads-folder", str(place.heads))
        assert (verified.returncode, verified.stdout.startswith("unprotected: ")) == (1, True)
    finally:
        with psycopg.connect(place.admin) as connection:
            connection.execute(f"ALTER TABLE {TABLE} ENABLE TRIGGER {name}".encode())
    assert place.ledger.examine().ok


def test_protections_that_are_gone_are_said(place: Place) -> None:
    with psycopg.connect(place.admin) as connection:
        definition = connection.execute(
            "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'refuse_change'"
        ).fetchone()
        connection.execute(f"DROP TRIGGER refuse_change ON {TABLE}".encode())
    assert told(place.ledger) == [("unprotected", 0)]
    assert definition is not None
    with psycopg.connect(place.admin) as connection:
        connection.execute(str(definition[0]).encode())
    assert told(place.ledger) == []


@pytest.mark.parametrize("name", ["changed-payload-spaced", "removed", "reordered", "cut-off", "rewritten-tail"])
def test_the_command_says_which_entry_and_what_to_do(place: Place, tmp_path: Path, name: str) -> None:
    way = WAYS[name]
    leave(place, way.tamper(list(place.entries), 2))
    verified = command(place.url, "verify", "--heads-folder", str(place.heads))
    assert (verified.returncode, verified.stderr) == (1, "")
    line = next(one for one in verified.stdout.splitlines() if one.startswith(f"{way.shows}: "))
    assert "3" in line
    assert "  do: " in verified.stdout
    message = tmp_path / "slack.txt"
    message.write_text(f"Traffic cutover to green\nLedger {noted_heads(place.heads)[-1].short}\n")
    assert command(place.url, "verify", "--quoted-in", str(message)).returncode == 1


def test_an_export_is_verified_without_the_database(place: Place, tmp_path: Path) -> None:
    export = tmp_path / "ledger.jsonl"
    export.write_text(command(place.url, "show", "--json").stdout)
    folder = ("--heads-folder", str(place.heads))
    fine = command("", "verify", "--export", str(export), *folder)
    assert (fine.returncode, fine.stderr) == (0, "")
    assert fine.stdout.startswith("6 entries, ")
    export.write_text("".join(f"{line}\n" for line in export.read_text().splitlines()[:4]))
    assert command("", "verify", "--export", str(export), *folder).returncode == 1
