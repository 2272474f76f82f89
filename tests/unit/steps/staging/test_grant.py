"""Staging changes on the plan's own authority, and production never does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from include.errors import ApprovalMissing
from include.ledger.approvals import Approval, NotApproved
from include.ledger.grants import GRANT, grant, granted
from include.plan.loader import load_plan, plan_folder
from include.plan.models import Environment
from include.steps.record import require_approval
from include.steps.staging.grant import authorise
from tests.unit.ledger.test_approvals import PRINT, recorded
from tests.unit.steps.staging.rehearsals import a_ledger, a_run


def test_the_grant_is_recorded_once_for_exactly_what_is_about_to_happen() -> None:
    run, ledger = a_run(), a_ledger()
    told = authorise(run, ledger)
    assert authorise(run, ledger) == told
    [entry] = ledger.entries(kinds=(GRANT,))
    assert entry.payload == {
        "phase": "staging-deploy",
        "rule": "gate.automatic of environments/staging.yaml",
        "fingerprint": run.fingerprint,
    }
    assert entry.actor == "release-calendar"
    assert require_approval(ledger, run).people == ("the plan (gate.automatic of environments/staging.yaml)",)


def test_what_has_changed_since_then_is_not_covered() -> None:
    run, ledger = a_run(), a_ledger()
    authorise(run, ledger)
    changed = a_run(replicas=run.environment.replicas + 1)
    with pytest.raises(ApprovalMissing, match=r"something that it covers has changed.*clear the task `authorise`"):
        require_approval(ledger, changed)
    authorise(changed, ledger)
    require_approval(ledger, changed)
    require_approval(ledger, run)


def test_a_grant_is_of_one_run_and_one_phase() -> None:
    run, ledger = a_run(), a_ledger()
    authorise(run, ledger)
    with pytest.raises(ApprovalMissing, match="grant is not recorded"):
        require_approval(ledger, a_run("another"))
    # The same environment, with the DAG that production is released by: people decide.
    with pytest.raises(ApprovalMissing, match="no Go from technical-lead"):
        require_approval(ledger, replace(run, phase="production-blue-green"))
    with pytest.raises(ApprovalMissing, match="no Go from technical-lead"):
        require_approval(ledger, replace(run, phase="db-migration"))


def test_an_environment_that_does_not_say_so_needs_people() -> None:
    run = a_run(gate=a_run().environment.gate.model_copy(update={"automatic": None}))
    ledger = a_ledger()
    with pytest.raises(ApprovalMissing, match=r"may not act in staging without people.*gate\.automatic"):
        authorise(run, ledger)
    assert ledger.entries() == ()
    authorise(a_run(), ledger)
    with pytest.raises(ApprovalMissing, match="no Go from"):
        require_approval(ledger, run)


@pytest.mark.parametrize("environment", ["production"])
def test_no_entry_and_no_plan_in_memory_lets_production_act(environment: str) -> None:
    forged = a_run(name=environment)
    ledger = a_ledger()
    with pytest.raises(ApprovalMissing, match="never changed without people"):
        authorise(forged, ledger)
    with pytest.raises(ApprovalMissing, match="never changed without people"):
        require_approval(ledger, forged)


def test_the_plan_of_production_is_refused_with_it() -> None:
    content = load_plan(plan_folder()).environment("production").model_dump(mode="json", exclude_unset=True)
    content["gate"]["automatic"] = "staging-deploy"
    with pytest.raises(ValidationError, match="production is never changed without people"):
        Environment.model_validate(content)


def test_the_roles_of_a_part_keep_the_plans_word() -> None:
    gate = a_run().environment.gate
    assert gate.only(("technical-lead", "on-call-lead")).automatic == "staging-deploy"


FACTS = {"phase": "staging-deploy", "rule": "r", "fingerprint": PRINT, "release": "3.0.0", "run_id": "run"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"environment": "production"}, "not recorded"),
        ({"environment": "staging", "run_id": "other"}, "not recorded"),
        ({"environment": "staging", "phase": "db-migration"}, "not recorded"),
        ({"environment": "staging", "born": "again"}, "not recorded"),
        ({"environment": "staging", "fingerprint": "sha256:" + "b" * 64}, "has changed"),
    ],
)
def test_what_is_no_grant(change: dict[str, str], why: str) -> None:
    entries = recorded(grant(actor="x", **{**FACTS, **change}))
    found = granted(entries, phase="staging-deploy", run_id="run", environment="staging", fingerprint=PRINT)
    assert isinstance(found, NotApproved)
    assert why in found.reason


def test_an_empty_fingerprint_is_covered_by_nothing() -> None:
    entries = recorded(grant(actor="x", **{**FACTS, "environment": "staging", "fingerprint": ""}))
    found = granted(entries, phase="staging-deploy", run_id="run", environment="staging", fingerprint="")
    assert isinstance(found, NotApproved)
    good = recorded(grant(actor="x", environment="staging", **FACTS))
    assert isinstance(
        granted(good, phase="staging-deploy", run_id="run", environment="staging", fingerprint=PRINT), Approval
    )
