"""What an answer at a gate means, whatever was sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.gate.answers import AskAgain, Decided, Delegates, Given, Late, Rules, box, meaning, read
from include.gate.timing import wait

T = datetime(2030, 1, 15, 11, tzinfo=UTC)
ROLES = {"lead": ("tina",), "owner": ("bert",), "on-call": ("otto",)}
RULES = Rules(
    role="lead",
    roles=ROLES,
    holders={**ROLES, "lead": ("tina", "sue")},
    people=frozenset({"tina", "bert", "otto", "sue", "eve"}),
    quorum=2,
    wait=wait(T, 100),
    shown="f" * 64,
    points=("no critical bugs",),
)
GO = Given("Go", "tina", T, shown="f" * 64, ticked=RULES.points)


@pytest.mark.parametrize(
    ("given_", "meant"),
    [
        (GO, Decided("Go")),
        (replace(GO, user="sue"), Decided("Go")),
        (Given("No-Go", "tina", T), Decided("No-Go")),
        (Given("No-Go", "tina", T + timedelta(days=1)), Decided("No-Go")),
        (replace(GO, at=T + timedelta(seconds=100)), Late()),
        (Given("Delegate", "tina", T, to="eve"), Delegates("eve")),
        (Given("Delegate", "tina", T + timedelta(days=1), to="eve"), Late()),
    ],
)
def test_what_makes_sense_is_done(given_: Given, meant: object) -> None:
    assert meaning(given_, RULES) == meant


@pytest.mark.parametrize(
    ("given_", "why"),
    [
        (replace(GO, user=None), "nobody does not speak for lead; tina or sue may answer"),
        (replace(GO, user="bert"), "bert does not speak for lead"),
        (replace(GO, ticked=()), "every point ticked that is asked of lead: no critical bugs"),
        (replace(GO, shown=""), "without what was shown"),
        (replace(GO, shown="e" * 64), "is none for ffffffffffffffff"),
        (replace(GO, choice="Maybe"), "'Maybe' is none of Go, No-Go, Delegate"),
        (Given("Delegate", "sue", T, to="eve"), "a delegate cannot"),
        (Given("Delegate", "tina", T), "choose who decides instead"),
    ],
)
def test_what_makes_none_is_asked_again_with_the_reason(given_: Given, why: str) -> None:
    meant = meaning(given_, RULES)
    assert isinstance(meant, AskAgain)
    assert why in meant.why


sent = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=6,
)


@given(
    options=st.one_of(sent, st.lists(st.sampled_from(["Go", "No-Go", "Delegate"]), max_size=2)),
    fields=st.one_of(
        sent,
        st.dictionaries(
            st.sampled_from(["comment", "fingerprint", "delegate", box("no critical bugs")]),
            st.one_of(sent, st.just("f" * 64), st.just("eve")),
        ),
    ),
    user=st.sampled_from([None, "tina", "sue", "bert", "mallory"]),
    late=st.integers(-10, 200),
)
def test_whatever_is_sent_is_read_and_a_go_is_never_more_than_was_said(
    options: Any, fields: Any, user: str | None, late: int
) -> None:
    at = T + timedelta(seconds=late)
    given_ = read({"chosen_options": options, "params_input": fields}, user, at, RULES.points)
    assert given_.comment.isprintable()
    meant = meaning(given_, RULES)
    if meant == Decided("Go"):
        assert (options, user in ("tina", "sue"), late < 100) == (["Go"], True, True)
        assert fields["fingerprint"] == RULES.shown
        assert fields[box("no critical bugs")] is True
    if isinstance(meant, Delegates):
        assert (user, meant.to, late < 100) == ("tina", "eve", True)
