"""Markdown becomes one page that loads nothing."""

from __future__ import annotations

from include.report.html import page


def test_raw_html_is_shown_as_text() -> None:
    text = page("<script>alert(1)</script>\n\na <b>bold</b> word", title="</title><script>")
    assert "<script>" not in text
    assert "<b>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_picture_stands_for_its_image_and_others_become_their_text() -> None:
    text = page("![ours](a.svg) ![theirs <x>](http://x/b.svg)", title="t", pictures={"a.svg": "<svg></svg>"})
    assert "<svg></svg>" in text
    assert "theirs &lt;x&gt;" in text
    assert "<img" not in text
    assert "http://x" not in text


def test_tables_are_tables() -> None:
    assert "<td>1</td>" in page("| a |\n|---|\n| 1 |\n", title="t")
