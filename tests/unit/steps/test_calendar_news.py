"""What the calendar calls people for: once for each matter, and never for what is as planned."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.steps.calendar import look
from include.steps.calendar_news import News, bad_news
from include.steps.page import page
from tests.memory import MemoryLedger

PREPARATION = datetime(2099, 1, 8, 8, 0, tzinfo=UTC)
REHEARSAL = datetime(2099, 1, 12, 8, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("releases", "environments"):
        shutil.copytree(plan_folder() / name, tmp_path / name)
    return tmp_path


def news(folder: Path, now: datetime, **states: str) -> tuple[News, ...]:
    plan = load_plan(folder)
    ledger = cast("Ledger", MemoryLedger())
    return bad_news(plan, look(plan, lambda _: ledger, lambda dag_id, run: states.get(run), now), now)


def test_what_is_as_planned_is_no_news(folder: Path) -> None:
    assert news(folder, PREPARATION - timedelta(days=1)) == ()
    assert news(folder, PREPARATION) == ()
    assert news(folder, PREPARATION, **{"3.0.0__release-preparation": "running"}) == ()


def test_what_was_missed_and_what_waits_for_it_are_told_of_their_release(folder: Path) -> None:
    missed, blocked = news(folder, REHEARSAL)
    assert "release-preparation did not begin" in missed.matter.what
    assert "staging-deploy is due and waits" in blocked.matter.what
    assert "release-preparation (not started)" in blocked.matter.seen
    assert "phase-by-hand" in blocked.matter.remedy
    assert {one.run.release_id for one in (missed, blocked)} == {
        "3.0.0@production/release-calendar",
        "3.0.0@staging/release-calendar",
    }


def test_it_is_told_once_or_once_a_day_while_it_can_be_mended(folder: Path) -> None:
    first, later = news(folder, REHEARSAL), news(folder, REHEARSAL + timedelta(hours=1))
    assert [one.matter.key for one in first] == [one.matter.key for one in later]
    tomorrow = news(folder, REHEARSAL + timedelta(days=1))
    assert [one.matter.key for one in tomorrow if "blocked" in one.matter.key] == []
    assert news(folder, REHEARSAL + timedelta(days=29)) == (), "long ago is no news"


def test_a_broken_file_is_told_though_nobody_can_read_whose_it_is(folder: Path) -> None:
    (folder / "releases" / "3.0.1.yaml").write_text("version: [\n")
    (told,) = news(folder, PREPARATION)
    assert told.run.release_id == "3.0.1@production/release-calendar"
    assert "3.0.1.yaml:2" in told.matter.seen


def test_a_phase_whose_environment_is_broken_is_told_through_another_one(folder: Path) -> None:
    (folder / "environments" / "production.yaml").write_text("name: production\n")
    (told,) = news(folder, PREPARATION)
    assert told.run.environment.name == "staging"
    assert "there is no environment production" in told.matter.seen


def test_however_often_it_looks_people_are_called_once(folder: Path) -> None:
    sent: list[Any] = []
    ledger = cast("Ledger", MemoryLedger())
    for minutes in range(0, 60, 5):
        for one in news(folder, REHEARSAL + timedelta(minutes=minutes)):
            page(one.run, ledger, one.matter, {"slack": sent.append})
    assert len(sent) == 2
