"""Findings as sentences, what an environment may accept, and the one error that names all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.chart.finding import ACCEPTABLE, Finding, accepted, failed

HOOK = Finding("hook", "block", "Job/migrate", "erp/templates/job.yaml", "it runs", "switch it off")
LABELS = Finding("slot-labels", "block", "Deployment/erp", "erp/templates/d.yaml", "it lacks", "set it")
TAG = Finding("image-tag", "warn", "Deployment/erp", "erp/templates/d.yaml", "not pinned", "pin it")


def test_a_finding_is_a_sentence_with_file_object_and_remedy() -> None:
    assert str(HOOK) == "erp/templates/job.yaml: Job/migrate: it runs; do: switch it off (hook)"
    assert str(Finding("permission", "block", "", "deploy/rbac.yaml", "a verb lacks", "grant it")).startswith(
        "deploy/rbac.yaml: a verb lacks"
    )
    assert str(Finding("x", "warn", "", "", "what", "that")) == "what; do: that (x)"


@pytest.mark.parametrize("key", ["hook", "Job/migrate"])
def test_a_finding_is_accepted_by_rule_or_object_and_keeps_its_reason(key: str) -> None:
    (only,) = accepted([HOOK], {key: "it only seeds a cache"})
    assert only.severity == "warn"
    assert "it only seeds a cache" in only.what


def test_what_the_engine_relies_on_cannot_be_accepted() -> None:
    found = accepted([LABELS], {"slot-labels": "we know"})
    assert [one.rule for one in found if one.severity == "block"] == ["slot-labels"]
    assert [one.rule for one in found if one.severity == "warn"] == ["chart-accept"], (
        "and that it had no effect is told"
    )


def test_blocking_findings_come_first_and_each_once() -> None:
    assert accepted([TAG, HOOK, HOOK], {}) == (HOOK, TAG)


def test_one_error_names_every_blocking_finding() -> None:
    error = failed([HOOK, TAG, LABELS])
    assert error is not None
    assert not error.retryable
    assert str(HOOK) in str(error)
    assert str(LABELS) in str(error)
    assert str(TAG) not in str(error)
    assert "2 things" in str(error)
    assert failed([TAG]) is None
    assert failed([]) is None


FINDINGS = st.builds(
    Finding,
    st.sampled_from(["hook", "image-tag", "slot-labels", "permission"]),
    st.sampled_from(["block", "warn"]),
    st.sampled_from(["Job/a", "Deployment/b"]),
    st.just("f"),
    st.just("what"),
    st.just("that"),
)


@given(st.lists(FINDINGS), st.dictionaries(st.sampled_from(["hook", "Job/a", "permission"]), st.just("because")))
def test_accepting_never_adds_a_block_and_never_loses_one_that_counts(
    findings: list[Finding], reasons: dict[str, str]
) -> None:
    before = {one for one in findings if one.severity == "block"}
    after = {one for one in accepted(findings, reasons) if one.severity == "block"}
    assert after <= before
    for one in before - after:
        assert one.rule in ACCEPTABLE
        assert one.rule in reasons or one.object in reasons
