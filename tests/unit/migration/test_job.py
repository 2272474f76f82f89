"""A migration as it was decided: positions, declared states, limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from include.database.facts import DatabaseIdentity
from include.database.schema import Schema
from include.errors import (
    ClientFailed,
    DatabaseBusy,
    DatabaseError,
    DatabaseRefused,
    DatabaseUnreachable,
    MigrationBlocked,
    MigrationFailed,
    MigrationInterrupted,
    MigrationRefused,
    WrongDatabase,
)
from include.migration.activity import TAG, Backend, Blocker, tag
from include.migration.failure import failure, may_be_tried_again, of_database
from include.migration.graph import Graph
from include.migration.job import Job, Limits, Outcome, Progress, concurrent_indexes
from include.migration.state import Declared
from include.migration.tree import Rendered, Revision, Tree

GRAPH = Graph((Revision("a", "a.py"), Revision("b", "b.py", ("a",)), Revision("c", "c.py", ("b",))))
BEFORE = Schema({"table public.t": "p", "index public.i": "old"})
ERP = DatabaseIdentity(system_identifier="7", name="erp")


def job(before: Schema | None = BEFORE) -> Job:
    plan = GRAPH.upgrade(["a"], ["c"])
    tree = Tree(Path("/app"), ("/app/python",))
    states = GRAPH.states(["a"], plan)
    return Job("run", tree, GRAPH, ERP, plan, states, before, concurrent=(("c", "j"),))


def test_where_it_stands_is_one_of_the_states() -> None:
    assert [job().position(rows) for rows in (["a"], ["b"], ["c"], ["a", "b"])] == [0, 1, 2, 1]
    assert [job().position(rows) for rows in ([], ["future"])] == [None, None]


def test_the_declared_state_says_old_only_of_the_old_schema() -> None:
    changed = Schema({"table public.t": "p", "index public.i": "new", "index public.j": ""})
    assert job().declare(frozenset({"a"}), BEFORE) == Declared("old", frozenset({"a"}))
    assert job().declare(frozenset({"a"}), changed).kind == "altered"
    assert str(job().declare(frozenset({"a"}), changed)) == "altered, at a, but ~ index public.i, + index public.j"
    assert job().declare(frozenset({"b"}), changed).kind == "between"
    assert job().declare(frozenset({"c"}), changed).kind == "target"
    assert str(job().declare(frozenset({"x"}), None)) == "elsewhere, at x"
    assert str(Declared("unknown")) == "unknown, it gave no answer"


def test_a_way_back_is_told_in_words_of_its_own() -> None:
    plan = GRAPH.downgrade(["c"], ["a"])
    down = replace(job(), plan=plan, states=GRAPH.states(["c"], plan))
    changed = Schema({"table public.t": "p"})
    assert str(down.declare(frozenset("c"), BEFORE)) == "way back not begun, at c"
    assert str(down.declare(frozenset("c"), changed)) == "altered, at c, but - index public.i"
    assert str(down.declare(frozenset("b"), changed)) == "way back not ended, at b"
    assert str(down.declare(frozenset("a"), changed)) == "back, at a"
    assert str(down.declare(frozenset("x"), None)) == "elsewhere, at x"
    assert down.declare(frozenset("a"), changed).kind == "target"


def test_many_differences_are_counted() -> None:
    said = str(Declared("altered", frozenset(), tuple(f"+ {number}" for number in range(12))))
    assert said.endswith("+ 9 and 2 more")


def test_leftovers_are_those_of_steps_that_are_not_done() -> None:
    assert (job().leftovers(0), job().leftovers(1), job().leftovers(2)) == ({"j"}, {"j"}, frozenset())


def test_only_concurrent_indexes_with_a_name_are_known() -> None:
    sql = (
        'CREATE INDEX CONCURRENTLY "i x" ON t (a);',
        "CREATE INDEX j ON t (a)",
        "CREATE INDEX CONCURRENTLY ON t (a)",
    )
    assert concurrent_indexes([Rendered("c", "c.py", tuple((one, 1) for one in sql))]) == (("c", "i x"),)


def test_pauses_grow_up_to_the_longest() -> None:
    limits = Limits(pause=2, longest_pause=10)
    assert [limits.pause_after(attempt) for attempt in (1, 2, 3, 4, 5)] == [2, 4, 8, 10, 10]
    assert Limits(lock=0.5).settings["lock_timeout"] == "500"
    assert Limits(lock=0.5, statement=2).options == (
        "-c lock_timeout=500 -c statement_timeout=2000 -c idle_in_transaction_session_timeout=2000"
    )


def test_a_tag_is_the_runs_own_and_fits() -> None:
    assert tag("a" * 500).startswith(TAG)
    assert len(tag("ä" * 500).encode()) <= 63
    assert tag("a") != tag("b")


def test_progress_says_what_is_done_and_who_is_in_the_way() -> None:
    backend = Backend(1, "active", "Lock: relation", "ALTER TABLE\n  t", 3.2)
    blocker = Blocker(2, "anna", "psql", "10.0.0.1", "idle in transaction", "SELECT 1", 65.0)
    assert Progress("b", (backend,), (blocker,)).shown == (
        "revision b: pid 1 active, waits for Lock: relation since 3 s: ALTER TABLE t;"
        " BLOCKED BY pid 2 of anna 'psql' from 10.0.0.1, idle in transaction, in its transaction"
        " for 65 s: SELECT 1"
    )
    outcome = Outcome(Declared("target"), Schema({}), 1, {}, (blocker,))
    assert outcome.record()["blockers"] == ["pid 2 of anna 'psql'"]
    assert Progress("", (), ()).shown == "revision (none yet): no statement"


# -- failures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["55P03", "40P01", "40001"])
def test_locks_are_tried_for_again(state: str) -> None:
    assert may_be_tried_again({"event": "failed", "kind": "sql", "sqlstate": state})


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"event": "died"}, MigrationInterrupted),
        ({"event": "failed", "kind": "elsewhere", "message": "m"}, WrongDatabase),
        ({"event": "failed", "kind": "sql", "sqlstate": "57014"}, MigrationFailed),
        ({"event": "failed", "kind": "sql", "sqlstate": "57P01"}, MigrationInterrupted),
        ({"event": "failed", "kind": "sql", "sqlstate": "42P07"}, MigrationFailed),
        ({"event": "failed", "kind": "code", "sqlstate": None}, MigrationFailed),
        ({"event": "failed", "kind": "connection", "sqlstate": None}, MigrationInterrupted),
        ({"event": "failed", "kind": "tree"}, MigrationFailed),
    ],
)
def test_each_end_has_its_error(event: dict[str, object], kind: type[Exception]) -> None:
    error = failure(event, {}, Limits(), "old, at a")
    assert type(error) is kind
    assert error.state == "old, at a"
    assert not may_be_tried_again(event)
    assert error.retryable == issubclass(kind, MigrationInterrupted | MigrationBlocked)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (DatabaseUnreachable, MigrationInterrupted),
        (DatabaseBusy, MigrationBlocked),
        (DatabaseRefused, MigrationRefused),
        (DatabaseError, MigrationFailed),
        (ClientFailed, MigrationFailed),
    ],
)
def test_what_the_database_refuses_says_where_it_stands(
    theirs: type[DatabaseError], ours: type[Exception]
) -> None:
    error = of_database(theirs("no", expected="this", seen="that", remedy="act"), "unknown, it gave no answer")
    assert type(error) is ours
    assert error.retryable == theirs.retryable
    assert str(error) == "no; expected: this; seen: that; do: act; the database: unknown, it gave no answer"


def test_a_failure_names_the_revisions_own_line() -> None:
    places = [["/lib/alembic.py", 3], ["/app/b.py", 12], ["<string>", 3], ["/lib/sqlalchemy.py", 9]]
    statement = "SELECT\n 1, 'anna@example.com"
    event = {"event": "failed", "kind": "sql", "message": "no", "statement": statement, "places": places}
    error = failure(event, {"revision": "b", "file": "/app/b.py"}, Limits(), "")
    assert (error.what, error.seen) == (
        "the migration failed at revision b",
        "no in SELECT 1 , '…' from /app/b.py:12",
    )
