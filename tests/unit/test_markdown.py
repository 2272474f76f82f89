"""Words within Markdown are shown as they are, wherever they stand."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from include.markdown import literal, shown
from include.messages.limits import one_line
from tests.unit.messages.test_hostile import HOSTILE
from tests.unit.rendered import elements, text_of

MARKS = st.lists(st.sampled_from(list("*_~`[]()<>&!|\\#+-=.:;1a \n\t")), max_size=24).map("".join)
WORDS = HOSTILE | MARKS | st.text(max_size=40)
PLACES = {
    "- {}": {"ul", "li"},
    "{}": {"p"},
    "> {}": {"blockquote", "p"},
    "- ☐ {}: yours": {"ul", "li"},
    "before {} after": {"p"},
    "| a |\n|---|\n| {} |": {"table", "thead", "tbody", "tr", "th", "td"},
}


@given(WORDS, st.sampled_from(sorted(PLACES)))
@example("# head", "- {}")
@example("1. one", "- {}")
@example("---", "{}")
@example("a__b__c _d_", "{}")
@example("&lt;b&gt;", "{}")
@example("&amp", "- ☐ {}: yours")
@example("\\", "| a |\n|---|\n| {} |")
def test_words_are_shown_and_mean_nothing(words: str, place: str) -> None:
    page = place.format(literal(words))
    assert elements(page) <= PLACES[place]
    assert one_line(words) in text_of(page)


@pytest.mark.parametrize(
    "plain",
    [
        "warning: public.orders_2: 12 rows before, 11 after",
        "3 values of orders.delivery_date (c.py:3)",
        '2.9.0 → 3.0.0, 50% & more: it\'s "fine"!',
        "values.blue.replicas: 3 → 4",
    ],
)
def test_what_has_no_marks_stays_readable_in_the_log(plain: str) -> None:
    assert literal(plain) == plain


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("https://ci.example/run?a=1&b_c=2#x", "https\\://ci.example/run?a=1&b_c=2#x"),
        ("HTTP://evil/_x_", "HTTP\\://evil/\\_x\\_"),
        ("www.evil", "www\\.evil"),
    ],
)
def test_an_address_is_seen_as_one_only_when_its_text_is_finished(address: str, written: str) -> None:
    """Or it would swallow the backslashes within it, and what they are for would mean something again."""
    assert (literal(address), text_of(literal(address)).strip()) == (written, address)


@given(WORDS)
def test_no_tag_is_left(words: str) -> None:
    assert "<" not in literal(f"http://evil/{words}")


@given(WORDS)
def test_what_is_shown_of_literal_words_are_the_words(words: str) -> None:
    assert "".join(shown(literal(words))) == literal(words)
    seen = [{"&lt;": "<", "&amp;": "&"}.get(one, one[-1]) for one in shown(literal(words))]
    assert "".join(seen) == re.sub(r"&lt;|&amp;", lambda found: found[0], one_line(words))
