"""What findings mean in an environment."""

from __future__ import annotations

import pytest

from include.migration.finding import Finding, Severity
from include.migration.policy import Acceptance, Policy, decide


def finding(rule: str = "drop-column", severity: Severity = "block", revision: str = "0002") -> Finding:
    return Finding(rule, severity, "drops a column", "later", "a.py", 3, revision, "ALTER TABLE t DROP a")


ANNA = Acceptance("drop-column", "0002", "anna", "unused since 2.8")


def test_nothing_found_is_nothing_to_stop_for() -> None:
    assert decide([], Policy()).error() is None


def test_what_blocks_is_named_in_one_error() -> None:
    error = decide([finding(), finding("rename"), finding()], Policy()).error()
    assert error is not None
    assert error.what == "2 findings stop the migration"
    assert "a.py:3: drops a column [ALTER TABLE t DROP a]; do: later (rename)" in error.seen


def test_an_acceptance_is_for_one_rule_in_one_revision_and_has_a_name_and_a_reason() -> None:
    verdict = decide([finding(), finding(revision="0003")], Policy(accepted=(ANNA,)))
    assert verdict.accepted == ((finding(), ANNA),)
    assert verdict.blocking == (finding(revision="0003"),)
    for empty in (Acceptance("drop-column", "0002", "", "x"), Acceptance("drop-column", "0002", "anna", "")):
        assert decide([finding()], Policy(accepted=(empty,))).blocking == (finding(),)


def test_an_acceptance_for_which_nothing_was_found_is_said() -> None:
    assert decide([], Policy(accepted=(ANNA,))).idle == (ANNA,)


def test_an_environment_may_be_milder_or_stricter() -> None:
    milder = decide([finding()], Policy(severities={"drop-column": "warn"}))
    assert (milder.blocking, [one.severity for one in milder.warned]) == ((), ["warn"])
    stricter = decide([finding("backfill", "warn")], Policy(severities={"backfill": "block"}))
    assert len(stricter.blocking) == 1


def test_unknown_is_no_pass_unless_the_environment_says_so() -> None:
    unknown = finding("not-rendered", "unknown")
    assert decide([unknown], Policy()).blocking == (unknown,)
    assert decide([unknown], Policy(unknown_blocks=False)).warned == (unknown,)
    accepted = Acceptance("not-rendered", "0002", "anna", "read by hand")
    assert decide([unknown], Policy(accepted=(accepted,))).accepted == ((unknown, accepted),)


@pytest.mark.parametrize("rule", ["cycle", "concurrently-in-transaction"])
def test_what_cannot_run_can_be_accepted_by_nobody(rule: str) -> None:
    one = finding(rule)
    policy = Policy(accepted=(Acceptance(rule, "0002", "anna", "please"),))
    assert decide([one], policy).blocking == (one,)


def test_no_environment_makes_light_of_a_tree_that_cannot_run() -> None:
    assert decide([finding("cycle")], Policy(severities={"cycle": "warn"})).blocking == (finding("cycle"),)
