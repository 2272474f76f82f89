"""What was asked of whom, and that a question with other words gets a place of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ApprovalMissing
from include.gate.asked import Asked, at_place, must_say_the_same, shown_for, to_ask, words
from include.gate.timing import wait
from include.ledger.entry import Entry
from tests.memory import MemoryLedger

T = datetime(2030, 1, 15, 11, tzinfo=UTC)
ASKED = Asked("production", "g.decide", 0, "lead", "w" * 64, "f" * 64, wait(T, 100), {"watch_seconds": "20"})


def written(*asked: Asked) -> tuple[Entry, ...]:
    ledger = MemoryLedger()
    return tuple(ledger.append(one.entry(release="3.0.0", environment="production", run_id="r")) for one in asked)


def test_what_was_asked_is_read_as_it_was_written() -> None:
    later = replace(ASKED, words="v" * 64)
    entries = written(ASKED, later, replace(ASKED, place=1))
    assert at_place(entries, "g.decide", 0) == later
    assert at_place(entries, "g.decide", 2) is None
    assert at_place(entries, "g.decide_again", 0) is None
    assert shown_for(entries, "production", "f" * 64) is not None
    assert shown_for(entries, "database", "f" * 64) is None


def test_other_words_are_not_asked_where_airflow_would_show_the_old_ones() -> None:
    must_say_the_same(None, "v" * 64, "ask anew")
    must_say_the_same(ASKED, ASKED.words, "ask anew")
    with pytest.raises(ApprovalMissing, match="ask anew"):
        must_say_the_same(ASKED, "v" * 64, "ask anew")


def test_the_words_are_all_that_is_shown() -> None:
    assert words("a", ["Go"]) == words("a", ["Go"])
    assert len({words("a", ["Go"]), words("a", ["No-Go"]), words("b", ["Go"])}) == 3


def test_the_first_time_every_role_is_asked_in_its_order() -> None:
    assert to_ask((), "g.decide", ["lead", "owner"]) == [
        {"role": "lead", "over": ""},
        {"role": "owner", "over": ""},
    ]


@given(rounds=st.lists(st.lists(st.sampled_from(["lead", "owner", "on-call"]), max_size=3), max_size=5))
def test_nobody_is_asked_where_somebody_was_asked_before(rounds: list[list[str]]) -> None:
    ledger, used = MemoryLedger(), set[int]()
    for wanted in rounds:
        over = to_ask(ledger.written, "g.decide", wanted)
        places = [place for place, one in enumerate(over) if not one["over"]]
        assert [over[place]["role"] for place in places] == wanted
        assert not used & set(places)
        used |= set(places)
        for place in places:
            asked = replace(ASKED, place=place, role=over[place]["role"])
            ledger.append(asked.entry(release="3.0.0", environment="production", run_id="r"))
