"""A schema has one fingerprint, and says what is new, gone and changed in another one."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from include.database.schema import Schema, changes

OBJECTS = st.dictionaries(st.sampled_from(["table a", "table b", "index ü"]), st.sampled_from(["", "x", "y"]))
BEFORE = Schema({"table public.t": "p", "index public.i": "old"}, invalid=("public.i",))


@given(OBJECTS, OBJECTS)
def test_no_difference_is_one_fingerprint(one: dict[str, str], two: dict[str, str]) -> None:
    assert (Schema(one).fingerprint == Schema(two).fingerprint) is (one == two)
    assert (Schema(one).differences(Schema(two)) == ()) is (one == two)


@given(OBJECTS, OBJECTS)
def test_changes_lead_from_the_one_to_the_other(one: dict[str, str], two: dict[str, str]) -> None:
    became = dict(one)
    for name, mark in changes(one, two):
        if mark == "-":
            del became[name]
        else:
            assert (name in one) is (mark == "~")
            became[name] = two[name]
    assert became == two


def test_a_fingerprint_does_not_know_an_order() -> None:
    assert BEFORE.fingerprint == Schema(dict(reversed(BEFORE.objects.items()))).fingerprint
    assert BEFORE.fingerprint != Schema({**BEFORE.objects, "table public.u": ""}).fingerprint


def test_it_is_read_as_it_was_recorded() -> None:
    assert Schema.from_record(json.loads(json.dumps(BEFORE.record()))) == BEFORE


def test_each_difference_is_marked() -> None:
    other = Schema({"table public.t": "q", "table public.u": ""})
    assert BEFORE.differences(other) == ("- index public.i", "~ table public.t", "+ table public.u")
