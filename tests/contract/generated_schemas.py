"""Databases as hypothesis makes them up: several schemas with what makes a backup of them hard, and few rows."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

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
PARTITIONS = {
    "HASH": (
        "FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    ),
    "RANGE": ("FOR VALUES FROM (MINVALUE) TO (5)", "FOR VALUES FROM (5) TO (1000)", "DEFAULT"),
    "LIST": ("FOR VALUES IN (1, 2, 3)", "DEFAULT"),
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
    by = draw(st.sampled_from(["", "", "", *PARTITIONS]))
    if by:
        made = [line.replace("UNIQUE", "") for line in made]
    partitioned = f" PARTITION BY {by} (id)" if by else ""
    statements = [f"CREATE TABLE {table} ({', '.join([*made, 'PRIMARY KEY (id)'])}){partitioned}"]
    statements += [
        f"CREATE TABLE {quoted(schema, f'{name}~{part}')} PARTITION OF {table} {bounds}"
        for part, bounds in enumerate(PARTITIONS.get(by, ()))
    ]
    first = next(iter(columns))
    if draw(st.booleans()):
        statements.append(f"CREATE INDEX ON {table} ({quoted(first)}) WHERE id > 0")
    named, values = ", ".join(map(quoted, columns)), ", ".join(VALUES[kind] for kind in columns.values())
    rows = 1 if any("UNIQUE" in line for line in made) else draw(st.integers(0, 20))
    statements.append(f"INSERT INTO {table} ({named}) SELECT {values} FROM generate_series(1, {rows})")
    return statements


@st.composite
def sequences(draw: st.DrawFn, schema: str) -> list[str]:
    """One, which no table owns, and how often it was used."""
    sequence = quoted(schema, "numbers")
    increment, used = draw(st.sampled_from([1, 7, -1])), draw(st.integers(0, 3))
    kind = draw(st.sampled_from(["smallint", "bigint"]))
    return [
        f"CREATE SEQUENCE {sequence} AS {kind} INCREMENT {increment}",
        f"SELECT nextval({literal(sequence)}) FROM generate_series(1, {used})",
    ]


@st.composite
def databases(draw: st.DrawFn, extensions: Sequence[str] = ()) -> list[str]:
    """The statements that make a database.

    :param extensions: those the server has; some databases get some of them
    """
    statements: list[str] = []
    schemas = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    for schema in schemas:
        statements.append(f"CREATE SCHEMA {quoted(schema)}")
        labels = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
        enum = quoted(schema, "enum")
        statements.append(f"CREATE TYPE {enum} AS ENUM ({', '.join(map(literal, labels))})")
        statements.append(f"CREATE TABLE {quoted(schema, 'of enum')} (one {enum} DEFAULT {literal(labels[0])})")
        statements.append(f"INSERT INTO {quoted(schema, 'of enum')} VALUES ({literal(labels[-1])}), (DEFAULT)")
        if draw(st.booleans()):
            statements += draw(sequences(schema))
        for name in draw(st.lists(NAMES.filter(lambda name: name != "enum"), max_size=3, unique=True)):
            statements += draw(tables(schema, name))
    for extension in extensions:
        if draw(st.booleans()):
            where = quoted(draw(st.sampled_from(schemas)))
            statements.append(f"CREATE EXTENSION {quoted(extension)} SCHEMA {where}")
            if extension == "vector":  # rows, and an index, of a type of its own
                table = f"{where}.{quoted('of vector')}"
                statements.append(f"CREATE TABLE {table} (id int PRIMARY KEY, place {where}.vector(3))")
                statements.append(f"INSERT INTO {table} VALUES (1, '[1,2.5,-3]'), (2, NULL)")
                statements.append(f"CREATE INDEX ON {table} USING hnsw (place {where}.vector_l2_ops)")
    objects = draw(st.integers(0, 3))
    return [*statements, f"SELECT lo_from_bytea(0, 'x'::bytea) FROM generate_series(1, {objects})"]
