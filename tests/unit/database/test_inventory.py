"""In which ways two databases differ, each way with its sentence; what was not counted is not known."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from include.database.inventory import LARGE_OBJECTS, Inventory, Thing, compare, schema_of

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
    assert found.uncounted == ()
    found = compare(inventory(rows={"a": 1, "b": None}), inventory(rows={"a": None, "b": None}))
    assert (found.verdict, found.unknown, found.uncounted) == ("UNKNOWN", ("a", "b"), ("a",))


def test_another_owner_is_another_thing_and_the_same_schema() -> None:
    one = Thing(kind="table", name="a", definition="p", owner="anna", relation="a")
    other = one.model_copy(update={"owner": "berta"})
    before, after = (Inventory(things=(thing,), sequences={}, rows={}) for thing in (one, other))
    assert compare(before, after).sentences == ("table a is 'owner berta; p', it was 'owner anna; p'",)
    assert schema_of([one]) == schema_of([other])


def test_what_no_archive_holds_is_schema_and_not_compared() -> None:
    index = Thing(kind="index", name="public.i", definition="CREATE INDEX i; invalid", dumped=False)
    before = Inventory(things=(index,), sequences={}, rows={})
    assert compare(before, inventory()).verdict == compare(inventory(), before).verdict == "EQUAL"
    assert schema_of(before.things, ["public.i"]).objects == {"index public.i": "CREATE INDEX i; invalid"}
    assert schema_of(before.things, ["public.i"]).invalid == ("public.i",)


def test_privileges_and_version_tables_are_no_schema() -> None:
    def part(kind: str, name: str, relation: str) -> Thing:
        return Thing(kind=kind, name=name, definition="x", relation=relation)

    things = [
        part("table", "public.v", "public.v"),
        part("column", "public.v.version_num", "public.v"),
        part("constraint", "public.v.v_pkc", "public.v"),
        part("index", "public.v_pkc", "public.v"),
        part("table", "public.w", "public.w"),
        part("column", "public.w.version_num", "public.w"),
        part("column", "public.w.more", "public.w"),
        part("view", "public.x", "public.x"),
        part("column", "public.x.version_num", "public.x"),
        part("privileges", "public.w", "public.w"),
    ]
    assert set(schema_of(things).objects) == {
        *("table public.w", "column public.w.version_num", "column public.w.more"),
        *("view public.x", "column public.x.version_num"),
    }


def test_no_archive_says_which_version_an_extension_had() -> None:
    before = inventory(("extension", "vector", "version 0.8.4"), ("extension", "citext", "version 1"))
    after = inventory(("extension", "vector", "version 0.8.5"), ("extension", "citext", "version 1"))
    found = compare(before, after)
    assert (found.verdict, found.sentences) == ("EQUAL", ())
    (note,) = found.notes
    assert note.startswith("extension vector is version 0.8.5, it was version 0.8.4: ")
    assert schema_of(before.things) == schema_of(after.things)
    assert compare(before, inventory()).verdict == "DIFFERENT"
    assert schema_of(before.things) != schema_of(())


def test_long_definitions_are_cut_in_sentences_only() -> None:
    found = compare(inventory(("view", "v", "x" * 999)), inventory(("view", "v", "x" * 998 + "y")))
    assert len(found.differences) == 1
    assert len(found.sentences[0]) < 500
