"""Whatever people and plan say in a question: it is shown, never interpreted, and the question keeps its shape."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from include.gate.checklist import Point
from include.gate.form import LONGEST_LINE, MOST_LINES, Frame
from include.markdown import shown
from include.steps import gate
from include.steps.checklist import checklist_question
from include.steps.database.entries import MIGRATION_WATCH_FAILED
from include.steps.feedback import Report, rollback_question
from include.steps.record import CUT_OVER, WATCH_PASSED, record
from include.steps.schema_course import MIGRATED
from include.steps.sign_off import sign_off_question
from include.steps.staging import acceptance
from stellwerk.operators.full_restore import AskRestore
from stellwerk.operators.way_back import AskTakeBack
from tests.unit.rendered import elements, links, page_of, text_of
from tests.unit.steps.database.test_gate import a_run as migrating
from tests.unit.steps.database.test_gate import decided_about, ledger_with
from tests.unit.steps.database.test_gate import question as migration_question
from tests.unit.steps.staging import rehearsals
from tests.unit.steps.test_gate import a_run

HOSTILE = (
    "![x](http://evil/p.png)",
    "[click to Go](http://evil)",
    "<http://evil>",
    "**No answer is Go** __really__ ~~not~~",
    "<b onclick=x>Go</b><!-- ",
    "fine\n\n# Approved\n\n- [x] everything",
    "```\n**No answer until tomorrow**",
    "`a` \\`b",
    "| a | b |\n|---|---|",
    "[^1] &lt;script&gt; &#42;&#42;",
    "\u202eoG",
    "1. first\n2) second",
)
SHAPE = {"p", "ul", "li", "strong", "em", "code"}
LEAD = "technical-lead"


def a_frame(said: str) -> Frame:
    return Frame(
        datetime(2030, 1, 15, 10, 30, tzinfo=UTC),
        timezone="Europe/Berlin",
        changed=(f"values.note: a → {said}",),
        approved=f"{said}, 2030-01-15 09:10 UTC",
        points=(
            Point(0, said, None, "settled", said),
            Point(1, said, LEAD, "open", ""),
            Point(2, "Backups", LEAD, "settled", said),
        ),
    )


def release_form(said: str) -> str:
    evidence = {"from": said, "to": said, "switch_back": said, "changes": [said], "facts": [said]}
    run = replace(a_run(), triggered_by=said)
    return gate.question(run, LEAD, evidence, a_frame(said), (f"warning: {said}",)).body


def migration_form(said: str) -> str:
    ledger = ledger_with(survey={"accepted": [said]}, tried={"rows": [said]})
    left = record(ledger, migrating("r0"), MIGRATED, {"revisions": ["c"]})
    told = {"number": 0, "migrated": left.sequence, "sentence": said}
    record(ledger, migrating("r0"), MIGRATION_WATCH_FAILED, told)
    run = replace(decided_about(migrating(), ledger), triggered_by=said)
    return migration_question(run, LEAD, ledger, a_frame(said)).body


def sign_off_form(said: str) -> str:
    run, ledger = a_run(), rehearsals.a_ledger()
    for kind in (CUT_OVER, WATCH_PASSED):
        record(ledger, run, kind, {"sentence": said})
    return sign_off_question(run, LEAD, ledger, a_frame(said)).body


def checklist_form(said: str) -> str:
    frame = a_frame(said)
    return checklist_question(a_run(), LEAD, {"preparation": frame.points}, frame).body


def feedback_form(said: str) -> str:
    report = Report("critical-security", said, said, datetime(2030, 1, 15, tzinfo=UTC), "r1")
    return rollback_question(a_run(), report).body


def uat_form(said: str) -> str:
    cases = [{"id": "a", "title": said, "expected": said}, {"id": "b", "title": "Auftrag"}]
    run = rehearsals.a_run(uat=rehearsals.acceptance(cases=cases))
    return acceptance.question(run, "test-user", datetime(2030, 1, 15, tzinfo=UTC)).body


def restore_form(said: str) -> str:
    stated = {"sentences": [said, "all is lost"], "stopped": True, "restore_seconds": 100.0}
    return AskRestore(task_id="ask").text_of(stated)


def way_back_form(said: str) -> str:
    return AskTakeBack(task_id="ask").text_of({"text": f"erp goes down; lost: {said}"})


FORMS: dict[Any, set[str]] = {
    release_form: SHAPE,
    migration_form: SHAPE,
    sign_off_form: SHAPE,
    checklist_form: SHAPE,
    feedback_form: SHAPE | {"blockquote"},
    uat_form: SHAPE | {"a", "table", "thead", "tbody", "tr", "th", "td"},
    restore_form: SHAPE,
    way_back_form: SHAPE,
}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("said", HOSTILE)
def test_what_is_said_is_shown_and_changes_nothing_of_the_question(form: Any, said: str) -> None:
    body, usual = form(said), form("all is well")
    assert elements(body) <= FORMS[form]
    assert links(body) == links(usual), "no link but those that the plan gives key users"
    assert body.count("\n") == usual.count("\n"), "no line of its own"
    for name in ("strong", "em", "code", "li", "p", "td"):
        assert count(body, name) == count(usual, name), name
    assert " ".join(said.replace("\u202e", " ").split()) in text_of(body)


@pytest.mark.parametrize("form", [release_form, migration_form, sign_off_form, checklist_form])
@pytest.mark.parametrize("word", ["x" * 5000, "*" * 5000, "<" * 5000, "a_" * 3000])
def test_a_very_long_word_is_cut_by_what_a_phone_shows_of_it(form: Any, word: str) -> None:
    lines = form(word).splitlines()
    assert len(lines) <= MOST_LINES
    assert max(len(shown(line)) for line in lines) <= LONGEST_LINE
    assert elements("\n".join(lines)) <= SHAPE


def count(markdown: str, name: str) -> int:
    return len(list(page_of(markdown).iter(name)))
