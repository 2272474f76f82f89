from __future__ import annotations

from contextlib import nullcontext
from typing import cast

import pytest

from include.errors import LedgerUnavailable, TrafficError
from include.ledger.entry import NewEntry
from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.steps.record import VERIFIED
from include.steps.run import open_run
from include.steps.schema_proof import (
    LEFT_OLD,
    MIGRATED,
    MIGRATION_INTENDED,
    REHEARSED,
    RESTORE_RESUMED,
    RESTORE_STOPPED,
    RESTORED,
    TAKEN_BACK,
    WAY_BACK_INTENDED,
    WAY_BACK_LEFT,
    SchemaFact,
    must_not_go_down,
    schema_fact,
    schema_proof,
    schema_proof_if_any,
)
from tests.memory import MemoryLedger

RUN = open_run(
    load_plan(plan_folder()),
    release="3.0.0",
    environment="production",
    phase="production-blue-green",
    run_id="r1",
    triggered_by="rm",
)


PROOF = {"id": "p", "rehearsal": "p", "fingerprint": "F", "previous": "2.9.0", "began": 2}


def a_ledger(*entries: tuple[str, str, str]) -> Ledger:
    memory = MemoryLedger()
    for kind, release, environment in entries:
        memory.append(NewEntry(kind, release, environment, "any", "stellwerk", PROOF))
    return cast("Ledger", memory)


OURS = ("3.0.0", "production")


@pytest.mark.parametrize(
    ("entries", "proof"),
    [
        ([], "unchanged"),
        ([(REHEARSED, *OURS)], "unchanged"),
        ([(MIGRATED, *OURS)], "unproven"),
        ([(MIGRATED, *OURS), (REHEARSED, *OURS)], "rehearsed"),
        ([(REHEARSED, *OURS), (MIGRATED, *OURS)], "rehearsed"),
        ([(MIGRATED, "3.0.0", "staging")], "unchanged"),
        ([(MIGRATED, "2.9.0", "production")], "unchanged"),
        ([(MIGRATED, *OURS), (REHEARSED, "3.0.0", "staging")], "unproven"),
        ([(REHEARSED, *OURS), (MIGRATION_INTENDED, *OURS)], "unproven"),
        ([(MIGRATION_INTENDED, *OURS), (LEFT_OLD, *OURS)], "unchanged"),
        ([(MIGRATED, *OURS), (TAKEN_BACK, *OURS)], "unchanged"),
        ([(MIGRATED, *OURS), (RESTORED, *OURS), (REHEARSED, *OURS)], "unchanged"),
        ([(MIGRATED, *OURS), (TAKEN_BACK, *OURS), (MIGRATED, *OURS)], "unproven"),
        ([(MIGRATED, *OURS), (REHEARSED, *OURS), (RESTORE_STOPPED, *OURS)], "restoring"),
        ([(MIGRATED, *OURS), (REHEARSED, *OURS), (RESTORE_STOPPED, *OURS), (RESTORE_RESUMED, *OURS)], "rehearsed"),
        ([(MIGRATED, *OURS), (RESTORE_STOPPED, *OURS), (RESTORED, *OURS)], "unchanged"),
        ([(MIGRATED, *OURS), (RESTORE_STOPPED, "3.0.0", "staging")], "unproven"),
    ],
)
def test_the_proof_is_what_this_releases_entries_of_this_environment_say(entries, proof) -> None:
    assert schema_proof(RUN, a_ledger(*entries)) == proof
    assert schema_proof_if_any(RUN, lambda: a_ledger(*entries)) == proof


def told(*entries: tuple[str, str]) -> Ledger:
    """A ledger of runs and kinds."""
    memory = MemoryLedger()
    for run_id, kind in entries:
        memory.append(NewEntry(kind, *OURS, run_id, "stellwerk", PROOF))
    return cast("Ledger", memory)


