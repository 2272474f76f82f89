"""Every way to tamper with a ledger is found at every entry, and an untouched ledger is never accused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.ledger.chain import head_of
from include.ledger.entry import Entry, Head, canonical
from include.ledger.examination import REMEDIES, Examination, examine
from tests.unit.ledger.tampering import CASES, WAYS, rebuilt

T = datetime(2026, 3, 1, 12, tzinfo=UTC)


def written(contents: list[str]) -> list[Entry]:
    """A ledger with these texts in it."""
    entries = [
        Entry(
            sequence=0,
            kind="deploy.done",
            release="3.0.0",
            environment="production",
            run_id="run",
            actor="anna",
            key=f"key-{number}" if number % 2 else None,
            at=T + timedelta(seconds=number),
            recorded_at=T + timedelta(seconds=number, milliseconds=5),
            payload_json=canonical({"text": text}),
            previous="",
            hash="",
        )
        for number, text in enumerate(contents, 1)
    ]
    return rebuilt(entries)


def heads_of(chain: list[Entry]) -> list[Head]:
    """One noted after each entry, as steps note them."""
    return [head_of(chain[:length]) for length in range(1, len(chain) + 1)]


def told(found: Examination) -> list[tuple[str, int]]:
    return [(fault.damage, fault.sequence) for fault in found.faults]


@pytest.mark.parametrize(("name", "at"), CASES)
def test_it_is_found_and_named(name: str, at: int) -> None:
    way, chain = WAYS[name], written(["same"] * 6)
    found = examine(way.tamper(chain, at), heads_of(chain))
    assert (way.shows, at + 1 + way.behind) in told(found)
    fault = next(one for one in found.faults if one.damage == way.shows)
    assert str(fault.sequence) in fault.sentence or fault.head is not None
    assert fault.remedy == REMEDIES[way.shows]


@pytest.mark.parametrize(("name", "at"), CASES)
def test_only_what_the_chain_cannot_show_needs_a_head_from_outside(name: str, at: int) -> None:
    way, chain = WAYS[name], written(["same"] * 6)
    assert examine(way.tamper(chain, at)).ok == way.anchored


@pytest.mark.parametrize(("name", "at"), [case for case in CASES if WAYS[case[0]].anchored])
def test_the_newest_head_alone_is_enough_and_a_short_one_too(name: str, at: int) -> None:
    chain = written(["same"] * 6)
    tampered = WAYS[name].tamper(chain, at)
    for head in (head_of(chain), Head.parse(head_of(chain).short)):
        assert [fault.damage for fault in examine(tampered, [head]).faults] == [WAYS[name].shows]


CONTENTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=2, max_size=9)


@settings(max_examples=300)
@given(contents=CONTENTS, data=st.data())
def test_no_tampering_of_any_ledger_goes_unseen(contents: list[str], data: st.DataObject) -> None:
    chain = written(contents)
    way = WAYS[data.draw(st.sampled_from(sorted(WAYS)))]
    at = data.draw(st.sampled_from(way.places(len(chain))))
    found = examine(way.tamper(chain, at), heads_of(chain))
    assert (way.shows, at + 1 + way.behind) in told(found)


@settings(max_examples=200)
@given(contents=CONTENTS, data=st.data())
def test_two_hands_are_found_like_one(contents: list[str], data: st.DataObject) -> None:
    chain = written(contents)
    tampered = chain
    for _ in range(2):
        way = WAYS[data.draw(st.sampled_from(sorted(WAYS)))]
        places = way.places(len(tampered))
        if len(places):
            tampered = way.tamper(tampered, data.draw(st.sampled_from(places)))
    if tampered[: len(chain)] != chain:  # two hands may come to what was only written on
        assert not examine(tampered, heads_of(chain)).ok


@settings(max_examples=200)
@given(contents=CONTENTS, data=st.data())
def test_an_untouched_ledger_is_never_accused(contents: list[str], data: st.DataObject) -> None:
    chain = written(contents)
    noted = data.draw(st.lists(st.sampled_from([Head(0, "0" * 64), *heads_of(chain)]), max_size=5))
    short = [Head.parse(head.short) for head in noted]
    found = examine(chain, [*noted, *short])
    assert found.ok
    assert found.covered == max((head.sequence for head in noted), default=0)


def test_what_is_newer_than_every_head_is_said_to_be_uncovered() -> None:
    chain = written(["same"] * 6)
    assert examine(chain, [head_of(chain[:4])]).covered == 4
    assert examine(chain).covered == 0


def test_several_heads_that_do_not_fit_are_one_fault_that_brackets_the_damage() -> None:
    chain = written(["same"] * 6)
    tampered = rebuilt([*chain[:3], *(replace(entry, actor="mallory") for entry in chain[3:])], 3)
    found = examine(tampered, [head_of(chain[:2]), head_of(chain[:5]), head_of(chain)])
    (fault,) = found.faults
    assert (fault.damage, fault.sequence) == ("rewritten", 3)
    assert fault.sentence.startswith("entries 3 to 5 are not as head 5:")
    assert fault.sentence.endswith("nor do 1 more heads fit")


def test_a_ledger_renumbered_beyond_all_patience_is_damaged_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from include.ledger import examination

    monkeypatch.setattr(examination, "_MOST_TRIES", 3)
    chain = written(["same"] * 6)
    moved = [replace(entry, sequence=number) for number, entry in enumerate(reversed(chain), 1)]
    assert not examine(moved).ok
