"""When a statement of a loss still covers what is lost, and whether there is a backup to restore at all."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.backup.loss import RestoreLoss, TableLoss, grown
from include.database.facts import DatabaseIdentity
from include.errors import (
    BackupMissing,
    DatabaseUnreachable,
    LedgerUnavailable,
    RestoreUnconfirmed,
    RollbackBlocked,
)
from include.ledger.store import Ledger
from include.steps.database import full_restore
from include.steps.database.confirm import confirm
from include.steps.database.entries import BACKUP_PROVEN, RESTORE_STATED
from include.steps.database.full_restore import (
    must_be_answerable,
    must_be_confirmed_now,
    must_be_restored,
    restorable,
    state_restore,
)
from include.steps.record import all_recorded, record
from include.steps.run import ReleaseRun
from include.steps.schema_course import (
    MIGRATION_INTENDED,
    RESTORE_STOPPED,
    RESTORED,
)
from tests.unit.steps.database.worlds import a_hotfix, a_ledger, a_run

NOON = datetime(2030, 5, 1, 12, tzinfo=UTC)
HERE = DatabaseIdentity(system_identifier="7", name="erp")
counts = st.one_of(st.none(), st.integers(0, 9))
tables = st.dictionaries(st.sampled_from("abc"), st.tuples(counts, counts))


def a_loss(rows: dict[str, tuple[int | None, int | None]], *, minutes: float = 0, **changes: Any) -> RestoreLoss:
    """A statement: table to rows then and now."""
    told = (TableLoss(table=name, then=then, now=now) for name, (then, now) in sorted(rows.items()))
    given = {
        "database": HERE,
        "source": HERE,
        "backup": "b1",
        "backup_sha256": "a" * 64,
        "backup_at": NOON - timedelta(hours=1),
        "made_at": NOON + timedelta(minutes=minutes),
        "target_missing": False,
        "readable": True,
        "tables": tuple(one for one in told if one.then is None or one.then != one.now),
        "revisions_then": {"public.alembic_version": ("a",)},
    }
    return RestoreLoss.model_validate({**given, **changes})


def lost(rows: dict[str, tuple[int | None, int | None]], table: str) -> int | None:
    then, now = rows.get(table, (0, 0))
    return None if then is None or now is None else max(0, now - then)


@given(tables, tables)
def test_a_statement_covers_what_loses_no_more_rows_of_any_table(before, after) -> None:
    def more(table: str) -> bool:
        confirmed, now = lost(before, table), lost(after, table)
        return confirmed is not None and (now is None or now > confirmed)

    told = grown(a_loss(before), a_loss(after, minutes=5))
    assert [sentence[0] for sentence in told] == [table for table in "abc" if more(table)]


@given(tables)
def test_a_statement_covers_itself_however_late_it_is(rows) -> None:
    assert grown(a_loss(rows), a_loss(rows, minutes=50)) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"backup": "b2"},
        {"backup_sha256": "b" * 64},
        {"target_missing": True},
        {"readable": False},
        {"database": DatabaseIdentity(system_identifier="8", name="erp")},
    ],
)
def test_it_covers_no_other_restore(changes: dict[str, Any]) -> None:
    assert "another restore" in grown(a_loss({}), a_loss({}, **changes))[0]


# -- stated, confirmed, stated again -------------------------------------------------------------------------


@pytest.fixture
def run() -> ReleaseRun:
    return a_run()


def state(run: ReleaseRun, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, loss: RestoreLoss) -> str:
    """State a loss; the digest that is the newest statement's afterwards."""
    monkeypatch.setattr(full_restore, "what_would_be_lost", lambda *_, **__: loss)
    site = cast(Any, SimpleNamespace(database=None, workshop=None))
    return str(state_restore(run, site, ledger, backup="b1", now=lambda: loss.made_at)["digest"])


def say_yes(run: ReleaseRun, ledger: Ledger, digest: str) -> None:
    confirm(ledger, run, {"digest": digest, "by": "anna", "reason": "the data are damaged"}, at=NOON)


