"""What going back destroys, and what a confirmation covers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.database.confirmation import LossConfirmation
from include.database.facts import DatabaseIdentity
from include.migration.tree import Rendered, Step
from include.migration.way_back import (
    Loss,
    WayBackLoss,
    confirmed,
    losses,
    refuse_unknown_way,
    reverse,
)

HERE = DatabaseIdentity(system_identifier="7000", name="erp")


OTHER, UNKNOWN = ("other", "", ""), ("unknown", "", "")


def rendered(*sql: str, why: str = "", revision: str = "0003") -> Rendered:
    return Rendered(revision, f"{revision}.py", tuple((one, 1) for one in sql), why)


def statement(*found: Loss) -> WayBackLoss:
    return WayBackLoss(HERE, frozenset({"0003"}), frozenset({"0002"}), found)


def yes(asked: WayBackLoss) -> LossConfirmation:
    return LossConfirmation(digest=asked.digest, by="anna", reason="the new dates are worth less than the outage")


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("DROP TABLE shop.orders", [("table", "shop.orders", "")]),
        ("ALTER TABLE orders DROP COLUMN a, DROP b", [("column", "orders", "a"), ("column", "orders", "b")]),
        ("ALTER TABLE orders ALTER a TYPE int", [("column", "orders", "a")]),
        ("DELETE FROM orders WHERE a", [("deleted", "orders", "")]),
        ("TRUNCATE a, b", [("emptied", "a", ""), ("emptied", "b", "")]),
        ("DROP SCHEMA shop CASCADE", [("other", "", "")]),
        ("DO $$ BEGIN END $$", [("unknown", "", "")]),
        ("DROP TABLE a, b CASCADE", [("table", "a", ""), OTHER, ("table", "b", "")]),
        ("TRUNCATE ONLY a CASCADE", [("emptied", "a", ""), OTHER]),
        ("ALTER TABLE a DROP b CASCADE", [("column", "a", "b"), OTHER]),
        ("ALTER TABLE a DROP CONSTRAINT b CASCADE", [OTHER]),
        ("DROP TYPE mood CASCADE", [OTHER]),
        ("DROP TYPE mood", []),
        ("DROP FUNCTION f CASCADE", [OTHER]),
        ("DROP SEQUENCE s", [OTHER]),
        ("DROP EXTENSION hstore", [OTHER]),
        ("DROP OWNED BY erp", [UNKNOWN]),
        ("DROP ROLE app", [UNKNOWN]),
        ("UPDATE orders SET status = 'open' WHERE status = 'held'", [("overwritten", "orders", "status")]),
        (
            'UPDATE ONLY shop.orders AS o SET a = (SELECT b FROM c), "B ü"[2] = 1, c.d = 2 FROM x',
            [("overwritten", "shop.orders", name) for name in ("a", "B ü", "c")],
        ),
        ("UPDATE orders SET (a, b) = (1, 2)", [("overwritten", "orders", "a"), ("overwritten", "orders", "b")]),
        (
            "UPDATE orders SET a = b IS DISTINCT FROM c, d = extract(year FROM e) FROM x",
            [("overwritten", "orders", "a"), ("overwritten", "orders", "d")],
        ),
        ("UPDATE orders", [("overwritten", "orders", "")]),
        ("INSERT INTO orders (a) VALUES (1) ON CONFLICT DO NOTHING", []),
        (
            "INSERT INTO orders (a) SELECT b FROM c ON CONFLICT (a) DO UPDATE SET b = excluded.b WHERE c",
            [("overwritten", "orders", "b")],
        ),
        ("WITH x AS (SELECT 1) UPDATE orders SET a = 1", [UNKNOWN]),
        ("WITH x AS (MERGE INTO a USING b ON c WHEN MATCHED THEN DELETE) SELECT 1", [UNKNOWN]),
        ("SELECT lo_unlink(picture) FROM articles", [UNKNOWN]),
        ("SELECT DropGeometryColumn('orders', 'place')", [UNKNOWN]),
        ("SELECT other.setval('s', 1)", [UNKNOWN]),
        ("INSERT INTO log (a) SELECT purge_orders()", [UNKNOWN]),
        ("INSERT INTO log VALUES (shop.purge_orders()) ON CONFLICT (a) DO NOTHING", [UNKNOWN]),
        ("INSERT INTO log AS l (a, b) VALUES (now(), coalesce(lower('X'), 'y'))", []),
        (
            "INSERT INTO log (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET (b) = (SELECT purge_orders())",
            [("overwritten", "log", "b"), UNKNOWN],
        ),
        ("DELETE FROM log USING x WHERE purge_orders(x.id)", [("deleted", "log", ""), UNKNOWN]),
        ("UPDATE log SET a = purge_orders()", [("overwritten", "log", "a"), UNKNOWN]),
        ("UPDATE log SET a = jsonb_set(a, '{x}', to_jsonb(b)) WHERE id IN (1)", [("overwritten", "log", "a")]),
        ("ALTER TABLE log ALTER a TYPE text USING purge_orders(a)", [("column", "log", "a"), UNKNOWN]),
        ("ALTER TABLE log ALTER a TYPE numeric(4, 2) USING round(a, 2)", [("column", "log", "a")]),
        ("ALTER TABLE log ADD a int DEFAULT purge_orders() CHECK (a > 0), ADD UNIQUE USING INDEX i", [UNKNOWN]),
        ("ALTER TABLE log ADD CONSTRAINT c EXCLUDE USING gist (a WITH =), ALTER a SET DEFAULT f()", []),
        ("CREATE TABLE kept AS SELECT purge_orders()", [UNKNOWN]),
        ("CREATE TABLE kept (a, b) WITH (fillfactor = 70) AS (SELECT purge_orders())", [UNKNOWN]),
        ("CREATE TABLE kept AS WITH x AS (DELETE FROM log RETURNING *) SELECT * FROM x", [UNKNOWN]),
        ("CREATE TABLE kept AS EXECUTE purge", [UNKNOWN]),
        ("CREATE MATERIALIZED VIEW v AS SELECT purge_orders() WITH DATA", [UNKNOWN]),
        ("CREATE TABLE kept AS SELECT count(*) FROM log", []),
        ("CREATE TABLE kept (a int GENERATED ALWAYS AS (b * 2) STORED, b numeric(4, 2))", []),
        ("SELECT pg_catalog.setval('s', (SELECT coalesce(max(id), 1) FROM orders))", []),
        ("WITH x (a) AS (SELECT 1) SELECT count(*) FROM x AS y (b) WHERE b IN (1)", []),
        ("SET search_path TO archive", [UNKNOWN]),
        ("SET work_mem TO '64MB'", []),
        ("SET ROLE app", [UNKNOWN]),
        ("SET SESSION AUTHORIZATION app", [UNKNOWN]),
        ("SET LOCAL session_replication_role TO replica", [UNKNOWN]),
        ("RESET ROLE", []),
        ("WITH x AS (SELECT 1) INSERT INTO shop.orders (a, b) SELECT count(*) FROM x", []),
        ("DROP VIEW v", []),
        ("DROP INDEX i", []),
        ("ALTER TABLE orders DROP CONSTRAINT c", []),
        ("ALTER TABLE orders RENAME a TO b", []),
    ],
)
def test_what_a_statement_takes_away(sql: str, what: list[tuple[str, str, str]]) -> None:
    found = [(one.kind, one.table, one.column) for one in losses([rendered(sql)])]
    assert [one for one in found if one[0] != "inserted"] == what


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("INSERT INTO shop.orders VALUES (1)", ["shop.orders"]),
        ("INSERT INTO orders (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2", ["orders"]),
        ("WITH x AS (INSERT INTO a VALUES (1) RETURNING *) INSERT INTO b SELECT * FROM x", ["a", "b"]),
        ("CREATE TABLE orders (a int); INSERT INTO orders VALUES (1)", []),
    ],
)
def test_rows_that_are_added_may_set_something_off(sql: str, tables: list[str]) -> None:
    assert [one.table for one in losses([rendered(sql)]) if one.kind == "inserted"] == tables


def test_what_the_way_down_makes_itself_is_no_loss() -> None:
    assert losses([rendered("CREATE TABLE copy (a int)", "DROP TABLE copy")]) == ()


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE IF NOT EXISTS orders (a int)",
        "CREATE TABLE orders (a int); ALTER TABLE orders RENAME TO copy; ALTER TABLE customers RENAME TO orders",
        "CREATE TABLE orders (a int); ALTER TABLE orders SET SCHEMA shop",
        "CREATE TABLE orders (a int); DROP TABLE orders",
        "CREATE TABLE x (a int); ALTER TABLE x RENAME a TO orders",
        "CREATE TABLE shop.orders (a int)",
    ],
)
def test_a_table_that_may_have_been_there_is_not_the_way_downs_own(made: str) -> None:
    lost = losses([rendered(*made.split("; "), "DROP TABLE orders", "UPDATE orders SET a = 1")])
    assert [(one.kind, one.table) for one in lost] == [("table", "orders"), ("overwritten", "orders")]


@pytest.mark.parametrize(
    "name",
    ["ALTER TABLE copy RENAME TO kept", "ALTER TABLE copy SET SCHEMA kept"],
)
def test_what_was_made_is_known_by_its_new_name(name: str) -> None:
    drop = "DROP TABLE kept" if "RENAME" in name else "DROP TABLE kept.copy"
    assert losses([rendered("CREATE TABLE copy (a int)", name, drop)]) == ()


def test_a_column_that_the_way_down_makes_itself_may_be_filled() -> None:
    fill = "UPDATE orders SET old = new WHERE new IS NOT NULL"
    assert losses([rendered("ALTER TABLE orders ADD old text", fill, "ALTER TABLE orders DROP old")]) == ()
    (one,) = losses([rendered("ALTER TABLE orders ADD COLUMN IF NOT EXISTS old text", fill)])
    assert str(replace(one, rows=3)) == (
        "3 (confirmed up to 3) values of orders.old, overwritten"
        " (0003: UPDATE orders SET old = new WHERE new IS NOT NULL)"
    )
    (cascade,) = losses([rendered("ALTER TABLE orders ADD old text", "ALTER TABLE orders DROP old CASCADE")])
    assert cascade.kind == "other"


def test_what_cannot_be_read_is_a_loss() -> None:
    (one,) = losses([rendered(why="AttributeError: x")])
    assert (one.kind, str(one)) == (
        "unknown",
        "0003 in 0003.py: AttributeError: x: what it takes away is not counted",
    )


def test_where_nothing_is_lost_somebody_has_to_say_so_all_the_same() -> None:
    now = statement()
    assert not now.destructive
    refused = confirmed(now, None, now)
    assert refused is not None
    assert (refused.what, refused.seen) == ("going back is a human's decision", "nobody has confirmed it")
    assert confirmed(now, yes(now), now) is None
    assert str(now) == "database 'erp' of system 7000 goes from 0003 down to 0002; nothing is lost"


ORDERS = Loss("column", "orders", "delivery_date", "0003: ALTER TABLE …", 1240)


def test_a_loss_is_said_with_its_rows_and_needs_somebody() -> None:
    asked = statement(ORDERS)
    assert "1240 (confirmed up to 1400) values of orders.delivery_date (0003: ALTER TABLE …)" in str(asked)
    for nobody in (None, yes(asked).model_copy(update={"by": ""}), yes(asked).model_copy(update={"reason": ""})):
        refused = confirmed(asked, nobody, asked)
        assert refused is not None
        assert refused.seen == "nobody has confirmed it"
    assert confirmed(asked, yes(asked), asked) is None


def test_a_confirmation_is_for_one_statement_and_for_no_more_than_it_says() -> None:
    asked = statement(ORDERS)
    a_few_more = statement(replace(ORDERS, rows=1400))
    many_more = statement(replace(ORDERS, rows=1401))
    another = statement(ORDERS, Loss("table", "notes", "", "0003: DROP TABLE notes", 0))
    uncounted = statement(replace(ORDERS, rows=None))
    assert confirmed(asked, yes(asked), a_few_more) is None
    for now in (many_more, another, uncounted):
        refused = confirmed(asked, yes(asked), now)
        assert refused is not None
        assert "more than what anna has confirmed" in refused.seen
    refused = confirmed(asked, yes(another), asked)
    assert refused is not None
    assert refused.seen == "anna has confirmed another statement"


def test_a_statement_is_the_same_after_it_was_recorded() -> None:
    asked = statement(ORDERS, Loss("unknown", "", "", "0003: DO …"))
    again = WayBackLoss.from_record(json.loads(json.dumps(asked.record())))
    assert (again, again.digest) == (asked, asked.digest)


@pytest.mark.parametrize(
    ("asked", "now", "same"),
    [
        ("0003: DELETE FROM t WHERE at < 1764155949.5", "0003: DELETE FROM t WHERE at < 1764155999", True),
        ("0003 in 3.py: TypeError: <C at 0x7f01>", "0003 in 3.py: TypeError: <C at 0x7fab>", True),
        ("0003: DELETE FROM t1", "0003: DELETE FROM t2", False),
        ("0003: DELETE FROM t", "0004: DELETE FROM t", False),
    ],
)
def test_numbers_that_are_others_each_time_void_no_confirmation(asked: str, now: str, *, same: bool) -> None:
    one, other = (statement(Loss("deleted", "t", "", place, 3)) for place in (asked, now))
    assert (confirmed(one, yes(one), other) is None, one.digest == other.digest) == (same, same)
    assert asked in str(WayBackLoss.from_record(json.loads(json.dumps(one.record()))))


def test_a_confirmation_is_for_one_database_and_one_way() -> None:
    asked = statement(ORDERS)
    for now in (
        replace(asked, identity=HERE.model_copy(update={"name": "other"})),
        replace(asked, recorded=frozenset()),
        replace(asked, current=frozenset({"0004"})),
    ):
        refused = confirmed(asked, yes(asked), now)
        assert refused is not None
        assert "another way" in refused.seen


@given(st.integers(0, 10**9))
def test_what_is_confirmed_is_never_less_than_what_was_counted(rows: int) -> None:
    at_most = replace(ORDERS, rows=rows).at_most
    assert at_most is not None
    assert rows <= at_most <= max(rows * 1.3, rows + 1)


def test_a_downgrade_that_does_nothing_is_no_way_back() -> None:
    forward = [rendered("DROP TABLE a"), rendered(revision="0002")]
    refused = refuse_unknown_way([rendered(), rendered(revision="0002")], forward)
    assert refused is not None
    assert refused.seen == "0003 (0003.py)"
    assert refuse_unknown_way([rendered("CREATE TABLE a ()")], forward) is None


def test_the_other_direction() -> None:
    assert reverse((Step("a", up=True), Step("b", up=True))) == (Step("b", up=False), Step("a", up=False))
