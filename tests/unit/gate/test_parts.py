"""What an approval covers in words, and what differs."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from include.gate.parts import LONGEST_TEXT, MOST_LINES, covered_parts, difference

scalars = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=60))
trees = st.recursive(
    scalars, lambda inner: st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=3), max_leaves=8
)
contents = st.dictionaries(st.sampled_from(["image", "watch_seconds", "roles", "covers"]), trees)


def content(**more: Any) -> dict[str, Any]:
    values = {"replicas": 3, "image": {"tag": "3.0.0"}}
    return {"values": {"blue": values, "green": {**values, "color": "green"}}, "watch_seconds": 20.0, **more}


def test_a_value_that_both_slots_have_is_one_part() -> None:
    parts = covered_parts(content())
    assert parts["values.replicas"] == "3"
    assert parts["values.green.color"] == "green"
    assert "values.blue.replicas" not in parts


def test_what_differs_is_told_with_both_values() -> None:
    before, now = covered_parts(content()), covered_parts(content(watch_seconds=21.0, chart_digest="ab" * 32))
    assert difference(before, now) == ("chart_digest: nothing → abababababab", "watch_seconds: 20 → 21")
    assert difference(before, before) == ()


def test_a_long_difference_is_counted() -> None:
    lines = difference({}, {f"value{number:02}": "x" for number in range(50)})
    assert len(lines) == MOST_LINES
    assert lines[-1] == f"and {50 - MOST_LINES + 1} more"


def test_a_secret_is_never_told_and_a_changed_one_still_differs() -> None:
    values = ({"db": {"password": word, "url": f"postgres://u:{word}@db/erp"}} for word in ("hunter2", "hunter3"))
    before, now = (covered_parts({"values": {"blue": value}}) for value in values)
    assert "hunter" not in str((before, now))
    assert len(difference(before, now)) == 2


@given(before=contents, now=contents)
def test_every_difference_is_found_and_fits_on_a_line(before: dict[str, Any], now: dict[str, Any]) -> None:
    one, two = covered_parts(before), covered_parts(now)
    assert all(len(text) <= LONGEST_TEXT for text in (*one.values(), *two.values()))
    assert all("\n" not in line for line in difference(one, two))
    assert (difference(one, two) == ()) == (one == two)
