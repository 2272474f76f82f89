"""The migration's gate: who decides, about what exactly, and what they read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from include.errors import ApprovalMissing, TrafficError
from include.gate.form import Frame
from include.ledger.approvals import GO
from include.ledger.store import Ledger
from include.steps.database.entries import MIGRATION_WATCH_FAILED, SURVEYED, TRIED_OUT, note
from include.steps.database.gate import decided_about, question
from include.steps.gate import record_decision
from include.steps.record import record, require_approval
from include.steps.run import ReleaseRun
from include.steps.schema_course import MIGRATED
from tests.unit.steps.database import worlds
from tests.unit.steps.database.worlds import a_ledger, a_run

FRAME = Frame(datetime(2030, 1, 1, 12, tzinfo=UTC))


def ledger_with(survey: dict[str, Any] | None = None, tried: dict[str, Any] | None = None) -> Ledger:
    ledger = a_ledger()
    note(ledger, a_run(), SURVEYED, {**worlds.SURVEYED, **(survey or {})})
    note(ledger, a_run(), TRIED_OUT, {**worlds.TRIED, **(tried or {})})
    return ledger


def decide(ledger: Ledger, run: ReleaseRun) -> None:
    for role, users in run.environment.gate.roles.items():
        at = datetime.now(UTC)
        record_decision(ledger, run, role=role, choice=GO, user=users[0], at=at, comment="")


def test_technical_lead_and_on_call_lead_decide() -> None:
    ledger = ledger_with()
    run = decided_about(a_run(), ledger)
    assert dict(run.environment.gate.roles) == {"technical-lead": ("anna",), "on-call-lead": ("bo",)}
    decide(ledger, run)
    assert require_approval(ledger, run).people == ("anna", "bo")


@pytest.mark.parametrize(
    ("survey", "tried"),
    [
        ({"policy": "q" * 64}, {}),
        ({}, {"id": "another"}),
        ({}, {"fingerprint": "0" * 64}),
        ({}, {"backup_sha256": "b" * 64}),
        ({}, {"old_version": {"proven": False, "name": "", "sentences": ["no tests"]}}),
        ({}, {"way_back": {"proven": False, "why": "no downgrade"}}),
        ({"digest": "e" * 64}, {"survey": "e" * 64}),
    ],
)
def test_a_go_is_void_when_anything_that_was_shown_has_changed(
    survey: dict[str, Any], tried: dict[str, Any]
) -> None:
    ledger = ledger_with()
    decide(ledger, decided_about(a_run(), ledger))
    note(ledger, a_run(), SURVEYED, {**worlds.SURVEYED, **survey})
    note(ledger, a_run(), TRIED_OUT, {**worlds.TRIED, **tried})
    with pytest.raises(ApprovalMissing, match="something that was approved has changed"):
        require_approval(ledger, decided_about(a_run(), ledger))


def test_a_go_for_the_release_is_none_for_its_migration() -> None:
    ledger = ledger_with()
    decide(ledger, a_run())
    with pytest.raises(ApprovalMissing, match="something that was approved has changed"):
        require_approval(ledger, decided_about(a_run(), ledger))


def test_without_survey_and_rehearsal_nobody_is_asked() -> None:
    with pytest.raises(TrafficError, match=r"migration\.surveyed"):
        decided_about(a_run(), a_ledger())
    with pytest.raises(ApprovalMissing, match="another migration than the one that was surveyed"):
        decided_about(a_run(), ledger_with({"digest": "0" * 64}))


def test_a_rehearsal_of_another_old_version_is_none() -> None:
    with pytest.raises(ApprovalMissing, match="another old version"):
        decided_about(a_run(), ledger_with(tried={"previous": "2.9.1"}))


SUITE: dict[str, Any] = {"old_version": {"program": ["/srv/smoke"]}}


@pytest.mark.parametrize(
    "changed",
    [
        {"rehearsal": SUITE},
        {"rehearsal": {"old_version": {"program": ["/srv/smoke", "--all"]}}},
        {"migration": {"way_back_needed": False}},
    ],
)
def test_a_rehearsal_that_was_done_in_another_way_than_the_plan_says_is_none(changed: dict[str, Any]) -> None:
    with pytest.raises(ApprovalMissing, match="in another way than the plan asks for"):
        decided_about(a_run(**changed), ledger_with())


def test_what_makes_a_rehearsal_no_other_one_leaves_it_valid() -> None:
    ledger = ledger_with()
    for same in ({"rehearsal": {"largest_bytes": 10**9}}, {"migration": {"rules": {"backfill": "block"}}}):
        assert decided_about(a_run(**same), ledger).covers["rehearsal"] == worlds.TRIED["id"]


def test_the_question_holds_what_matters() -> None:
    ledger = ledger_with(tried={"rows": ["public.orders: 12 rows before, 11 after"]})
    asked = question(decided_about(a_run(), ledger), "technical-lead", ledger, FRAME)
    for part in (
        "- erp: b → c (c)",
        "- warning: c.py:3: holds a lock for long",
        "- rehearsed up in 2.0 s",
        "- the old version works on the new schema: 12 passed",
        "- going back loses 3 values of orders.delivery_date",
        "- warning: public.orders is written anew",
        "- warning: public.orders: 12 rows before, 11 after",
        "- rehearsal: `0123456789abcdef`",
    ):
        assert part in asked.body, part


def test_the_question_warns_of_what_is_not_proven() -> None:
    tried = {
        "old_version": {"proven": False, "name": "", "sentences": ["no tests"]},
        "way_back": {"proven": False, "why": "c.py takes nothing back"},
    }
    ledger = ledger_with(tried=tried)
    body = question(decided_about(a_run(), ledger), "on-call-lead", ledger, FRAME).body
    assert "- warning: it is not proven that the old version works on the new schema: no tests" in body
    assert "- warning: going back means restoring the backup: c.py takes nothing back" in body


def test_the_question_warns_of_what_an_earlier_run_has_left() -> None:
    ledger = ledger_with()
    left = record(ledger, a_run("r0"), MIGRATED, {"revisions": ["c"]})
    told = {"number": 0, "migrated": left.sequence, "sentence": "half of the answers were errors"}
    record(ledger, a_run("r0"), MIGRATION_WATCH_FAILED, told)
    body = question(decided_about(a_run(), ledger), "technical-lead", ledger, FRAME).body
    assert "- warning: run r0 has migrated, and has not seen the schema that its rehearsal ended with" in body
    assert "its watch did not pass: half of the answers were errors" in body