def test_what_was_confirmed_is_not_asked_again_and_more_is(
    run: ReleaseRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = a_ledger()
    first = state(run, ledger, monkeypatch, a_loss({"orders": (10, 13)}))
    with pytest.raises(RestoreUnconfirmed, match="nobody has confirmed"):
        must_be_confirmed_now(run, ledger)
    second = state(run, ledger, monkeypatch, a_loss({"orders": (10, 13)}, minutes=1))
    assert second != first, "nobody had confirmed the first one"
    say_yes(run, ledger, second)
    must_be_confirmed_now(run, ledger)
    assert state(run, ledger, monkeypatch, a_loss({"orders": (10, 12)}, minutes=2)) == second
    grown_to = state(run, ledger, monkeypatch, a_loss({"orders": (10, 14)}, minutes=3))
    assert grown_to != second
    with pytest.raises(RestoreUnconfirmed):
        must_be_confirmed_now(run, ledger)
    say_yes(run, ledger, grown_to)
    must_be_confirmed_now(run, ledger)


def test_what_is_stated_says_whether_users_are_down_and_how_long_the_backup_took(
    run: ReleaseRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = a_ledger()
    state(run, ledger, monkeypatch, a_loss({}))
    record(ledger, run, BACKUP_PROVEN, {"backup": "b1", "sha256": "a", "restore_seconds": 12.5})
    record(ledger, run, RESTORE_STOPPED, {"sizes": {}})
    state(run, ledger, monkeypatch, a_loss({}, minutes=1))
    told = [entry.payload for entry in all_recorded(ledger, run, RESTORE_STATED)]
    assert [(one["stopped"], one["restore_seconds"]) for one in told] == [(False, None), (True, 12.5)]


def test_what_is_stated_names_the_releases_that_are_undone_as_well(
    run: ReleaseRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = a_ledger()
    record(ledger, a_hotfix("before"), MIGRATION_INTENDED, {})
    for whose in (run, a_hotfix()):
        state(run, ledger, monkeypatch, a_loss({}, minutes=len(ledger.entries())))
        record(ledger, whose, MIGRATION_INTENDED, {})
    state(run, ledger, monkeypatch, a_loss({}, minutes=9))
    told = [entry.payload["sentences"] for entry in all_recorded(ledger, run, RESTORE_STATED)]
    also = "What 3.0.1 has migrated since then is undone as well."
    assert [also in sentences for sentences in told] == [False, False, True]


def test_a_statement_of_an_hour_ago_covers_nothing(run: ReleaseRun, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = a_ledger()
    first = state(run, ledger, monkeypatch, a_loss({}))
    say_yes(run, ledger, first)
    must_be_confirmed_now(run, ledger, now=NOON + timedelta(minutes=59))
    with pytest.raises(RestoreUnconfirmed, match="nobody has confirmed") as refused:
        must_be_confirmed_now(run, ledger, now=NOON + timedelta(minutes=61))
    assert refused.value.seen == "one of 2030-05-01 12:00 UTC"
    must_be_confirmed_now(run, ledger)
    assert state(run, ledger, monkeypatch, a_loss({}, minutes=54)) == first
    assert state(run, ledger, monkeypatch, a_loss({}, minutes=56)) != first, "the restore begins a little later"


def test_nobody_is_asked_for_a_yes_that_comes_too_late() -> None:
    stated = {"statement": a_loss({}).model_dump_json()}
    assert must_be_answerable(stated, now=NOON + timedelta(minutes=15)) == timedelta(minutes=40)
    with pytest.raises(RestoreUnconfirmed, match="nobody is asked") as refused:
        must_be_answerable(stated, now=NOON + timedelta(minutes=56))
    assert refused.value.remedy == "clear the task that states the loss"


def test_what_is_restored_is_stated_and_confirmed_no_more(run: ReleaseRun) -> None:
    ledger = a_ledger()
    with pytest.raises(RollbackBlocked, match="has not been restored"):
        must_be_restored(run, ledger)
    record(ledger, run, RESTORE_STATED, {"digest": "d", "backup": "b1", "sentences": []})
    record(ledger, run, RESTORED, {})
    must_be_restored(run, ledger)
    must_be_confirmed_now(run, ledger)
    assert state_restore(run, cast(Any, None), ledger)["digest"] == "d"
    with pytest.raises(RollbackBlocked):
        must_be_restored(a_run("another"), ledger)


# -- is there one to restore ---------------------------------------------------------------------------------


def never() -> Any:
    raise AssertionError("nobody opens database or store where the ledger knows of no backup")


def test_without_a_database_in_the_plan_nothing_is_opened(run: ReleaseRun) -> None:
    without = run.environment.model_copy(update={"database": None})
    found = restorable(ReleaseRun(run.release, without, run.chart, "rollback", "r", "rm"), never, never)
    assert (found.usable, found.reason) == (False, "the plan of production names no database")


def test_without_a_migration_or_a_verified_backup_nothing_is_opened(run: ReleaseRun) -> None:
    ledger = a_ledger()
    found = restorable(run, never, lambda: ledger)
    assert (found.usable, found.reason) == (False, "no migration of 3.0.0 is in the database of production")
    record(ledger, run, MIGRATION_INTENDED, {"backup": "b1"})
    record(ledger, run, BACKUP_PROVEN, {"backup": "another", "sha256": "a"})
    assert restorable(run, never, lambda: ledger).reason == "nobody has verified backup b1"


def test_what_gives_no_answer_is_a_reason_and_no_error(run: ReleaseRun) -> None:
    def out() -> Any:
        raise LedgerUnavailable("the ledger gives no answer")

    assert "is not known" in restorable(run, never, out).reason
    ledger = a_ledger()
    record(ledger, run, MIGRATION_INTENDED, {"backup": "b1"})
    record(ledger, run, BACKUP_PROVEN, {"backup": "b1", "sha256": "a"})

    def gone() -> Any:
        raise DatabaseUnreachable("no answer")

    found = restorable(run, gone, lambda: ledger)
    assert not found.usable
    assert "is not known: no answer" in found.reason


def test_a_store_that_hangs_holds_nobody_up(run: ReleaseRun, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, answers = a_ledger(), threading.Event()
    record(ledger, run, MIGRATION_INTENDED, {"backup": "b1"})
    record(ledger, run, BACKUP_PROVEN, {"backup": "b1", "sha256": "a"})

    def hangs(*_: object) -> None:
        answers.wait(10)
        raise BackupMissing("too late")

    monkeypatch.setattr(full_restore, "LONGEST_SECONDS", 0.05)
    monkeypatch.setattr(full_restore, "find_backup", hangs)
    found = restorable(run, lambda: cast(Any, SimpleNamespace(store=None)), lambda: ledger)
    answers.set()
    assert (found.usable, "is not known: no answer in 0.05 s" in found.reason) == (False, True)


def test_a_run_that_has_restored_may_go_on(run: ReleaseRun) -> None:
    ledger = a_ledger()
    record(ledger, run, RESTORED, {})
    assert restorable(run, never, lambda: ledger).usable
