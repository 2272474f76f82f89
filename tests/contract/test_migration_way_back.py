"""Surveys of real trees and databases, and the way back with what it destroys."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.database.confirmation import LossConfirmation
from include.errors import LossNotConfirmed, MigrationRefused
from include.migration import squawk
from include.migration.apply import Migration
from include.migration.observe import connection, state
from include.migration.policy import Acceptance, Policy, decide
from include.migration.preflight import HEADS
from include.migration.way_back import confirmed
from include.sandbox.postgres import Postgres
from tests.contract.migrations import QUICK, World, surveyed, surveyed_back, world
from tests.contract.trees import concurrently, revision, sql, tree

FIRST = {"a": revision("a", None, sql("CREATE TABLE orders (id int)"), sql("DROP TABLE orders"))}
LINE = FIRST | {
    "b": revision("b", "a", sql('ALTER TABLE orders ADD "Größe" text'), sql('ALTER TABLE orders DROP "Größe"')),
    "c": revision("c", "b", sql("CREATE TABLE notes (id int)"), sql("DROP TABLE notes")),
}


@pytest.fixture
def erp(server: Postgres) -> World:
    return world(server, "erp")


def migrate(given: World, folder: Path, revisions: dict[str, str]) -> None:
    found = surveyed(tree(folder, revisions), given.database, target=HEADS)
    Migration(found.job("first", limits=QUICK), given.database).run()


def test_a_way_down_that_no_retry_ends_is_told_before(erp: World, tmp_path: Path) -> None:
    migrate(erp, tmp_path / "old", FIRST)
    built = concurrently("CREATE INDEX CONCURRENTLY i ON orders (id)")
    for down, told in (("i", ["way-back-not-repeatable"]), ("IF EXISTS i", [])):
        back = concurrently(f"DROP INDEX CONCURRENTLY {down}")
        given = tree(tmp_path / down, FIRST | {"b": revision("b", "a", built, back)})
        found = [one.rule for one in surveyed(given, erp.database).findings]
        assert [rule for rule in found if rule.startswith("way-back")] == told


def test_a_survey_is_the_whole_way_up_and_down(erp: World, tmp_path: Path) -> None:
    migrate(erp, tmp_path / "old", FIRST)
    given = tree(tmp_path, LINE)
    with connection(erp.database) as opened:
        here = state(opened).identity
    found = surveyed(given, erp.database, backup=here)
    assert (decide(found.findings, Policy()).error(), found.way_back) == (None, None)
    assert found.digest == surveyed(given, erp.database, backup=here).digest
    done = Migration(found.job("up", limits=QUICK), erp.database).run()

    erp.do(
        """INSERT INTO orders ("Größe") SELECT 'x' FROM generate_series(1, 12)""", "INSERT INTO orders VALUES (1)"
    )
    back = surveyed_back(given, erp.database, found.preflight.current)
    assert [(one.table, one.column, one.rows) for one in back.statement.losses] == [
        ("notes", "", 0),
        ("orders", "Größe", 12),
    ]
    refused = confirmed(back.statement, None, back.statement)
    assert isinstance(refused, LossNotConfirmed)
    assert "12 (confirmed up to 13) values of orders.Größe" in str(refused)
    anna = LossConfirmation(digest=back.statement.digest, by="anna", reason="the outage is worse")

    erp.do("INSERT INTO notes VALUES (1)")
    now = surveyed_back(given, erp.database, found.preflight.current)
    more = confirmed(back.statement, anna, now.statement)
    assert more is not None
    assert "more than what anna has confirmed: 1 (confirmed up to 1) rows of notes" in more.seen
    erp.do("DELETE FROM notes")
    now = surveyed_back(given, erp.database, found.preflight.current)
    assert confirmed(back.statement, anna, now.statement) is None
    ended = Migration(now.job("down", limits=QUICK, expected=found.before), erp.database).run()
    assert ended.state.revisions == {"a"}

    again = surveyed(given, erp.database, backup=here)
    assert again.digest == found.digest
    twice = Migration(again.job("again", limits=QUICK, expected=done.schema), erp.database).run()
    assert twice.schema.fingerprint == done.schema.fingerprint


def test_what_is_overwritten_is_counted_and_what_cannot_be_counted_is_said(erp: World, tmp_path: Path) -> None:
    down = (
        "UPDATE orders SET id = 0 WHERE id > 2",
        "DROP TYPE IF EXISTS mood CASCADE",
        "ALTER TABLE orders DROP x",
    )
    added = revision("b", "a", sql("ALTER TABLE orders ADD x text"), "\n".join(map(sql, down)))
    migrate(erp, tmp_path, FIRST | {"b": added})
    erp.do("INSERT INTO orders SELECT generate_series(1, 4)")
    back = surveyed_back(tree(tmp_path, {}), erp.database, {"a"})
    assert [(one.kind, one.rows) for one in back.statement.losses] == [
        ("overwritten", 4),
        ("other", None),
        ("column", 0),
    ]


def test_rows_that_foreign_keys_take_along_are_counted_too(erp: World, tmp_path: Path) -> None:
    migrate(
        erp, tmp_path, FIRST | {"b": revision("b", "a", sql("SELECT 1"), sql("DELETE FROM orders WHERE id > 1"))}
    )
    erp.do(
        "ALTER TABLE orders ADD PRIMARY KEY (id)",
        'CREATE SCHEMA "Lager ä"',
        """CREATE TABLE "Lager ä"."Posten" (id int, nr int REFERENCES orders ON DELETE CASCADE,
        PRIMARY KEY (id, nr)) PARTITION BY RANGE (id)""",
        """CREATE TABLE "Lager ä".p1 PARTITION OF "Lager ä"."Posten" FOR VALUES FROM (0) TO (100)""",
        """CREATE TABLE marks (id int, nr int, up int REFERENCES orders ON DELETE SET NULL,
        FOREIGN KEY (id, nr) REFERENCES "Lager ä"."Posten" ON DELETE CASCADE)""",
        "CREATE TABLE kept (id int REFERENCES orders)",
        'CREATE TABLE "a.b" (id int REFERENCES orders ON DELETE CASCADE)',
        "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM kept; RETURN OLD; END'",
        "CREATE TRIGGER also AFTER DELETE ON marks EXECUTE FUNCTION more()",
        "CREATE TRIGGER never AFTER INSERT OR TRUNCATE ON marks EXECUTE FUNCTION more()",
        "CREATE TRIGGER without AFTER UPDATE ON marks EXECUTE FUNCTION more()",
        "INSERT INTO orders SELECT generate_series(1, 3)",
        """INSERT INTO "Lager ä"."Posten" SELECT n, 3 FROM generate_series(1, 5) n""",
        """INSERT INTO marks SELECT n % 5 + 1, 3, 2 FROM generate_series(1, 7) n""",
    )
    back = surveyed_back(tree(tmp_path, {}), erp.database, {"a"})
    lost = [(one.kind, one.table, one.rows) for one in back.statement.losses]
    assert lost == [
        ("deleted", "orders", 3),
        ("deleted", "Lager ä.Posten", 5),
        ("other", "", None),
        ("deleted", "public.marks", 7),
        ("overwritten", "public.marks", 7),
        ("other", "", None),
        ("other", "", None),
    ]
    assert "trigger also of marks" in back.statement.losses[-2].place
    assert "trigger without of marks" in back.statement.losses[-1].place
    assert "ON DELETE SET NULL or DEFAULT (up) of public.marks" in str(back.statement)

    erp.do("INSERT INTO marks SELECT 1, 3, 2 FROM generate_series(1, 9)")
    now = surveyed_back(tree(tmp_path, {}), erp.database, {"a"})
    anna = LossConfirmation(digest=back.statement.digest, by="anna", reason="the outage is worse")
    more = confirmed(back.statement, anna, now.statement)
    assert more is not None
    assert "of public.marks" in more.seen


def test_what_updates_inserts_and_truncates_set_off_is_said(erp: World, tmp_path: Path) -> None:
    down = (
        "UPDATE orders SET id = id + 100",
        "INSERT INTO plain VALUES (1) ON CONFLICT (id) DO UPDATE SET n = 0",
        "INSERT INTO quiet VALUES (1)",
        "TRUNCATE plain",
    )
    migrate(erp, tmp_path, FIRST | {"b": revision("b", "a", sql("SELECT 1"), "\n".join(map(sql, down)))})
    erp.do(
        "ALTER TABLE orders ADD PRIMARY KEY (id), ADD n int UNIQUE",
        "CREATE TABLE marks (id int PRIMARY KEY REFERENCES orders ON UPDATE CASCADE, of int REFERENCES orders (n)"
        " ON UPDATE CASCADE)",
        "CREATE TABLE further (mark int REFERENCES marks ON UPDATE SET NULL)",
        "CREATE TABLE plain (id int PRIMARY KEY, n int)",
        "CREATE TABLE quiet (id int)",
        "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER upd AFTER UPDATE ON further EXECUTE FUNCTION more()",
        "CREATE TRIGGER ins AFTER INSERT ON plain EXECUTE FUNCTION more()",
        "CREATE TRIGGER tru AFTER TRUNCATE ON plain EXECUTE FUNCTION more()",
        "CREATE TRIGGER del AFTER DELETE ON plain EXECUTE FUNCTION more()",
        "CREATE RULE log AS ON UPDATE TO plain DO ALSO DELETE FROM quiet",
        "CREATE TRIGGER off AFTER INSERT ON quiet EXECUTE FUNCTION more()",
        "ALTER TABLE quiet DISABLE TRIGGER off",
        "INSERT INTO orders (id) SELECT generate_series(1, 3)",
        "INSERT INTO marks SELECT generate_series(1, 2)",
        "INSERT INTO further VALUES (1)",
    )
    back = surveyed_back(tree(tmp_path, {}), erp.database, {"a"})
    lost = [(one.kind, one.table, one.rows, one.place.partition(", ")[2]) for one in back.statement.losses]
    assert lost == [
        ("overwritten", "orders", 3, ""),
        ("overwritten", "public.further", 1, "ON UPDATE CASCADE, SET NULL or DEFAULT (mark) of public.further"),
        ("overwritten", "public.marks", 2, "ON UPDATE CASCADE, SET NULL or DEFAULT (id) of public.marks"),
        ("other", "", None, "trigger upd of further"),
        ("other", "", None, "trigger ins of plain"),
        ("overwritten", "plain", 0, ""),
        ("other", "", None, "rule log of plain"),
        ("emptied", "plain", 0, ""),
        ("other", "", None, "trigger tru of plain"),
    ]


def test_findings_stop_it_and_an_acceptance_by_name_lets_it_go_on(erp: World, tmp_path: Path) -> None:
    given = tree(tmp_path, FIRST | {"b": revision("b", "a", sql("ALTER TABLE orders DROP COLUMN id"))})
    migrate(erp, tmp_path / "old", FIRST)
    found = surveyed(given, erp.database)
    error = decide(found.findings, Policy()).error()
    assert isinstance(error, MigrationRefused)
    assert "b.py:12: drops a column that the old version still reads" in error.seen
    accepted = Policy(accepted=(Acceptance("drop-column", "b", "anna", "unused since 2.8"),))
    assert decide(found.findings, accepted).error() is None
    assert isinstance(found.way_back, MigrationRefused)
    assert "b.py" in found.way_back.seen


def test_the_linter_is_asked_with_the_version_of_the_server(erp: World, tmp_path: Path) -> None:
    given = tree(tmp_path, FIRST | {"b": revision("b", "a", sql("CREATE INDEX i ON orders (id)"))})
    migrate(erp, tmp_path / "old", FIRST)
    linted = surveyed(given, erp.database, linter=squawk.find())
    unlinted = surveyed(given, erp.database)
    assert [one.rule for one in linted.findings if one.rule.startswith(squawk.PREFIX)] == [
        "squawk:require-concurrent-index-creation"
    ]
    assert [one.rule for one in unlinted.findings if one.rule.startswith(squawk.PREFIX)] == ["squawk:not-asked"]


def test_a_changed_revision_is_another_approval(erp: World, tmp_path: Path) -> None:
    first = surveyed(tree(tmp_path, LINE), erp.database).digest
    changed = LINE | {"c": LINE["c"].replace("CREATE TABLE notes (id int)", "CREATE TABLE notes (id bigint)")}
    assert surveyed(tree(tmp_path, changed), erp.database).digest != first


def test_the_old_tree_knows_no_way_back(erp: World, tmp_path: Path) -> None:
    migrate(erp, tmp_path, LINE)
    with pytest.raises(MigrationRefused, match="c is not in the tree"):
        surveyed_back(tree(tmp_path / "old", FIRST), erp.database, {"a"})
    with pytest.raises(MigrationRefused, match="future is not in the tree"):
        surveyed_back(tree(tmp_path, LINE), erp.database, {"future"})
    broken = tree(tmp_path, LINE | {"d": "def"})
    with pytest.raises(MigrationRefused, match=r"d\.py"):
        surveyed_back(broken, erp.database, {"a"})


def test_a_recorded_set_of_several_branches_is_reached_exactly(erp: World, tmp_path: Path) -> None:
    migrate(erp, tmp_path, FIRST | {"b": revision("b", "a"), "c": revision("c", "a"), "d": revision("d")})
    assert erp.revisions() == {"b", "c", "d"}
    migrate(erp, tmp_path, {"e": revision("e", ("b", "c")), "f": revision("f", "e", depends="d")})
    assert erp.revisions() == {"f"}
    back = surveyed_back(tree(tmp_path, {}), erp.database, {"b", "c", "d"})
    assert not back.statement.destructive
    ended = Migration(back.job("down", limits=QUICK), erp.database).run()
    assert (ended.state.kind, erp.revisions()) == ("target", {"b", "c", "d"})


def test_a_survey_of_another_database_than_the_backups_has_no_plan(
    erp: World, server: Postgres, tmp_path: Path
) -> None:
    with connection(world(server, "other").database) as opened:
        other = state(opened).identity
    found = surveyed(tree(tmp_path, LINE), erp.database, backup=other)
    assert [one.rule for one in found.findings] == ["wrong-database"]
    assert decide(found.findings, Policy(severities={"wrong-database": "warn"})).error() is not None
    assert found.preflight.plan == ()
