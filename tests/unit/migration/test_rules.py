"""The rules over SQL as Alembic and people write it."""

from __future__ import annotations

import pytest

from include.migration.policy import Acceptance, Policy, decide
from include.migration.rules import RULES, lint
from include.migration.tree import Rendered


def rules(*sql: str) -> list[str]:
    found = lint([Rendered("0002", "versions/0002.py", tuple((one, 9) for one in sql))])
    assert all((one.file, one.revision) == ("versions/0002.py", "0002") for one in found)
    return [one.rule for one in found]


HARMLESS = (
    "ALTER TABLE orders ADD COLUMN delivery_date DATE",
    "ALTER TABLE orders ADD COLUMN note TEXT DEFAULT 'x' NOT NULL",
    "ALTER TABLE orders ADD COLUMN at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL",
    "ALTER TABLE orders ADD price NUMERIC(10, 2) DEFAULT 0.0 NOT NULL",
    "ALTER TABLE orders ADD kind VARCHAR(20) DEFAULT CAST('a' AS VARCHAR(20)) NOT NULL",
    "ALTER TABLE orders ALTER COLUMN a SET DEFAULT 4, ALTER b DROP NOT NULL",
    "ALTER TABLE orders VALIDATE CONSTRAINT positive",
    "ALTER TABLE orders RENAME CONSTRAINT a TO b",
    "ALTER INDEX a RENAME TO b",
    "CREATE TABLE new (id SERIAL PRIMARY KEY, article INTEGER REFERENCES articles (id))",
    "CREATE TYPE mood AS ENUM ('a', 'b')",
    "CREATE VIEW v AS SELECT 1",
    "COMMENT ON COLUMN a.b IS 'DROP TABLE'",
    "INSERT INTO articles VALUES (1)",
    "UPDATE articles SET a = 1 WHERE id = 3",
    "GRANT SELECT ON articles TO erp",
    "CREATE USER MAPPING FOR erp SERVER other",
    "COMMENT ON TABLE articles IS 'GRANT admin TO app'",
    "SELECT setval('articles_id_seq', (SELECT max(id) FROM articles))",
    "SELECT pg_sleep(1)",
    "SET LOCAL search_path TO shop, public",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "RESET ROLE",
    "SELECT set_config('work_mem', '64MB', true)",
)


@pytest.mark.parametrize("sql", HARMLESS)
def test_what_the_old_version_does_not_notice_is_not_found(sql: str) -> None:
    assert rules(sql) == []


