"""Whose turn it is decides whether the schema may be changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.bluegreen.fence import LAST_SWITCH, Direction, LastSwitch
from include.bluegreen.lease import LeaseState
from include.bluegreen.state import ServiceState
from include.errors import MigrationRefused
from include.ledger.store import Ledger
from include.steps.database.traffic import Seen
from include.steps.database.turn import must_be_its_turn
from include.steps.record import (
    CUT_OVER,
    CUTOVER_INTENDED,
    RELEASED,
    ROLLED_BACK,
    SWITCHED_BACK,
    WATCH_ARMED,
    WATCH_ENDED,
    WATCH_PASSED,
    record,
)
from include.steps.run import ReleaseRun
from tests.unit.steps.database.worlds import a_hotfix, a_ledger, a_run

NOW = datetime(2030, 5, 1, 9, tzinfo=UTC)
RUN, RELEASE = a_run("migration"), a_run("release")


def held_by(holder: str | None, *, minutes: float = 5) -> LeaseState:
    """A Lease that was renewed so many minutes ago, and lasts for ten."""
    return LeaseState("lease", holder, NOW, NOW - timedelta(minutes=minutes), 600)


def refused(ledger: Ledger, seen: Seen | None) -> str:
    with pytest.raises(MigrationRefused, match="not changed under a release that is under way") as error:
        must_be_its_turn(RUN, ledger, seen, NOW)
    return error.value.seen


@pytest.mark.parametrize("holder", [RELEASE.release_id, a_hotfix().release_id])
def test_who_holds_the_environment_has_it_alone_while_the_lease_lasts(holder: str) -> None:
    ledger = a_ledger()
    assert "it is held by release 3.0." in refused(ledger, Seen(None, held_by(holder)))
    must_be_its_turn(RUN, ledger, Seen(None, held_by(holder, minutes=11)), NOW)


def test_an_environment_that_nobody_else_holds_is_free() -> None:
    for lease in (None, held_by(None), held_by(RUN.release_id)):
        must_be_its_turn(RUN, a_ledger(), Seen(None, lease), NOW)
    must_be_its_turn(RUN, a_ledger(), None, NOW)


def watched(run: ReleaseRun = RELEASE, *, armed: bool = True, automatic: bool = True) -> Ledger:
    """Its cutover has begun."""
    ledger = a_ledger()
    if armed:
        record(ledger, run, WATCH_ARMED, {})
    record(ledger, run, CUTOVER_INTENDED, {"automatic_switch_back": automatic})
    return ledger


@pytest.mark.parametrize("run", [RELEASE, a_hotfix()])
def test_a_watch_that_may_switch_back_by_itself_does_so_to_the_schema_of_its_cutover(run: ReleaseRun) -> None:
    ledger = watched(run)
    said = f"the watch of {run.release.version}, run {run.run_id} may switch back by itself"
    assert said in refused(ledger, None)
    record(ledger, run, CUT_OVER, {})
    record(ledger, run, WATCH_ENDED, {})  # cleared, it watches for another window
    assert said in refused(ledger, None)


def test_where_nobody_watches_or_a_human_has_to_switch_back_nothing_happens_by_itself() -> None:
    must_be_its_turn(RUN, watched(armed=False), None, NOW)
    must_be_its_turn(RUN, watched(automatic=False), None, NOW)


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        (RELEASE, WATCH_PASSED),
        (RELEASE, RELEASED),
        (a_run("watch"), SWITCHED_BACK),
        (a_run("rollback"), ROLLED_BACK),
        (a_hotfix(), CUT_OVER),
    ],
)
def test_once_the_watch_is_over_it_may(run: ReleaseRun, kind: str) -> None:
    ledger = watched()
    record(ledger, run, kind, {})
    must_be_its_turn(RUN, ledger, None, NOW)


@pytest.mark.parametrize(
    ("run", "kind"), [(a_hotfix(), RELEASED), (a_hotfix(), WATCH_PASSED), (a_hotfix(), SWITCHED_BACK)]
)
def test_what_became_of_another_release_ends_no_watch(run: ReleaseRun, kind: str) -> None:
    ledger = watched()
    record(ledger, run, kind, {})
    refused(ledger, None)


def service(direction: Direction, by: str = RELEASE.release_id) -> ServiceState:
    moved = LastSwitch("green" if direction == "forward" else "blue", "x", "y", NOW, by, direction)
    return ServiceState("erp", {"version": moved.to}, {LAST_SWITCH: moved.encode()})


def test_the_cluster_says_who_has_no_traffic_and_will_get_none() -> None:
    ledger = watched()
    refused(ledger, Seen(service("forward"), None))
    must_be_its_turn(RUN, ledger, Seen(service("back"), None), NOW)
    earlier = service("forward", a_run("earlier").release_id)
    must_be_its_turn(RUN, ledger, Seen(earlier, None), NOW)
    must_be_its_turn(RUN, ledger, Seen(earlier, held_by(RELEASE.release_id, minutes=11)), NOW)
