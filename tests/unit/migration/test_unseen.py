"""Which revisions may leave something behind that neither revision set nor schema shows."""

from __future__ import annotations

import pytest

from include.migration.tree import Rendered
from include.migration.unseen import unseen

BATCH = "UPDATE orders SET state = 'new' WHERE id BETWEEN 1 AND 1000"


def a_revision(*statements: str, why: str = "") -> Rendered:
    return Rendered("a", "a.py", tuple((sql, line) for line, sql in enumerate(statements, 1)), why)


@pytest.mark.parametrize(
    "statements",
    [
        ("COMMIT;", BATCH, "BEGIN;"),
        ("COMMIT;", "INSERT INTO log VALUES (1)", "BEGIN;"),
        ("COMMIT;", "DELETE FROM orders WHERE id = 1", "BEGIN;"),
        ("COMMIT;", "TRUNCATE log", "BEGIN;"),
        ("COMMIT;", "ALTER TABLE orders OWNER TO somebody", "BEGIN;"),
        ("COMMIT;", "REVOKE SELECT ON orders FROM somebody", "BEGIN;"),
        ("COMMIT;", "SELECT purge_orders()", "BEGIN;"),
        ("COMMIT;", "CREATE INDEX CONCURRENTLY i ON orders (id)", BATCH, "BEGIN;"),
    ],
)
def test_what_changes_rows_owners_or_rights_outside_of_a_transaction(statements: tuple[str, ...]) -> None:
    assert unseen([a_revision(*statements)]) == ("a",)


def test_what_nobody_can_read_beforehand_may_commit_anything() -> None:
    assert unseen([a_revision("ALTER TABLE orders ADD x INT", why="it reads the database")]) == ("a",)


@pytest.mark.parametrize(
    "statements",
    [
        (),
        (BATCH, "ALTER TABLE orders OWNER TO somebody"),
        ("COMMIT;", "CREATE INDEX CONCURRENTLY i ON orders (id)", "BEGIN;", BATCH),
        ("COMMIT;", "ALTER TABLE orders ADD x INT", "VACUUM orders", "BEGIN;"),
    ],
)
def test_what_is_taken_back_with_its_transaction_or_is_seen_in_the_schema(statements: tuple[str, ...]) -> None:
    assert unseen([a_revision(*statements)]) == ()