FOUND = {
    "ALTER TABLE orders DROP COLUMN a": ["drop-column"],
    "ALTER TABLE IF EXISTS ONLY shop.orders DROP IF EXISTS a, DROP b CASCADE": ["drop-column", "drop-column"],
    'alter table "Auf träge" drop column "Größe"': ["drop-column"],
    "DROP TABLE orders, articles": ["drop-table", "drop-table"],
    "DROP VIEW v": ["drop-other"],
    "DROP TYPE mood": ["drop-other"],
    "ALTER TABLE orders DETACH PARTITION p": ["drop-table"],
    "ALTER TABLE orders RENAME a TO b": ["rename"],
    "ALTER TABLE orders RENAME COLUMN a TO b": ["rename"],
    "ALTER TABLE orders RENAME TO auftraege": ["rename"],
    "ALTER TABLE orders SET SCHEMA archive": ["rename"],
    "ALTER TYPE mood RENAME VALUE 'a' TO 'b'": ["rename"],
    "ALTER TABLE orders ALTER COLUMN a TYPE BIGINT USING a::bigint": ["type-change"],
    "ALTER TABLE orders ALTER a SET DATA TYPE TEXT": ["type-change"],
    "ALTER TABLE orders ADD COLUMN a INTEGER NOT NULL": ["not-null-without-default"],
    "ALTER TABLE orders ADD COLUMN a INTEGER DEFAULT NULL NOT NULL": ["not-null-without-default"],
    "ALTER TABLE orders ADD COLUMN a UUID DEFAULT gen_random_uuid() NOT NULL": ["full-rewrite"],
    "ALTER TABLE orders ADD COLUMN a BIGSERIAL NOT NULL": ["full-rewrite"],
    "ALTER TABLE orders ADD COLUMN a INT GENERATED ALWAYS AS (b * 2) STORED": ["full-rewrite"],
    "ALTER TABLE orders ADD COLUMN a INTEGER REFERENCES articles (id)": ["constraint-not-valid"],
    "ALTER TABLE orders ADD COLUMN a INTEGER UNIQUE": ["constraint-index"],
    "ALTER TABLE orders ALTER COLUMN a SET NOT NULL": ["set-not-null"],
    "ALTER TABLE orders ALTER COLUMN a DROP DEFAULT": ["drop-default"],
    "ALTER TABLE orders ADD CONSTRAINT c CHECK (a > 0)": ["constraint-not-valid", "new-constraint"],
    "ALTER TABLE orders ADD CONSTRAINT c CHECK (a > 0) NOT VALID": ["new-constraint"],
    "ALTER TABLE orders ADD FOREIGN KEY (a) REFERENCES b (c)": ["constraint-not-valid", "new-constraint"],
    "ALTER TABLE orders ADD UNIQUE (a)": ["constraint-index", "new-constraint"],
    "ALTER TABLE orders ADD CONSTRAINT u UNIQUE USING INDEX i": ["new-constraint"],
    "CREATE INDEX i ON orders (a)": ["index-not-concurrent"],
    "CREATE UNIQUE INDEX i ON orders (a)": ["index-not-concurrent", "new-constraint"],
    "CREATE INDEX CONCURRENTLY i ON orders (a)": ["concurrently-in-transaction"],
    "DROP INDEX i": ["drop-index"],
    "VACUUM FULL orders": ["full-rewrite", "concurrently-in-transaction"],
    "CLUSTER orders USING i": ["full-rewrite"],
    "ALTER TABLE orders SET UNLOGGED": ["full-rewrite"],
    "REINDEX TABLE orders": ["index-not-concurrent"],
    "REFRESH MATERIALIZED VIEW v": ["lock-table"],
    "LOCK TABLE orders": ["lock-table"],
    "TRUNCATE orders": ["data-loss"],
    "DELETE FROM orders WHERE a = 1": ["data-loss"],
    "UPDATE orders SET a = 1": ["backfill"],
    "WITH x AS (DELETE FROM orders RETURNING *) SELECT 1 FROM x": ["not-read"],
    "CREATE TRIGGER t BEFORE INSERT ON orders EXECUTE FUNCTION f()": ["trigger"],
    "CREATE OR REPLACE FUNCTION f() RETURNS int AS $$ SELECT 1 $$ LANGUAGE sql": ["replace"],
    "ALTER TYPE mood ADD VALUE 'c'": ["enum-value"],
    "REVOKE SELECT ON orders FROM erp": ["revoke"],
    "SET lock_timeout = 0": ["session-setting"],
    "SET SESSION statement_timeout TO '1h'": ["session-setting"],
    "SET LOCAL Lock_Timeout = '9s'": ["session-setting"],
    "SET application_name = 'x'": ["session-setting"],
    "RESET ALL": ["session-setting"],
    "RESET statement_timeout": ["session-setting"],
    "SELECT pg_catalog.set_config('LOCK_TIMEOUT', '0', false)": ["session-setting"],
    "SELECT set_config('lock_' || 'timeout', '0', false)": ["not-read"],
    "SELECT set_config(name, value, false) FROM settings": ["not-read"],
    "DISCARD ALL": ["not-read"],
    "DO $$ BEGIN EXECUTE 'DROP TABLE orders'; END $$": ["not-read"],
    "CALL tidy_up()": ["not-read"],
    "SELECT DropGeometryColumn('orders', 'place')": ["not-read"],
    "WITH x AS (MERGE INTO a USING b ON c WHEN MATCHED THEN DELETE) SELECT 1": ["not-read"],
    "ALTER TABLE orders FROBNICATE": ["not-read"],
    "VACUUM": ["concurrently-in-transaction"],
}


