"""What key users say is read strictly and judged so that ignorance is never a pass."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.plan.staging import SEVERITIES
from include.steps.staging.uat import NOT_TESTED, OUTCOMES, PASSED, Finding, UatReport, judge, read
from include.watch.steer import comment_of
from tests.unit.steps.staging.rehearsals import USERS, acceptance

PLAN = acceptance()
WORKS = {"case_articles": PASSED, "case_order": PASSED}


def tried(user: str, **form: str) -> UatReport:
    found = read(user, {**WORKS, **form}, PLAN.cases)
    assert isinstance(found, UatReport)
    return found


def test_a_form_becomes_outcomes_and_findings() -> None:
    found = tried(
        "anna", case_order="major", note_order="die\nSumme  fehlt", other="Schrift", other_severity="minor"
    )
    assert found.outcomes == {"articles": "passed", "order": "major"}
    assert found.findings == (
        Finding("major", "die Summe fehlt", "anna", "order"),
        Finding("minor", "Schrift", "anna"),
    )
    assert UatReport.of_facts(found.facts()) == found


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({}, "nothing is filled in"),
        ({"case_articles": "not tested", "case_order": ""}, "nothing is filled in"),
        ({"case_articles": "fine"}, "'fine' is none of"),
        ({"case_articles": "blocker"}, "say what was wrong"),
        ({"case_articles": "blocker", "note_articles": " \x00 "}, "say what was wrong"),
        ({**WORKS, "other": "x"}, "needs both"),
        ({**WORKS, "other_severity": "minor"}, "needs both"),
        ({**WORKS, "other": "x", "other_severity": "bad"}, "'bad' is none of"),
        ({**WORKS, "note_order": "die Summe ist falsch"}, "Auftrag: say how severe it is, or remove the note"),
        ({"case_articles": PASSED, "note_order": "die Summe ist falsch"}, "it says not tested"),
        ({**WORKS, "case_order": "minor", "note_order": "x" * 1001}, "at most 1000 characters"),
        ({**WORKS, "other": "x" * 1001, "other_severity": "minor"}, "at most 1000 characters"),
        ({"case_articles": ["passed"], "case_order": True}, "nothing is filled in"),
    ],
)
def test_what_does_not_count_is_asked_again(form: dict[str, Any], why: str) -> None:
    found = read("anna", form, PLAN.cases)
    assert isinstance(found, str)
    assert why in found


words = st.one_of(st.just(""), st.text(max_size=1100))


@given(
    st.fixed_dictionaries(
        {
            "case_articles": st.sampled_from(OUTCOMES),
            "note_articles": words,
            "case_order": st.sampled_from(OUTCOMES),
            "note_order": words,
            "other": words,
            "other_severity": st.sampled_from(["none", *SEVERITIES]),
        }
    )
)
def test_what_somebody_wrote_is_in_the_report_or_is_asked_about(form: dict[str, str]) -> None:
    found = read("anna", form, PLAN.cases)
    if isinstance(found, UatReport):
        written = [comment_of(form[name]) for name in ("note_articles", "note_order", "other")]
        assert [one.text for one in found.findings] == [text for text in written if text]


def test_what_is_left_alone_is_not_tested() -> None:
    found = read("anna", {"case_articles": PASSED}, PLAN.cases)
    assert isinstance(found, UatReport)
    assert found.outcomes["order"] == NOT_TESTED


def test_a_blocking_finding_of_anybody_stops_it() -> None:
    tests = {user: tried(user) for user in USERS}
    tests["test-user"] = tried("test-user", case_order="blocker", note_order="weg")
    found = judge(PLAN, USERS, tests)
    assert (found.result, found.reasons) == ("failed", ("blocker: order: weg (test-user)",))
    assert judge(acceptance(blocking=["major"]), USERS, tests).result == "passed"


def test_a_blocking_finding_stays_when_who_found_it_is_no_key_user_any_more() -> None:
    tests = {user: tried(user) for user in USERS}
    tests["gone"] = tried("gone", case_order="blocker", note_order="weg")
    assert judge(PLAN, USERS, tests).result == "failed"
    tests["gone"] = tried("gone")
    assert judge(PLAN, (*USERS, "new"), tests).reasons == ("new has not tested",)


def test_findings_that_do_not_block_are_told_the_worst_first() -> None:
    tests = {user: tried(user) for user in USERS}
    tests["test-admin"] = tried("test-admin", other="a", other_severity="minor")
    tests["test-user"] = tried("test-user", case_order="major", note_order="b")
    found = judge(PLAN, USERS, tests)
    assert (found.result, [one.severity for one in found.findings]) == ("passed", ["major", "minor"])


@pytest.mark.parametrize(
    ("required", "who", "result"),
    [
        ("all", USERS, "passed"),
        ("all", USERS[:2], "unknown"),
        ("all", (), "unknown"),
        ("one", USERS[2:], "passed"),
        ("one", (), "unknown"),
        ("none", (), "passed"),
    ],
)
def test_the_plan_says_whose_test_is_needed(required: str, who: tuple[str, ...], result: str) -> None:
    found = judge(acceptance(required=required), USERS, {user: tried(user) for user in who})
    assert found.result == result
    assert set(found.silent) == set(USERS) - set(who)


def test_a_case_that_nobody_tried_is_not_known() -> None:
    half = UatReport("x", {"articles": PASSED, "order": NOT_TESTED})
    found = judge(PLAN, USERS, dict.fromkeys(USERS, half))
    assert (found.result, found.reasons) == ("unknown", ("nobody has tried 'Auftrag'",))


def test_a_case_of_one_user_is_tried_by_that_user_alone() -> None:
    cases = [{"id": "articles", "title": "Artikel"}, {"id": "order", "title": "Auftrag", "users": ["test-user"]}]
    plan = acceptance(cases=cases)
    assert [len(plan.cases_of(user)) for user in USERS] == [1, 2, 1]
    tests = {user: tried(user) for user in USERS if user != "test-user"}
    tests["test-user"] = UatReport("test-user", {"articles": PASSED, "order": NOT_TESTED})
    assert judge(plan, USERS, tests).reasons == ("nobody has tried 'Auftrag', which test-user has to",)
    assert judge(plan, USERS, {**tests, "test-user": tried("test-user")}).result == "passed"


def test_somebody_who_is_no_key_user_counts_for_nothing() -> None:
    found = judge(PLAN, USERS, {user: tried(user) for user in (*USERS[:2], "mallory")})
    assert found.result == "unknown"


outcomes = st.fixed_dictionaries(
    {"case_articles": st.sampled_from(OUTCOMES), "case_order": st.sampled_from(OUTCOMES)}
)
forms = st.dictionaries(st.sampled_from(USERS), outcomes)
policies = st.builds(
    acceptance,
    required=st.sampled_from(["all", "one", "none"]),
    blocking=st.lists(st.sampled_from(SEVERITIES), min_size=1, unique=True),
)


def notes_of(form: dict[str, str]) -> dict[str, str]:
    """A note beside each finding."""
    return {f"note_{case.id}": "x" for case in PLAN.cases if form[f"case_{case.id}"] in SEVERITIES}


@given(policies, forms)
def test_a_pass_has_no_blocking_finding_and_every_test_that_is_needed(plan: Any, given_forms: Any) -> None:
    read_forms = {user: read(user, form | notes_of(form), plan.cases) for user, form in given_forms.items()}
    tests = {user: one for user, one in read_forms.items() if isinstance(one, UatReport)}
    found = judge(plan, USERS, tests)
    blocking = [one for one in found.findings if one.severity in plan.blocking]
    if found.result == "passed":
        assert not blocking
        assert found.reasons == ()
        assert plan.required != "all" or not found.silent
        assert plan.required == "none" or tests
    else:
        assert found.reasons
    assert (found.result == "failed") == bool(blocking)


@given(st.dictionaries(st.text(max_size=20), st.one_of(st.text(), st.none(), st.integers(), st.lists(st.text()))))
def test_whatever_is_sent_is_read(form: dict[str, Any]) -> None:
    assert isinstance(read("anna", form, PLAN.cases), UatReport | str)
