from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ledger.chain import GENESIS, digest, head_of, sealed
from include.ledger.entry import Entry, Head, canonical
from include.ledger.examination import Examination, examine

T = datetime(2026, 3, 1, 12, tzinfo=UTC)


def chain_of(length: int, payload: str = "x") -> list[Entry]:
    entries: list[Entry] = []
    for number in range(1, length + 1):
        entry = Entry(
            sequence=number,
            kind="deploy.done",
            release="3.0.0",
            environment="production",
            run_id="run",
            actor="anna",
            key=None,
            at=T + timedelta(seconds=number),
            recorded_at=T + timedelta(seconds=number, milliseconds=5),
            payload_json=canonical({"text": payload, "number": number}),
            previous=entries[-1].hash if entries else GENESIS,
            hash="",
        )
        entries.append(sealed(entry))
    return entries


def damages(examination: Examination) -> list[tuple[str, int]]:
    return [(fault.damage, fault.sequence) for fault in examination.faults]


def test_an_untouched_chain_is_intact() -> None:
    chain = chain_of(5)
    found = examine(chain, [Head(3, chain[2].hash), head_of(chain), Head(0, GENESIS)])
    assert found.ok
    assert (found.entries, found.head, found.heads_compared) == (5, Head(5, chain[4].hash), 3)


def test_the_empty_ledger_is_intact() -> None:
    assert examine([]).ok
    assert examine([]).head == Head(0, GENESIS)


OTHER_VALUES = {
    "kind": "x",
    "release": "x",
    "environment": "x",
    "run_id": "x",
    "actor": "x",
    "key": "x",
    "at": T,
    "recorded_at": T,
    "payload_json": '{"number":2,"text": "x"}',
    "hash": "f" * 64,
}


def test_every_field_has_a_change_to_try() -> None:
    assert {field.name for field in fields(Entry)} == {*OTHER_VALUES, "sequence", "previous"}


@pytest.mark.parametrize("field", OTHER_VALUES)
def test_a_change_of_any_field_is_found(field: str) -> None:
    chain = chain_of(4)
    chain[1] = replace(chain[1], **{field: OTHER_VALUES[field]})  # type: ignore[arg-type]
    assert ("changed", 2) in damages(examine(chain))


def test_a_changed_entry_with_a_new_hash_is_not_the_one_that_the_next_was_recorded_after() -> None:
    chain = chain_of(4)
    chain[1] = sealed(replace(chain[1], actor="mallory"))
    assert damages(examine(chain)) == [("changed", 2)]


def test_a_changed_link_is_found() -> None:
    chain = chain_of(4)
    chain[2] = replace(chain[2], previous="e" * 64)
    assert damages(examine(chain)) == [("changed", 3)]


def test_removed_entries_are_named() -> None:
    chain = chain_of(6)
    assert damages(examine([*chain[:1], *chain[2:]])) == [("removed", 2)]
    found = examine([*chain[:1], *chain[4:]])
    assert found.faults[0].sentence == "entries 2 to 4 are missing"
    assert damages(examine(chain[1:])) == [("removed", 1)]


def test_a_removed_entry_whose_gap_was_closed_by_renumbering_is_found() -> None:
    chain = chain_of(4)
    renumbered = [chain[0], replace(chain[2], sequence=2), replace(chain[3], sequence=3)]
    assert not examine(renumbered).ok


def test_swapped_entries_are_found() -> None:
    chain = chain_of(5)
    swapped = [chain[0], replace(chain[2], sequence=2), replace(chain[1], sequence=3), *chain[3:]]
    assert ("reordered", 2) in damages(examine(swapped))
    assert ("reordered", 2) in damages(examine([chain[0], chain[2], chain[1], *chain[3:]]))


def test_a_cut_off_tail_is_found_only_with_a_head_from_outside() -> None:
    chain = chain_of(5)
    outside = Head.parse(head_of(chain).short)
    assert examine(chain[:3]).ok
    assert damages(examine(chain[:3], [outside])) == [("cut-off", 4)]
    assert damages(examine([], [outside])) == [("cut-off", 1)]


def test_a_chain_written_anew_is_found_with_a_head_from_outside() -> None:
    chain, forged = chain_of(5), chain_of(5, payload="forged")
    assert examine(forged).ok
    assert damages(examine(forged, [head_of(chain)])) == [("rewritten", 1)]
    assert damages(examine(forged, [head_of(chain), head_of(forged[:3])])) == [("rewritten", 4)]


@given(st.data())
def test_no_single_change_goes_unseen(data: st.DataObject) -> None:
    chain = chain_of(data.draw(st.integers(2, 8), label="length"))
    place = data.draw(st.integers(0, len(chain) - 1), label="place")
    field = data.draw(st.sampled_from([*sorted(OTHER_VALUES), "remove", "move", "repeat"]), label="change")
    head = head_of(chain)
    damaged = list(chain)
    if field == "remove":
        del damaged[place]
    elif field == "move":
        entry = damaged.pop(place)
        to = data.draw(st.integers(0, len(damaged)).filter(lambda index: index != place))
        damaged.insert(to, entry)
        if data.draw(st.booleans(), label="renumber"):
            damaged = [replace(entry, sequence=number) for number, entry in enumerate(damaged, 1)]
    elif field == "repeat":
        damaged.insert(data.draw(st.integers(0, len(damaged))), damaged[place])
    else:
        damaged[place] = replace(damaged[place], **{field: OTHER_VALUES[field]})  # type: ignore[arg-type]
        if data.draw(st.booleans(), label="reseal"):
            damaged[place] = sealed(damaged[place])
    if damaged != chain:
        assert not examine(damaged, [head]).ok


@given(st.lists(st.text(max_size=5), min_size=2, max_size=2))
def test_fields_cannot_flow_into_each_other(texts: list[str]) -> None:
    entry = chain_of(1)[0]
    one = replace(entry, actor=texts[0], run_id=texts[1])
    other = replace(entry, actor=texts[0] + texts[1], run_id="")
    assert (digest(one) == digest(other)) == (one == other)
