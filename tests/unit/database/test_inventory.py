"""In which ways two databases differ, each way with its sentence; what was not counted is not known."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from include.database.inventory import LARGE_OBJECTS, Inventory, Thing, compare

KINDS = ("schema", "table", "partition", "column", "constraint", "index", "sequence", "enum")
THINGS = st.lists(
    st.builds(
        Thing,
        kind=st.sampled_from(KINDS),
        name=st.sampled_from(["a", "b", 'ü."x y"']),
        definition=st.sampled_from(["", "one", "two"]),
        entry=st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9)),
    ),
    unique_by=lambda thing: (thing.kind, thing.name),
    max_size=8,
).map(tuple)
COUNTS = st.dictionaries(st.sampled_from(["a", "b", LARGE_OBJECTS]), st.none() | st.integers(0, 3), max_size=3)
INVENTORIES = st.builds(Inventory, things=THINGS, sequences=COUNTS, rows=COUNTS)


def inventory(*things: tuple[str, str, str], **more: object) -> Inventory:
    made = tuple(Thing(kind=kind, name=name, definition=text) for kind, name, text in things)
    return Inventory.model_validate({"things": made, "sequences": {}, "rows": {}, **more})


@given(INVENTORIES)
def test_everything_equals_itself_whatever_its_numbers_in_the_catalogue(one: Inventory) -> None:
    elsewhere = one.model_copy(update={"things": tuple(t.model_copy(update={"entry": None}) for t in one.things)})
    found = compare(one, elsewhere)
    assert found.differences == ()
    assert found.verdict == ("UNKNOWN" if None in one.rows.values() else "EQUAL")


@given(INVENTORIES, INVENTORIES)
def test_equal_means_the_same_things(one: Inventory, two: Inventory) -> None:
    def definitions(of: Inventory) -> dict[tuple[str, str], str]:
        return {(thing.kind, thing.name): thing.definition for thing in of.things}

    differing = {key for key, _ in definitions(one).items() ^ definitions(two).items()}
    found = compare(one, two)
    assert {(d.kind, d.name) for d in found.differences if d.kind in KINDS} == differing
    assert len(found.sentences) == len(found.differences) + bool(found.unknown)


@given(INVENTORIES)
def test_it_is_read_as_it_was_written(one: Inventory) -> None:
    assert Inventory.model_validate(json.loads(one.model_dump_json())) == one


def test_every_difference_has_its_sentence() -> None:
    before = inventory(
        ("table", "a", "x"), ("column", "a.b", "integer"), rows={"a": 1}, sequences={"s": 5, "t": None}
    )
    after = inventory(("column", "a.b", "text"), ("index", "i", ""), rows={"a": 2}, sequences={"s": 4, "t": 1})
    assert compare(before, after).sentences == (
        "column a.b is 'text', it was 'integer'",
        "index i is there and was not before",
        "table a is missing",
        "sequence s is at 4, it was at 5",
        "a has 2 rows, it had 1",
    )
    assert compare(before, after).verdict == "DIFFERENT"


def test_a_sequence_may_be_further_in_its_own_direction_only() -> None:
    down = ("sequence", "s", "start -1; increment -1; minimum -9")
    for definition, then, now, fine in (
        (("sequence", "s", "start 1; increment 1; minimum -9"), 5, 6, True),
        (("sequence", "s", "start 1; increment 1; minimum -9"), 5, 4, False),
        (down, -5, -6, True),
        (down, -5, -4, False),
        (down, -5, None, False),
    ):
        found = compare(inventory(definition, sequences={"s": then}), inventory(definition, sequences={"s": now}))
        assert (found.verdict == "EQUAL") is fine


def test_what_was_not_counted_is_told() -> None:
    found = compare(inventory(rows={"a": 1, "b": None}), inventory(rows={"a": 1, "b": 7}))
    assert (found.verdict, found.sentences) == ("UNKNOWN", ("not counted, so not compared: b",))


def test_long_definitions_are_cut_in_sentences_only() -> None:
    found = compare(inventory(("view", "v", "x" * 999)), inventory(("view", "v", "x" * 998 + "y")))
    assert len(found.differences) == 1
    assert len(found.sentences[0]) < 500
