"""A release's Go is for the schema that is live, as much as for the plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from include.errors import ApprovalMissing
from include.gate.parts import difference
from include.gate.rehearsal import REHEARSED as REHEARSAL
from include.ledger.approvals import GO, decision
from include.ledger.entry import NewEntry
from include.ledger.store import Ledger
from include.steps.decided import release_decided, require_release
from include.steps.record import CUTOVER_INTENDED, record
from include.steps.run import ReleaseRun
from include.steps.schema_course import MIGRATED, REHEARSED
from include.steps.schema_proof import schema_proof
from tests.memory import MemoryLedger
from tests.unit.steps.watching import release_run

RUN = release_run()


def told(ledger: Ledger, kind: str, number: int, **more: Any) -> None:
    payload = {
        "id": f"p{number}", "rehearsal": f"p{number}", "fingerprint": f"F{number}", "previous": "2.9.0",
        "backup": f"safety-{number}", **more,
    }  # fmt: skip
    ledger.append(NewEntry(kind, "3.0.0", "production", f"m{number}", "stellwerk", payload))


def migrated(ledger: Ledger, number: int, *, proven: bool = True) -> None:
    if proven:
        told(ledger, REHEARSED, number)
    told(ledger, MIGRATED, number)


def approve(ledger: Ledger, run: ReleaseRun) -> None:
    for role, (user, *_) in run.environment.gate.roles.items():
        ledger.append(
            decision(
                phase=run.phase,
                role=role,
                user=user,
                choice=GO,
                comment="",
                fingerprint=run.fingerprint,
                release="3.0.0",
                environment="production",
                run_id=run.run_id,
                at=datetime(2030, 1, 1, tzinfo=UTC),
            )
        )


@pytest.fixture
def ledger() -> Ledger:
    return cast("Ledger", MemoryLedger())


def test_without_a_migration_the_plan_alone_is_decided_about(ledger: Ledger) -> None:
    assert release_decided(RUN, ledger) == RUN


@pytest.mark.parametrize("proven", [True, False])
def test_a_migration_between_the_go_and_the_step_voids_the_go(ledger: Ledger, proven: bool) -> None:
    approve(ledger, release_decided(RUN, ledger))
    require_release(ledger, RUN)
    migrated(ledger, 1, proven=proven)
    with pytest.raises(ApprovalMissing, match="something that was approved has changed"):
        require_release(ledger, RUN)


def test_a_second_migration_with_another_proof_voids_it_too_and_says_what_differs(ledger: Ledger) -> None:
    migrated(ledger, 1)
    first = release_decided(RUN, ledger)
    approve(ledger, first)
    assert require_release(ledger, RUN).people
    migrated(ledger, 2)
    second = release_decided(RUN, ledger)
    with pytest.raises(ApprovalMissing):
        require_release(ledger, RUN)
    assert (first.covers["backup"], second.covers["backup"]) == ("safety-1", "safety-2")
    assert second.parts["covers.rehearsal"] == "p2"


def test_the_second_attempt_after_a_hotfix_that_migrated_is_not_voided_by_its_own_cutover(ledger: Ledger) -> None:
    """3.0.0 was tried and left, 2.9.1 migrates; what 3.0.0 replaces was not tried on that."""
    record(ledger, replace(RUN, run_id="first"), CUTOVER_INTENDED, {})
    ledger.append(NewEntry(MIGRATED, "2.9.1", "production", "m", "stellwerk", {}))
    decided = release_decided(RUN, ledger)
    assert decided.covers == {"old version on the schema": "unproven"}
    approve(ledger, decided)
    record(ledger, RUN, CUTOVER_INTENDED, {})
    assert require_release(ledger, RUN).people
    assert schema_proof(replace(RUN, run_id="back"), ledger) == "unchanged", "users had the old version on it"
    migrated(ledger, 1)
    with pytest.raises(ApprovalMissing, match="something that was approved has changed"):
        require_release(ledger, RUN)


def test_where_the_plan_lets_a_phase_act_its_own_migration_voids_nothing(ledger: Ledger) -> None:
    migrated(ledger, 1)
    gate = RUN.environment.gate.model_copy(update={"automatic": RUN.phase})
    run = replace(RUN, environment=RUN.environment.model_copy(update={"gate": gate}))
    assert release_decided(run, ledger) == run


def rehearsed(ledger: Ledger, result: str, evidence: str) -> None:
    payload = {"result": result, "fingerprint": evidence}
    ledger.append(NewEntry(REHEARSAL, "3.0.0", "staging", "s", "stellwerk", payload))


def test_another_rehearsal_between_the_go_and_the_step_voids_the_go_and_says_what_differs(ledger: Ledger) -> None:
    rehearsed(ledger, "passed", "a" * 64)
    first = release_decided(RUN, ledger)
    approve(ledger, first)
    assert require_release(ledger, RUN).people
    rehearsed(ledger, "failed", "b" * 64)
    with pytest.raises(ApprovalMissing, match="something that was approved has changed"):
        require_release(ledger, RUN)
    lines = difference(first.parts, release_decided(RUN, ledger).parts)
    assert lines == (
        "covers.staging: passed, run s → failed, run s",
        "covers.staging evidence: aaaaaaaaaaaa → bbbbbbbbbbbb",
    )