OUTSIDE = (
    "ALTER DATABASE erp SET work_mem = '8MB'",
    "ALTER ROLE erp NOLOGIN",
    "ALTER SYSTEM SET work_mem = '1GB'",
    "ALTER USER erp PASSWORD 'x'",
    "ALTER GROUP staff ADD USER anna",
    "CREATE DATABASE other",
    "CREATE ROLE app LOGIN",
    "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
    "CREATE TABLESPACE fast LOCATION '/fast'",
    "DROP ROLE IF EXISTS app",
    "DROP DATABASE erp",
    "DROP OWNED BY app",
    "REASSIGN OWNED BY app TO erp",
    "GRANT admin TO app WITH ADMIN OPTION",
    "REVOKE ADMIN OPTION FOR admin FROM app",
    "GRANT CONNECT ON DATABASE erp TO app",
    "REVOKE ALL ON TABLESPACE fast FROM app",
    "GRANT SET ON PARAMETER work_mem TO app",
    "COMMENT ON DATABASE erp IS 'x'",
)


@pytest.mark.parametrize("sql", OUTSIDE)
def test_what_is_done_to_the_whole_server_is_found_and_nobody_can_accept_it(sql: str) -> None:
    assert rules(sql) == ["outside-database"]
    (one,) = lint([Rendered("0002", "a.py", ((sql, 1),))])
    accepted = Acceptance("outside-database", "0002", "anna", "it is only a role")
    assert decide([one], Policy(accepted=(accepted,))).blocking == (one,)


@pytest.mark.parametrize("sql", FOUND)
def test_what_the_old_version_needs_or_what_holds_locks_is_found(sql: str) -> None:
    assert rules(sql) == FOUND[sql]


def test_each_finding_says_where_and_what() -> None:
    (one,) = lint([Rendered("0002", "versions/0002.py", (("ALTER TABLE orders\n  DROP COLUMN a;", 12),))])
    assert str(one).startswith(
        "versions/0002.py:12: drops a column that the old version still reads [ALTER TABLE orders DROP COLUMN a]"
    )
    assert one.severity == "block"


def test_a_table_that_this_migration_makes_may_be_treated_in_any_way() -> None:
    made = "CREATE TABLE public.new (id INTEGER)"
    assert rules(made, "CREATE INDEX i ON new (id)", "ALTER TABLE new ADD UNIQUE (id)", "DROP TABLE new") == []
    assert rules(made, "ALTER TABLE new RENAME TO newer", "ALTER TABLE newer DROP COLUMN id") == []
    assert rules(made, 'CREATE INDEX i ON "New" (id)') == ["index-not-concurrent"]
    assert rules("CREATE TABLE IF NOT EXISTS orders (id INTEGER)", "DROP TABLE orders") == ["drop-table"]
    assert rules(made, "DROP TABLE new", "ALTER TABLE orders RENAME TO new", "DROP TABLE new") == [
        *("rename", "drop-table")
    ]
    later = lint(
        [
            Rendered("0002", "a.py", ((made, 1),)),
            Rendered("0003", "b.py", (("ALTER TABLE new ADD COLUMN a INT NOT NULL", 1),)),
        ]
    )
    assert later == ()


def test_outside_of_a_transaction_belongs_into_a_revision_of_its_own() -> None:
    index = "CREATE INDEX CONCURRENTLY i ON orders (a);"
    assert rules("COMMIT;", index, "BEGIN;") == ["non-transactional"]
    mixed = rules("ALTER TABLE orders ADD a INT;", "COMMIT;", index, "BEGIN;")
    assert mixed == ["non-transactional", "non-transactional-mixed"]
    assert rules("COMMIT;", index, "BEGIN;", "ALTER TABLE orders ADD a INT;") == mixed


def test_what_cannot_be_rendered_is_unknown_and_what_could_is_judged() -> None:
    found = lint([Rendered("0002", "a.py", (("DROP TABLE a", 3),), why="AttributeError: no result\nmore", line=4)])
    assert [(one.rule, one.severity, one.line) for one in found] == [
        ("drop-table", "block", 3),
        ("not-rendered", "unknown", 4),
    ]
    assert found[1].what.endswith("AttributeError: no result")


def test_every_rule_can_be_found() -> None:
    named = {rule for found in FOUND.values() for rule in found} | {"outside-database"}
    assert RULES.keys() - named == {"non-transactional", "non-transactional-mixed", "not-rendered"}
