"""A ledger as lines of text says what the ledger says, damage included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import LedgerError
from include.ledger.examination import examine
from include.ledger.export import exported, imported, read_export
from tests.unit.ledger.tampering import CASES, WAYS
from tests.unit.ledger.test_tampering import heads_of, told, written


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_what_was_exported_is_read_back(contents: list[str]) -> None:
    chain = written(contents)
    assert imported([exported(entry) for entry in chain]) == tuple(chain)


@pytest.mark.parametrize(("name", "at"), [case for case in CASES if case[0] != "changed-payload-spaced"])
def test_an_export_shows_the_same_damage(name: str, at: int) -> None:
    chain = written(["same"] * 6)
    tampered = WAYS[name].tamper(chain, at)
    again = imported([exported(entry) for entry in tampered])
    assert told(examine(again, heads_of(chain))) == told(examine(tampered, heads_of(chain)))


def test_spaces_inside_a_payload_do_not_survive_an_export_and_say_nothing() -> None:
    (entry,) = written(["x"])
    spaced = replace(entry, payload_json=entry.payload_json + " ")
    assert imported([exported(spaced)]) == (entry,)


@pytest.mark.parametrize("line", ["nonsense", "[]", "{}", '{"sequence": 1}', "null"])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "ledger.jsonl"
    file.write_text(f"{exported(written(['x'])[0])}\n\n{line}\n")
    with pytest.raises(LedgerError, match="line 3 is no entry"):
        read_export(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="the export cannot be read"):
        read_export(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(LedgerError, match="the export cannot be read"):
        read_export(tmp_path / "binary")
