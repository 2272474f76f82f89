"""Whether a migration that has begun may go on, whatever has happened meanwhile."""

from __future__ import annotations

import pytest

from include.errors import MigrationRefused
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.database.wanted import must_be_on_top, must_be_wanted, must_go_down
from include.steps.record import record
from include.steps.schema_course import (
    LEFT_OLD,
    MIGRATED,
    MIGRATION_INTENDED,
    RESTORE_RESUMED,
    RESTORE_STOPPED,
    RESTORED,
    TAKEN_BACK,
    WAY_BACK_INTENDED,
    WAY_BACK_LEFT,
)
from tests.unit.steps.database.worlds import a_hotfix, a_ledger, a_run

RUN = a_run("r1")


def begun(ledger: Ledger) -> Entry:
    return record(ledger, RUN, MIGRATION_INTENDED, {"target": ["c"]})


@pytest.mark.parametrize(
    ("run_id", "kind", "payload", "why"),
    [
        ("r2", TAKEN_BACK, {}, "has been undone"),
        ("r2", RESTORED, {}, "has been undone"),
        ("r1", LEFT_OLD, {}, "has been undone"),
        ("r2", MIGRATED, {"revisions": ["d"]}, "another run has migrated since"),
        ("r2", RESTORE_STOPPED, {}, "is being restored"),
        ("r2", WAY_BACK_INTENDED, {"began": 2}, "is being taken back"),
    ],
)
def test_what_was_undone_or_overtaken_meanwhile_does_not_go_on(
    run_id: str, kind: str, payload: dict[str, list[str]], why: str
) -> None:
    ledger = a_ledger()
    record(ledger, a_run("r2"), kind, payload, number="before it began")
    if kind == RESTORE_STOPPED:
        record(ledger, a_run("r2"), RESTORE_RESUMED, {})
    intent = begun(ledger)
    must_be_wanted(RUN, ledger, intent)
    record(ledger, a_run(run_id), kind, payload)
    with pytest.raises(MigrationRefused, match=why):
        must_be_wanted(RUN, ledger, intent)


@pytest.mark.parametrize(
    ("run_id", "kind", "why"),
    [
        ("r2", TAKEN_BACK, "this way back is over"),
        ("r2", RESTORED, "this way back is over"),
        ("r1", WAY_BACK_LEFT, "this way back is over"),
        ("r2", MIGRATION_INTENDED, "a migration has begun since"),
        ("r2", RESTORE_STOPPED, "is being restored"),
    ],
)
def test_a_way_back_that_is_over_or_overtaken_does_not_go_on(run_id: str, kind: str, why: str) -> None:
    ledger = a_ledger()
    began = begun(ledger)
    intent = record(ledger, RUN, WAY_BACK_INTENDED, {"began": began.sequence})
    must_go_down(RUN, ledger, intent)
    record(ledger, a_run("r2"), WAY_BACK_LEFT, {})
    must_go_down(RUN, ledger, intent)
    record(ledger, a_run(run_id), kind, {}, number=2)
    with pytest.raises(MigrationRefused, match=why):
        must_go_down(RUN, ledger, intent)


@pytest.mark.parametrize(
    ("run_id", "kind", "payload"),
    [("r2", LEFT_OLD, {}), ("r2", MIGRATION_INTENDED, {}), ("r2", MIGRATED, {"revisions": ["c"]})],
)
def test_what_another_run_has_done_for_itself_stops_nobody(
    run_id: str, kind: str, payload: dict[str, list[str]]
) -> None:
    ledger = a_ledger()
    intent = begun(ledger)
    record(ledger, a_run(run_id), kind, payload)
    must_be_wanted(RUN, ledger, intent)


@pytest.mark.parametrize(
    ("kind", "payload", "why"),
    [
        (MIGRATION_INTENDED, {}, "3.0.1 has begun to migrate"),
        (MIGRATED, {"revisions": ["c"]}, "3.0.1 has begun to migrate"),
        (MIGRATED, {"revisions": ["d"]}, "another run has migrated since"),
        (RESTORE_STOPPED, {}, "is being restored"),
    ],
)
def test_what_another_release_does_to_the_schema_stops_it_as_well(
    kind: str, payload: dict[str, list[str]], why: str
) -> None:
    ledger = a_ledger()
    record(ledger, a_hotfix(), MIGRATION_INTENDED, {}, number="before it began")
    intent = begun(ledger)
    must_be_wanted(RUN, ledger, intent)
    record(ledger, a_hotfix(), kind, payload)
    with pytest.raises(MigrationRefused, match=why):
        must_be_wanted(RUN, ledger, intent)


def test_what_another_release_has_left_as_it_was_stops_nobody() -> None:
    ledger = a_ledger()
    intent = begun(ledger)
    for kind in (MIGRATION_INTENDED, LEFT_OLD):
        record(ledger, a_hotfix("r1"), kind, {})
    must_be_wanted(RUN, ledger, intent)
    must_be_on_top(intent, ledger.entries())


def test_a_restore_of_the_release_before_ends_what_was_on_top_of_it() -> None:
    ledger = a_ledger()
    begun(ledger)
    intent = record(ledger, a_hotfix(), MIGRATION_INTENDED, {"target": ["d"]})
    must_be_wanted(a_hotfix(), ledger, intent)
    record(ledger, a_run("rb"), RESTORED, {})
    with pytest.raises(MigrationRefused, match="has been undone"):
        must_be_wanted(a_hotfix(), ledger, intent)


def test_the_schema_goes_down_from_the_top() -> None:
    ledger = a_ledger()
    began = begun(ledger)
    must_be_on_top(began, ledger.entries())
    record(ledger, a_hotfix(), MIGRATION_INTENDED, {})
    with pytest.raises(MigrationRefused, match=r"3\.0\.1 has migrated on top of 3\.0\.0"):
        must_be_on_top(began, ledger.entries())
    record(ledger, a_hotfix(), TAKEN_BACK, {})
    must_be_on_top(began, ledger.entries())
