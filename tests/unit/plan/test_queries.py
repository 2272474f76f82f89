"""Queries of the plan's own: which names are filled in, and which are a mistake."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from include.plan.queries import NAMES, check_query, fill_query
from include.plan.rules import NamedRule, Rule

VALUES = dict.fromkeys(NAMES, "v")


@pytest.mark.parametrize("query", ["up", 'up{a=~"x$"}', 'up{a=~"x$|y"}', "rate(x{$selector}[$window])", "$$name"])
def test_what_may_stand_in_a_query(query: str) -> None:
    assert check_query(query) == query


@pytest.mark.parametrize(
    ("query", "name"), [("up{a='$solt'}", "solt"), ("${window_seconds}", "window_seconds"), ("${}", "")]
)
def test_an_unknown_name_is_refused_by_its_name(query: str, name: str) -> None:
    with pytest.raises(ValueError, match=rf"names \${name}, and only \$slot"):
        check_query(query)


def test_a_rule_with_a_misspelt_name_is_no_rule():
    with pytest.raises(ValidationError, match="solt"):
        Rule(limit=1, query="up{version='$solt'}")
    assert NamedRule(name="queue", limit=1, query="max(queue{$selector})").query


@given(st.lists(st.sampled_from(["a", "$", "$$", "{", "}", " ", "$slot", "${window}", "$other"]), max_size=8))
def test_whatever_passes_can_be_filled(parts: list[str]) -> None:
    query = "".join(parts)
    assume(_passes(query))
    assert "v" in fill_query(query, VALUES) or not {"$slot", "${window}"} & set(parts) or "$$" in query


def _passes(query: str) -> bool:
    try:
        return check_query(query) == query
    except ValueError:
        return False


def test_values_are_not_filled_in_again():
    assert fill_query("$slot", {**VALUES, "slot": "$window"}) == "$window"