@pytest.mark.parametrize(
    ("course", "proof"),
    [
        # Both have passed their gates; the second finds the first at work, and then the old schema.
        ([("r1", MIGRATION_INTENDED), ("r2", MIGRATION_INTENDED), ("r2", LEFT_OLD)], "unproven"),
        (
            [
                ("r1", MIGRATION_INTENDED),
                ("r2", MIGRATION_INTENDED),
                ("r2", LEFT_OLD),
                ("r1", MIGRATED),
            ],
            "rehearsed",
        ),
        # The first has migrated; the second brings one revision more and changes nothing.
        (
            [
                ("r1", MIGRATION_INTENDED),
                ("r1", MIGRATED),
                ("r2", MIGRATION_INTENDED),
                ("r2", LEFT_OLD),
            ],
            "rehearsed",
        ),
        ([("r1", MIGRATION_INTENDED), ("r1", MIGRATED), ("r2", MIGRATION_INTENDED)], "unproven"),
        (
            [
                ("r1", MIGRATION_INTENDED),
                ("r2", MIGRATION_INTENDED),
                ("r1", LEFT_OLD),
                ("r2", LEFT_OLD),
            ],
            "unchanged",
        ),
    ],
)
def test_what_one_run_has_left_as_it_was_says_nothing_about_another_runs_migration(
    course: list[tuple[str, str]], proof: str
) -> None:
    assert schema_proof(RUN, told(("r1", REHEARSED), *course)) == proof


@pytest.mark.parametrize(
    ("course", "proof"),
    [
        ([("r1", WAY_BACK_INTENDED)], "unproven"),
        ([("r2", WAY_BACK_INTENDED)], "unproven"),
        ([("r2", WAY_BACK_INTENDED), ("r1", WAY_BACK_LEFT)], "unproven"),
        ([("r2", WAY_BACK_INTENDED), ("r2", WAY_BACK_LEFT)], "rehearsed"),
        ([("r1", WAY_BACK_INTENDED), ("r2", MIGRATION_INTENDED)], "unproven"),
        ([("r1", WAY_BACK_INTENDED), ("r2", MIGRATION_INTENDED), ("r2", LEFT_OLD)], "unproven"),
        ([("r1", WAY_BACK_INTENDED), ("r2", MIGRATION_INTENDED), ("r2", MIGRATED)], "rehearsed"),
        ([("r1", WAY_BACK_INTENDED), ("r1", TAKEN_BACK)], "unchanged"),
    ],
)
def test_while_the_schema_goes_down_nothing_is_proven(course: list[tuple[str, str]], proof: str) -> None:
    before = (("r1", REHEARSED), ("r1", MIGRATION_INTENDED), ("r1", MIGRATED))
    assert schema_proof(RUN, told(*before, *course)) == proof


@pytest.mark.parametrize(
    "other",
    [
        {"fingerprint": "G"},  # another schema
        {"id": "monday"},  # today's rehearsal, by which it was decided, did not prove it
        {"previous": "2.8.4"},  # the release replaces a hotfix by now
    ],
)
def test_only_the_rehearsal_by_which_it_was_decided_proves_this_old_version_on_this_schema(
    other: dict[str, str],
) -> None:
    for payload, fact in ((PROOF, SchemaFact("rehearsed", "p")), ({**PROOF, **other}, SchemaFact("unproven"))):
        memory = MemoryLedger()
        memory.append(NewEntry(REHEARSED, *OURS, "any", "stellwerk", payload))
        memory.append(NewEntry(MIGRATED, *OURS, "any", "stellwerk", PROOF))
        assert schema_fact(RUN, cast("Ledger", memory)) == fact


@pytest.mark.parametrize(
    ("before", "after", "goes"),
    [
        ([MIGRATED], [], True),
        ([MIGRATED, WAY_BACK_INTENDED, TAKEN_BACK], [], True),
        ([MIGRATED, WAY_BACK_INTENDED], [], False),
        ([MIGRATED, WAY_BACK_INTENDED], [MIGRATED], True),
        ([MIGRATED, WAY_BACK_INTENDED, WAY_BACK_LEFT], [], True),
        ([MIGRATED], [WAY_BACK_INTENDED, WAY_BACK_LEFT], True),
        ([MIGRATED], [WAY_BACK_INTENDED], False),
        ([MIGRATED], [WAY_BACK_INTENDED, TAKEN_BACK], False),
        ([MIGRATED], [RESTORED], False),
    ],
)
def test_users_are_not_sent_to_a_version_whose_schema_goes_down(
    before: list[str], after: list[str], goes: bool
) -> None:
    memory = MemoryLedger()
    for kind in (MIGRATION_INTENDED, *before, VERIFIED, *after):
        memory.append(NewEntry(kind, *OURS, "any", "stellwerk", {"began": 1}))
    ledger = cast("Ledger", memory)
    verified = next(entry for entry in memory.written if entry.kind == VERIFIED)
    with nullcontext() if goes else pytest.raises(TrafficError, match="the schema is being taken back"):
        must_not_go_down(RUN, ledger, verified)


def test_going_back_waits_for_no_ledger() -> None:
    def out() -> Ledger:
        raise LedgerUnavailable("the database gives no answer")

    assert schema_proof_if_any(RUN, out) == "unknown"
