"""squawk's documented answer in our words, and what the real program says."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from include.errors import TreeUnusable
from include.migration.finding import Finding
from include.migration.squawk import as_file, find, findings, not_asked, squawk
from include.migration.tree import Rendered

REVISION = Rendered(
    "0002",
    "versions/0002.py",
    (("CREATE TABLE a (\n id INT\n);", 11), ("ALTER TABLE b ADD COLUMN c INT NOT NULL;", 14)),
)
ANSWER = [
    {
        "file": "stdin",
        "line": 1,
        "column": 18,
        "level": "Warning",
        "message": "Adding a new column that is `NOT NULL` …",
        "help": "Make the field nullable",
        "rule_name": "adding-required-field",
        "column_end": 40,
        "line_end": 1,
    }
]


def test_a_violation_names_the_line_of_the_revision_and_the_statement() -> None:
    text, lines = as_file(REVISION)
    assert text.count("\n") == 2
    (one,) = findings(json.dumps(ANSWER), REVISION, lines)
    assert (one.rule, one.severity) == ("squawk:adding-required-field", "warn")
    assert (one.file, one.line, one.revision) == ("versions/0002.py", 14, "0002")
    assert one.operation == "ALTER TABLE b ADD COLUMN c INT NOT NULL"
    assert one.remedy == "Make the field nullable"


def test_what_it_cannot_parse_is_unknown() -> None:
    (one,) = findings(json.dumps([{**ANSWER[0], "rule_name": "syntax-error", "help": None}]), REVISION, ())
    assert (one.severity, one.line) == ("unknown", 0)


@pytest.mark.parametrize("answer", ["{}x", '[{"line": 1}]', '["a"]'])
def test_an_answer_of_another_kind_is_refused(answer: str) -> None:
    with pytest.raises(TreeUnusable):
        findings(answer, REVISION, ())


def test_that_it_was_not_asked_is_said_where_there_was_something_to_ask() -> None:
    assert [(one.rule, one.severity) for one in not_asked([REVISION])] == [("squawk:not-asked", "warn")]
    assert not_asked([Rendered("0003", "versions/0003.py", ())]) == ()


# -- the real program ----------------------------------------------------------------------------------------


def asked(*statements: str) -> tuple[Finding, ...]:
    program = find()
    assert program is not None
    lines = tuple((one, number) for number, one in enumerate(statements, 11))
    return squawk(program, [Rendered("0003", "versions/0003.py", lines)], server_version=160013)


def test_the_real_squawk_finds_it() -> None:
    program = find()
    assert program is not None
    found = squawk(program, [REVISION], server_version=160013)
    assert [(one.rule, one.severity, one.line) for one in found] == [("squawk:adding-required-field", "warn", 14)]
    assert found[0].operation == "ALTER TABLE b ADD COLUMN c INT NOT NULL"
    assert found[0].remedy


def test_what_is_outside_of_a_transaction_is_seen_as_such() -> None:
    index = 'CREATE INDEX CONCURRENTLY "ö" ON t (x);'
    assert asked("COMMIT;", index, "BEGIN;", "ALTER TABLE t ADD COLUMN y INT;") == ()
    (found,) = asked("ALTER TABLE t ADD COLUMN y INT;", index)
    assert (found.rule, found.line) == ("squawk:ban-concurrent-index-creation-in-transaction", 12)


def test_the_real_squawk_cannot_parse_everything() -> None:
    found = asked("SELECT 1;", "ALTER TABEL t;")
    assert found
    assert {(one.rule, one.severity, one.line) for one in found} == {("squawk:syntax-error", "unknown", 12)}


def test_nothing_around_it_changes_what_it_looks_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".squawk.toml").write_text('excluded_rules = ["adding-required-field"]\npg_version = "x"\n')
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    (found,) = asked("-- squawk-ignore-file\nALTER TABLE b ADD COLUMN c INT NOT NULL;")
    assert found.rule == "squawk:adding-required-field"
    assert asked() == ()
