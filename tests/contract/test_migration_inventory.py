"""What is read of a real database: its schema as an inventory, its version tables."""

from __future__ import annotations

import pytest

from include.errors import DatabaseBusy
from include.migration.observe import connection, state
from include.sandbox.postgres import Postgres
from tests.contract.migrations import OWNER, World, schema, world

EVERYTHING = """
CREATE SCHEMA "Lager";
CREATE TYPE mood AS ENUM ('gut', 'schlecht');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE TYPE span AS RANGE (subtype = numeric);
CREATE SEQUENCE numbers START 5 INCREMENT 2;
CREATE TABLE "Lager"."Auf träge" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, m mood DEFAULT 'gut',
    p positive, twice int GENERATED ALWAYS AS (12 * 2) STORED, name text COLLATE "C" UNIQUE, CHECK (id > 0));
CREATE TABLE parts (at date NOT NULL, x int) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX parts_x ON parts (x) WHERE x > 3;
CREATE VIEW v AS SELECT x FROM parts;
CREATE MATERIALIZED VIEW mv AS SELECT x FROM parts;
CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT a';
CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER tr BEFORE INSERT ON parts FOR EACH ROW EXECUTE FUNCTION t();
ALTER TABLE parts ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON parts USING (x = 1);
CREATE AGGREGATE most(int) (SFUNC = int4larger, STYPE = int);
"""


@pytest.fixture
def erp(server: Postgres) -> World:
    return world(server, "erp")


def fill(given: World) -> None:
    given.do(*(one for one in EVERYTHING.split(";\n") if one.strip()))


def test_two_databases_made_alike_have_one_fingerprint(erp: World, server: Postgres) -> None:
    empty = schema(erp)
    other = world(server, "other")
    fill(erp)
    fill(other)
    assert schema(erp).objects == schema(other).objects
    assert schema(erp).fingerprint == schema(other).fingerprint != empty.fingerprint
    kinds = {name.split(" ")[0] for name in schema(erp).objects}
    assert kinds >= {"schema", "extension", "table", "partition", "view", "column", "constraint", "index"}
    assert kinds >= {"sequence", "trigger", "policy", "function", "enum", "domain", "type"}
    assert schema(erp).objects["view public.mv"].startswith("materialised; ")
    assert "privileges" not in kinds


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("ALTER TYPE mood ADD VALUE 'so la la'", "~ enum public.mood"),
        ("ALTER DOMAIN positive ADD CHECK (VALUE < 9)", "~ domain public.positive"),
        ("ALTER SEQUENCE numbers INCREMENT 3", "~ sequence public.numbers"),
        ('ALTER TABLE "Lager"."Auf träge" ALTER m DROP DEFAULT', '~ column "Lager"."Auf träge".m'),
        ('ALTER TABLE "Lager"."Auf träge" ALTER name SET NOT NULL', '~ column "Lager"."Auf träge".name'),
        ("ALTER TABLE parts DISABLE ROW LEVEL SECURITY", "~ table public.parts"),
        ("CREATE OR REPLACE VIEW v AS SELECT x + 1 AS x FROM parts", "~ view public.v"),
        (
            "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "~ function public.f(a integer)",
        ),
        ("ALTER TABLE parts DISABLE TRIGGER tr", "~ trigger public.parts.tr"),
        ("ALTER POLICY mine ON parts USING (x = 2)", "~ policy public.parts.mine"),
        ("CREATE SCHEMA more", "+ schema more"),
        ("ALTER TYPE pair ADD ATTRIBUTE c int", "+ column public.pair.c"),
        ("ALTER TABLE parts_1 SET (autovacuum_enabled = off)", "~ table public.parts_1"),
        ("ALTER VIEW v ALTER x SET DEFAULT 7", "~ column public.v.x"),
        ("DROP TYPE span", "- type public.span"),
        (
            "CREATE OR REPLACE AGGREGATE most(int) (SFUNC = int4smaller, STYPE = int)",
            "~ function public.most(integer)",
        ),
        ("ALTER TABLE parts ADD CHECK (x > 1)", "+ constraint public.parts.parts_x_check"),
    ],
)
def test_a_change_is_seen_and_named(erp: World, change: str, difference: str) -> None:
    fill(erp)
    before = schema(erp)
    erp.do(change)
    assert difference in before.differences(schema(erp))
    assert before.fingerprint != schema(erp).fingerprint


def test_rows_owners_rights_and_version_tables_are_no_schema(erp: World) -> None:
    erp.do("CREATE TABLE t (a int)")
    before = schema(erp)
    erp.do("INSERT INTO t VALUES (1)", "GRANT SELECT ON t TO PUBLIC", "CREATE TABLE v (version_num text UNIQUE)")
    with erp.admits() as admin:
        admin.execute("ALTER TABLE t OWNER TO postgres")
    assert before.differences(schema(erp)) == ()


def test_one_fingerprint_whatever_a_role_has_set(erp: World) -> None:
    fill(erp)
    erp.do(
        "CREATE TABLE dated (on_day date DEFAULT '2026-03-31', at timestamptz DEFAULT '2026-03-31 12:00+02', "
        "every interval DEFAULT '1 day 2 hours', raw bytea DEFAULT '\\x00ff')"
    )
    before = schema(erp)
    for setting in (
        "datestyle = 'German'",
        "intervalstyle = 'iso_8601'",
        "timezone = 'Europe/Berlin'",
        "bytea_output = 'escape'",
        "quote_all_identifiers = on",
        "search_path = public",
        "statement_timeout = '10min'",
    ):
        erp.do(f"ALTER ROLE {OWNER} IN DATABASE erp SET {setting}")
    assert before.differences(schema(erp)) == ()


def test_a_lock_in_the_way_is_no_silence(erp: World) -> None:
    fill(erp)

    def look() -> None:
        with connection(erp.database) as opened:
            opened.execute("SET lock_timeout = '100ms'")
            opened.execute("SELECT count(*) FROM public.parts")

    with erp.admits() as somebody, somebody.transaction():
        somebody.execute("LOCK TABLE parts")
        with pytest.raises(DatabaseBusy, match="lock timeout"):
            look()


def test_every_version_table_is_found_with_its_length(erp: World) -> None:
    erp.do(
        'CREATE SCHEMA "Lager"',
        'CREATE TABLE "Lager".alembic_version (version_num varchar(64))',
        "INSERT INTO \"Lager\".alembic_version VALUES ('x'), ('y')",
        "CREATE TABLE alembic_version (version_num text)",
        "CREATE TABLE other (version_num varchar(3), more int)",
    )
    with connection(erp.database) as opened:
        found = state(opened)
    assert [(one.schema, one.length, one.revisions) for one in found.tables] == [
        ("Lager", 64, {"x", "y"}),
        ("public", None, set()),
    ]
    assert all(one.readable for one in found.tables)
    with erp.admits() as admin:
        admin.execute("ALTER TABLE alembic_version OWNER TO postgres")
    with connection(erp.database) as opened:
        assert [one.readable for one in state(opened).tables] == [True, False]
    assert found.identity.name == "erp"
    assert found.version // 10000 >= 16
