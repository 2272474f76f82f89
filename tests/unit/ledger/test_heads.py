from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from upath import UPath

from include.errors import LedgerError
from include.ledger.entry import Head
from include.ledger.heads import heads_quoted_in, note_head, noted_heads, quoted_heads, read_head

T = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE, TWO = Head(1, "1" * 64), Head(12, "2" * 64)


def test_heads_are_noted_once_and_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    file = note_head(folder, TWO, T)
    written = file.read_text()
    assert note_head(folder, TWO, T.replace(hour=13)).read_text() == written
    note_head(folder, ONE, T)
    assert noted_heads(folder) == (ONE, TWO)
    assert read_head(file) == TWO


def test_two_heads_of_one_sequence_are_both_kept(tmp_path: Path) -> None:
    other = Head(1, "3" * 64)
    note_head(tmp_path, ONE, T)
    note_head(tmp_path, other, T)
    assert set(noted_heads(tmp_path)) == {ONE, other}


def test_object_storage_works_the_same() -> None:
    folder = UPath("memory://heads/stellwerk")
    note_head(folder, ONE, T)
    assert noted_heads(folder) == (ONE,)


def test_an_empty_or_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no head was noted"):
        noted_heads(tmp_path)
    with pytest.raises(LedgerError, match="cannot be read"):
        noted_heads(tmp_path / "missing")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"sequence": 1, "hash": "x"}', '{"sequence": 1, "hash": null}'])
def test_a_damaged_head_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "head-1.json").write_text(text)
    with pytest.raises(LedgerError, match=r"head-1\.json"):
        noted_heads(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot be noted"):
        note_head(tmp_path / "file", ONE, T)


QUOTED = Head(42, "1a2b3c4d5e6f")


@pytest.mark.parametrize(
    "text",
    [
        "Traffic cutover to green\nLedger 42:1a2b3c4d5e6f\n",
        '{"text": "Traffic cutover to green\\nLedger 42:1a2b3c4d5e6f"}',
        "<p>Traffic cutover<br>\nLedger 42:1a2b3c4d5e6f</p>",
        "Ledger 42:1a2b3c4d5e6f",
    ],
)
def test_heads_are_read_from_what_messages_quote(text: str) -> None:
    assert quoted_heads(text) == (QUOTED,)


def test_a_report_quotes_its_whole_head_in_markdown_and_html() -> None:
    whole = Head(7, "a" * 64)
    assert quoted_heads(f"Ledger-Kopf: `7:{whole.hash}`\n") == (whole,)
    assert quoted_heads(f"<p>Ledger-Kopf: <code>7:{whole.hash}</code></p>") == (whole,)


@pytest.mark.parametrize(
    "text", ["see Ledger 42:1a2b3c4d5e6f", "Ledger 42:1a2b", "Ledger 42:1a2b3c4d5e6g", "Ledger x:1a2b3c4d5e6f", ""]
)
def test_what_stands_inside_a_sentence_or_is_too_short_is_no_head(text: str) -> None:
    assert quoted_heads(text) == ()


def test_a_text_without_a_head_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "mail.txt").write_text("Guten Tag\n")
    with pytest.raises(LedgerError, match="no head is quoted"):
        heads_quoted_in(tmp_path / "mail.txt")
    with pytest.raises(LedgerError, match="cannot be read"):
        heads_quoted_in(tmp_path / "missing")
