"""Whatever a schema looks like: what was restored is what was backed up, to the last constraint and row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from upath import UPath

from include.backup.dump import Wanted, take_backup
from include.backup.store import Store
from include.backup.verify import verify
from include.sandbox.postgres import Postgres
from tests.contract.databases import World, connect

NAMES = st.text(st.sampled_from("aZ_ äß\"'%$.;\\-1"), min_size=1, max_size=8).filter(
    lambda name: name[:3] != "pg_"
)
TYPES = st.sampled_from(
    ["integer", "bigint", "text", "varchar(9)", "numeric(12,3)", "timestamptz", "jsonb", "bytea", "uuid", "text[]"]
)
EXTRAS = st.sampled_from(["", "NOT NULL DEFAULT {value}", "UNIQUE", "CHECK ({column} IS NOT NULL)"])
VALUES = {
    "integer": "7",
    "bigint": "7",
    "text": "'ä'",
    "varchar(9)": "'ä'",
    "numeric(12,3)": "1.5",
    "timestamptz": "'2026-03-01 12:00:00+00'",
    "jsonb": """'{"a": [1, null]}'""",
    "bytea": "'\\x00ff'",
    "uuid": "'00000000-0000-0000-0000-000000000001'",
    "text[]": "'{a,NULL,\"b c\"}'",
}


def quoted(*parts: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@st.composite
def tables(draw: st.DrawFn, schema: str, name: str) -> list[str]:
    table = quoted(schema, name)
    columns = draw(st.dictionaries(NAMES.filter(lambda column: column != "id"), TYPES, min_size=1, max_size=4))
    identity = draw(st.sampled_from(["ALWAYS", "BY DEFAULT"]))
    made = [f"id bigint GENERATED {identity} AS IDENTITY (INCREMENT {draw(st.sampled_from([1, 3, -2]))})"]
    for column, kind in columns.items():
        extra = draw(EXTRAS).format(value=VALUES[kind], column=quoted(column))
        made.append(f"{quoted(column)} {kind} {'' if kind == 'jsonb' and extra == 'UNIQUE' else extra}")
    partitioned = draw(st.booleans())
    if partitioned:
        made = [line.replace("UNIQUE", "") for line in made]
    statements = [
        f"CREATE TABLE {table} ({', '.join([*made, 'PRIMARY KEY (id)'])})"
        + (" PARTITION BY HASH (id)" if partitioned else "")
    ]
    if partitioned:
        statements += [
            f"CREATE TABLE {quoted(schema, f'{name}~{part}')} PARTITION OF {table} "
            f"FOR VALUES WITH (MODULUS 2, REMAINDER {part})"
            for part in (0, 1)
        ]
    first = next(iter(columns))
    if draw(st.booleans()):
        statements.append(f"CREATE INDEX ON {table} ({quoted(first)}) WHERE id > 0")
    named, values = ", ".join(map(quoted, columns)), ", ".join(VALUES[kind] for kind in columns.values())
    rows = 1 if any("UNIQUE" in line for line in made) else draw(st.integers(0, 20))
    statements.append(f"INSERT INTO {table} ({named}) SELECT {values} FROM generate_series(1, {rows})")
    return statements


@st.composite
def databases(draw: st.DrawFn) -> list[str]:
    """The statements that make a database."""
    statements: list[str] = []
    for schema in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        statements.append(f"CREATE SCHEMA {quoted(schema)}")
        labels = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
        statements.append(f"CREATE TYPE {quoted(schema, 'enum')} AS ENUM ({', '.join(map(literal, labels))})")
        for name in draw(st.lists(NAMES.filter(lambda name: name != "enum"), max_size=3, unique=True)):
            statements += draw(tables(schema, name))
    objects = draw(st.integers(0, 3))
    return [*statements, f"SELECT lo_from_bytea(0, 'x'::bytea) FROM generate_series(1, {objects})"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    server.start()
    world = World(server, tmp_path_factory.mktemp("world"))
    world.make()
    yield world
    server.remove()


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(statements=databases())
def test_what_was_restored_is_what_was_backed_up(
    world: World, tmp_path_factory: pytest.TempPathFactory, statements: list[str]
) -> None:
    store = Store(UPath(str(tmp_path_factory.mktemp("backups"))))
    made = world.database.named("generated")
    with connect(world.database.named("postgres")) as connection:
        connection.execute("DROP DATABASE IF EXISTS generated WITH (FORCE)")
        connection.execute(sql.SQL("CREATE DATABASE generated"))
    with connect(made) as connection:
        for statement in statements:
            connection.execute(statement.encode())
    manifest = take_backup(made, store, world.clients, Wanted("one"))
    assert None not in manifest.rows.values()
    world.store = store
    verification = verify("one", world.workshop, now=datetime.now(UTC), scratch=made)
    assert (verification.sentences, verification.verdict) == ((), "VERIFIED")
