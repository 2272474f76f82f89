"""What an approval of a migration is bound to."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from include.database.facts import DatabaseIdentity
from include.database.schema import Schema
from include.migration.survey import Survey
from include.migration.tree import Inspection, Rendered, Revision, Step

HERE = DatabaseIdentity(system_identifier="7000", name="erp")
STEP = Step("0003", up=True)
FILE = Revision("0003", "0003.py", digest="f")
INSPECTION = Inspection("1.16", "3.11", "env.py", "e", "d", None, (FILE,), ())
PREFLIGHT = SimpleNamespace(identity=HERE, current=frozenset({"0002"}), target=frozenset({"0003"}), plan=(STEP,))


def surveyed(*sql: str, why: str = "", line: int = 0, **changes: Any) -> Survey:
    one = Rendered("0003", "0003.py", tuple((text, 1) for text in sql), why, line)
    found = Survey(
        cast(Any, None), INSPECTION, cast(Any, PREFLIGHT), (one,), (), Schema({"table a": "x"}), (), None
    )
    return replace(found, **changes)


def test_values_that_are_others_each_time_are_no_change() -> None:
    at_nine = surveyed("INSERT INTO t VALUES ('2026-11-26 09:00:00', 17, E'a\\'b')")
    at_ten = surveyed("INSERT INTO t VALUES ('2026-11-26 10:00:00', 1.5, 'c')")
    assert at_nine.digest == at_ten.digest
    assert surveyed(why="x at 0x1", line=9).digest == surveyed(why="x at 0x2", line=9).digest


@pytest.mark.parametrize(
    "other",
    [
        surveyed("INSERT INTO u VALUES ('a')"),
        surveyed("INSERT INTO t VALUES ('a', 'b')"),
        surveyed("INSERT INTO t VALUES ('a')", "DROP TABLE t"),
        surveyed("INSERT INTO t VALUES ('a')", why="it asks whether there is a database", line=4),
        surveyed("INSERT INTO t VALUES ('a')", before=Schema({})),
        surveyed("INSERT INTO t VALUES ('a')", inspection=replace(INSPECTION, env_digest="other")),
        surveyed("INSERT INTO t VALUES ('a')", inspection=replace(INSPECTION, data_digest="other")),
        surveyed(
            "INSERT INTO t VALUES ('a')", inspection=replace(INSPECTION, revisions=(replace(FILE, digest="o"),))
        ),
    ],
)
def test_whatever_else_is_another_is_a_change(other: Survey) -> None:
    assert surveyed("INSERT INTO t VALUES ('a')").digest != other.digest


def test_a_body_in_dollar_quotes_is_no_value() -> None:
    one, other = (surveyed(f"CREATE FUNCTION f() AS $$ SELECT {what} $$") for what in ("a", "b"))
    assert one.digest != other.digest
