"""Whose traffic it is decides whether the schema may be taken back."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from include.bluegreen.fence import LAST_SWITCH, Direction, LastSwitch
from include.bluegreen.lease import LeaseState
from include.bluegreen.slots import Slot
from include.bluegreen.state import ServiceState
from include.errors import MigrationRefused
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.database.traffic import Seen, must_not_be_live, see
from include.steps.record import CUTOVER_INTENDED, ROLLED_BACK, SWITCHED_BACK, record
from include.steps.schema_course import MIGRATION_INTENDED
from tests.unit.steps.database.worlds import a_ledger, a_run

RUN, RELEASE, ROLLBACK = a_run("migration"), a_run("release"), a_run("rollback")


def begun(ledger: Ledger) -> Entry:
    return record(ledger, RUN, MIGRATION_INTENDED, {})


def seen(
    began: Entry,
    *,
    on: Slot = "green",
    by: str = RELEASE.release_id,
    direction: Direction = "forward",
    minutes: float = 5,
    holder: str | None = None,
) -> Seen:
    """The Service was switched to green so many minutes after the migration began, and selects a slot."""
    at = began.at + timedelta(minutes=minutes)
    moved = LastSwitch("green" if direction == "forward" else "blue", "x", "y", at, by, direction)
    service = ServiceState("erp", {"version": on}, {LAST_SWITCH: moved.encode()})
    return Seen(service, LeaseState("lease", holder, None, None, None))


def refused(ledger: Ledger, began: Entry, found: Seen | None) -> str:
    with pytest.raises(MigrationRefused, match="not taken back under a version that users are on") as error:
        must_not_be_live(RUN, ledger, began, found)
    return error.value.seen


def test_without_a_cutover_since_the_migration_it_may() -> None:
    ledger = a_ledger()
    record(ledger, a_run("earlier"), CUTOVER_INTENDED, {})
    began = begun(ledger)
    must_not_be_live(RUN, ledger, began, None)
    must_not_be_live(RUN, ledger, began, Seen(None, None))
    must_not_be_live(RUN, ledger, began, seen(began, by=a_run("earlier").release_id, minutes=-5))


@pytest.mark.parametrize("back", [SWITCHED_BACK, ROLLED_BACK])
def test_a_cutover_stands_in_the_way_until_it_was_switched_back(back: str) -> None:
    ledger = a_ledger()
    began = begun(ledger)
    record(ledger, RELEASE, CUTOVER_INTENDED, {})
    assert "the cutover of 3.0.0@production/release has begun" in refused(ledger, began, None)
    record(ledger, ROLLBACK, back, {})
    must_not_be_live(RUN, ledger, began, None)
    must_not_be_live(RUN, ledger, began, seen(began, on="blue", direction="back"))


def test_what_the_service_says_counts_whatever_the_ledger_lacks() -> None:
    ledger = a_ledger()
    began = begun(ledger)
    assert "has the traffic since" in refused(ledger, began, seen(began))
    record(ledger, RELEASE, CUTOVER_INTENDED, {})
    must_not_be_live(RUN, ledger, began, seen(began, on="blue", direction="back"))
    must_not_be_live(RUN, ledger, began, seen(began, on="blue"))  # by hand


def test_a_cutover_that_has_moved_nothing_yet_may_be_about_to() -> None:
    ledger = a_ledger()
    began = begun(ledger)
    record(ledger, RELEASE, CUTOVER_INTENDED, {})
    before = {"on": "green", "by": a_run("earlier").release_id, "minutes": -5}
    assert "has begun" in refused(ledger, began, seen(began, holder=RELEASE.release_id, **before))  # type: ignore[arg-type]
    must_not_be_live(RUN, ledger, began, seen(began, holder=None, **before))  # type: ignore[arg-type]
    must_not_be_live(RUN, ledger, began, Seen(None, None))


@pytest.mark.parametrize(("minutes", "held"), [(69, True), (71, False)])
async def test_a_run_whose_lease_has_expired_is_about_to_do_nothing(minutes: float, *, held: bool) -> None:
    ledger = a_ledger()
    began = begun(ledger)
    record(ledger, RELEASE, CUTOVER_INTENDED, {})
    lease = LeaseState("lease", RELEASE.release_id, began.at, began.at, 70 * 60)

    async def answer(found: object) -> object:
        return found

    cluster = SimpleNamespace(service=lambda _: answer(None), lease=lambda _: answer(lease))
    found = await see(RUN, cast(Any, cluster), now=lambda: began.at + timedelta(minutes=minutes))
    if held:
        why = refused(ledger, began, found)
        assert "has begun" in why
        assert "held by" in why
    else:
        must_not_be_live(RUN, ledger, began, found)


def test_a_later_release_stands_in_the_way_as_well() -> None:
    ledger = a_ledger()
    began = begun(ledger)
    record(ledger, RELEASE, CUTOVER_INTENDED, {})
    record(ledger, ROLLBACK, SWITCHED_BACK, {})
    assert "3.0.1@production/r has the traffic" in refused(ledger, began, seen(began, by="3.0.1@production/r"))
