from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import cast

import pytest

from include.errors import LedgerUnavailable, TrafficError
from include.ledger.entry import NewEntry
from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.steps.record import CUT_OVER, CUTOVER_INTENDED, RELEASED, VERIFIED
from include.steps.run import open_run
from include.steps.schema_course import (
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
)
from include.steps.schema_proof import (
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
def test_the_proof_is_what_the_entries_of_this_environment_say(entries, proof) -> None:
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
        ([MIGRATED, WAY_BACK_INTENDED], [MIGRATED], False),
        ([MIGRATED, WAY_BACK_INTENDED, WAY_BACK_LEFT], [], True),
        ([MIGRATED], [WAY_BACK_INTENDED, WAY_BACK_LEFT], True),
        ([MIGRATED], [WAY_BACK_INTENDED], False),
        ([MIGRATED], [WAY_BACK_INTENDED, TAKEN_BACK], False),
        ([MIGRATED], [RESTORED], False),
        ([], [MIGRATION_INTENDED], False),
        ([], [MIGRATION_INTENDED, MIGRATED], False),
        ([], [MIGRATION_INTENDED, LEFT_OLD], True),
        ([MIGRATED], [RESTORE_STOPPED], False),
        ([MIGRATED], [RESTORE_STOPPED, RESTORE_RESUMED], True),
    ],
)
@pytest.mark.parametrize("release", ["3.0.0", "3.0.1"])
def test_users_are_not_sent_to_a_version_whose_schema_goes_down(
    before: list[str], after: list[str], goes: bool, release: str
) -> None:
    memory = MemoryLedger()
    for kind in (MIGRATION_INTENDED, *before, VERIFIED, *after):
        whose = "3.0.0" if kind == VERIFIED else release
        memory.append(NewEntry(kind, whose, "production", "any", "stellwerk", {"began": 1}))
    ledger = cast("Ledger", memory)
    verified = next(entry for entry in memory.written if entry.kind == VERIFIED)
    with nullcontext() if goes else pytest.raises(TrafficError, match=r"the schema|is being restored") as refused:
        must_not_go_down(RUN, ledger, verified)
    assert goes or f"of {release}, run any" in refused.value.seen


# -- other releases in the same environment ------------------------------------------------------------------

OLD, HOT = ("3.0.0", "2.9.0"), ("3.0.1", "3.0.0")
UP, THEIRS, KEPT = (
    [(kind, version) for kind in (REHEARSED, MIGRATION_INTENDED, MIGRATED)]
    for version in ("3.0.0", "3.0.1", "2.9.9")
)


def of_releases(entries: list[tuple[str, str]]) -> Ledger:
    """Each release has a schema and a rehearsal of its own."""
    memory = MemoryLedger()
    for kind, version in entries:
        previous = dict((OLD, HOT)).get(version, "2.8.0")
        told = {"id": version, "rehearsal": version, "fingerprint": version, "previous": previous}
        memory.append(NewEntry(kind, version, "production", "any", "stellwerk", told))
    return cast("Ledger", memory)


@pytest.mark.parametrize(
    ("entries", "proofs"),
    [
        # What 3.0.1 brings was rehearsed with 3.0.0; that 2.9.0 works on it nobody has seen.
        ([*UP, (CUTOVER_INTENDED, "3.0.0"), *THEIRS], ("unproven", "rehearsed")),
        ([(CUTOVER_INTENDED, "3.0.0"), *THEIRS], ("unproven", "rehearsed")),
        ([*UP, (CUTOVER_INTENDED, "3.0.0"), *THEIRS[:2]], ("unproven", "unproven")),
        ([*UP, (CUTOVER_INTENDED, "3.0.0"), *THEIRS, (TAKEN_BACK, "3.0.1")], ("rehearsed", "unchanged")),
        ([*UP, (CUTOVER_INTENDED, "3.0.0"), *THEIRS, (RESTORED, "3.0.1")], ("rehearsed", "unchanged")),
        ([*UP, (CUTOVER_INTENDED, "3.0.0"), *THEIRS[:2], (LEFT_OLD, "3.0.1")], ("rehearsed", "unchanged")),
        # A backup from before 3.0.0 has neither.
        ([*UP, (CUTOVER_INTENDED, "3.0.0"), *THEIRS, (RESTORED, "3.0.0")], ("unchanged", "unchanged")),
        # 3.0.1 brings no migration: 3.0.0 runs on its own.
        ([*UP, (CUTOVER_INTENDED, "3.0.0"), (CUTOVER_INTENDED, "3.0.1")], ("rehearsed", "unchanged")),
        # What is there since before the cutover is what the old version had.
        ([*KEPT, (CUTOVER_INTENDED, "3.0.0")], ("unchanged", "unchanged")),
        ([*KEPT, *UP, (CUTOVER_INTENDED, "3.0.0")], ("rehearsed", "unchanged")),
        # Both are up; what 2.9.0 was tried out on is not what is live.
        ([*UP, *THEIRS, (CUTOVER_INTENDED, "3.0.0")], ("unproven", "rehearsed")),
        # 3.0.0 was tried and left; then what it replaces was released, on what was migrated before that.
        ([(CUTOVER_INTENDED, "3.0.0"), *KEPT], ("unproven", "unchanged")),
        ([(CUTOVER_INTENDED, "3.0.0"), *KEPT, (RELEASED, "2.9.0")], ("unchanged", "unchanged")),
        ([(CUTOVER_INTENDED, "3.0.0"), (RELEASED, "2.9.0"), *KEPT], ("unproven", "unchanged")),
        ([(RELEASED, "2.9.0"), *KEPT, (CUTOVER_INTENDED, "3.0.0")], ("unchanged", "unchanged")),
        ([(CUTOVER_INTENDED, "3.0.0"), *THEIRS, (RELEASED, "3.0.1")], ("unproven", "rehearsed")),
        # Half-way is half-way, until a release was proven on whatever it is.
        (KEPT[:2], ("unproven", "unproven")),
        ([*KEPT[:2], (RELEASED, "2.9.0")], ("unchanged", "unchanged")),
        ([*UP[:2], (RELEASED, "3.0.0")], ("unproven", "unchanged")),
        # The database is everybody's, too, until another release was cut over.
        ([*UP, (RESTORE_STOPPED, "3.0.0")], ("restoring", "restoring")),
        ([*UP, (RESTORE_STOPPED, "3.0.0"), (CUT_OVER, "3.0.0")], ("restoring", "restoring")),
        ([*UP, (RESTORE_STOPPED, "3.0.0"), (CUT_OVER, "3.0.1")], ("rehearsed", "unchanged")),
    ],
)
def test_what_other_releases_have_done_to_the_schema_counts(
    entries: list[tuple[str, str]], proofs: tuple[str, str]
) -> None:
    ledger = of_releases(entries)
    for (version, previous), proof in zip((OLD, HOT), proofs, strict=True):
        release = RUN.release.model_copy(update={"version": version, "previous": previous})
        assert schema_proof(replace(RUN, release=release), ledger) == proof


def test_who_has_left_the_schema_where_it_is_not_proven_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert schema_proof(RUN, of_releases([*UP, (CUTOVER_INTENDED, "3.0.0"), *THEIRS[:2]])) == "unproven"
    assert "ledger entry 6, migration.intended of 3.0.1, run any" in caplog.text


def test_going_back_waits_for_no_ledger() -> None:
    def out() -> Ledger:
        raise LedgerUnavailable("the database gives no answer")

    assert schema_proof_if_any(RUN, out) == "unknown"
