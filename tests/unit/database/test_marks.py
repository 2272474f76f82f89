"""Marks in a database's comment: read as they were written, and the comment is the owner's again without them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from include.database.marks import mark_of, marked, unmarked
from include.database.session import lock_key

COMMENTS = st.text(max_size=40).filter(lambda text: not text.startswith("\n"))


@given(COMMENTS, st.sampled_from(["restoring", "verified"]), st.sampled_from(["0af", "99"]))
def test_a_mark_is_read_as_it_was_written_and_leaves_no_trace(comment: str, state: str, mark: str) -> None:
    text = marked(comment, state, mark)
    assert mark_of(text) == (state, mark)
    assert unmarked(text) == unmarked(comment) == comment
    assert marked(text, "restored", mark) == marked(comment, "restored", mark)


def test_without_a_mark() -> None:
    assert mark_of("") == mark_of("the ERP's [Stellwerk: x] database") == ("", "")
    assert marked("", "restoring", "0a") == "[Stellwerk: restoring 0a]"


@given(st.text(), st.text())
def test_locks_are_told_apart_by_their_names(one: str, two: str) -> None:
    assert (lock_key(one) == lock_key(two)) == (one == two)
    assert -(2**63) <= lock_key(one) < 2**63
