from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.messages.rehearsal import Evidence, Finding, RehearsalOutcome

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["text", "severity", "title", "url"]), inner),
)
OUTCOMES = st.builds(
    RehearsalOutcome,
    st.sampled_from(["passed", "failed"]),
    st.lists(st.builds(Finding, st.text(), st.text(min_size=1))).map(tuple),
    st.lists(st.builds(Evidence, st.text(min_size=1), st.text(min_size=1))).map(tuple),
)


@given(OUTCOMES)
def test_what_is_recorded_is_read_again(outcome: RehearsalOutcome) -> None:
    assert RehearsalOutcome.read(json.loads(json.dumps(outcome.payload))) == outcome


@pytest.mark.parametrize("payload", [{}, {"result": "ok"}, {"result": None}, {"result": ["passed"]}])
def test_an_entry_that_does_not_say_how_it_ended_is_none(payload: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="neither passed nor failed"):
        RehearsalOutcome.read(payload)


@given(JSON, JSON)
def test_what_is_no_finding_or_link_is_left_out(findings: Any, links: Any) -> None:
    read = RehearsalOutcome.read({"result": "passed", "findings": findings, "links": links, "more": 1})
    assert all(one.text for one in read.findings)
    assert all(one.title and one.url for one in read.links)
