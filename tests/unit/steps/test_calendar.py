"""The calendar's look at a folder of files, a ledger and Airflow's runs."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from include.errors import LedgerUnavailable
from include.ledger.entry import NewEntry
from include.ledger.store import Ledger
from include.plan.calendar import PhaseKey, Say
from include.plan.loader import Plan, load_plan, plan_folder
from include.report import calendar as command
from include.steps.calendar import line, look, told
from include.steps.phase import PHASE_COMPLETED, PHASE_STARTED
from tests.memory import MemoryLedger

PREPARATION = datetime(2099, 1, 8, 8, 0, tzinfo=UTC)
REHEARSAL = datetime(2099, 1, 12, 8, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("releases", "environments"):
        shutil.copytree(plan_folder() / name, tmp_path / name)
    return tmp_path


def write(folder: Path, version: str, **changes: str) -> None:
    text = (folder / "releases" / "3.0.0.yaml").read_text().replace("version: 3.0.0", f"version: {version}")
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    (folder / "releases" / f"{version}.yaml").write_text(text)


def says(plan: Plan, ledger: Any, now: datetime, **states: str) -> dict[PhaseKey, Say]:
    decisions = look(plan, lambda _: cast("Ledger", ledger), lambda dag_id, run: states.get(run), now)
    return {one.entry.key: one.say for one in decisions}


def prepared(ledger: MemoryLedger, version: str = "3.0.0") -> MemoryLedger:
    for kind in (PHASE_STARTED, PHASE_COMPLETED):
        payload = {"phase": "release-preparation", "attempt": 1}
        ledger.append(NewEntry(kind, version, "production", "manual", "rm", payload))
    return ledger


def test_before_the_first_time_nobody_is_asked(folder: Path) -> None:
    def nobody(_: str) -> Ledger:
        raise AssertionError("the ledger is asked for nothing")

    decisions = look(load_plan(folder), nobody, lambda *_: None, PREPARATION - timedelta(seconds=1))
    assert {one.say for one in decisions} == {Say.WAITING}


def test_the_first_phase_is_due_and_the_next_waits_for_it(folder: Path) -> None:
    found = says(load_plan(folder), MemoryLedger(), PREPARATION)
    assert found[PhaseKey("3.0.0", "release-preparation")] is Say.START
    assert found[PhaseKey("3.0.0", "staging-deploy")] is Say.WAITING


def test_what_the_calendar_has_started_is_not_started_again(folder: Path) -> None:
    ledger = prepared(MemoryLedger())
    plan = load_plan(folder)
    key = PhaseKey("3.0.0", "staging-deploy")
    assert says(plan, ledger, REHEARSAL)[key] is Say.START
    assert says(plan, ledger, REHEARSAL, **{"3.0.0__staging-deploy": "queued"})[key] is Say.RUNNING


def test_a_broken_file_costs_its_own_release_only(folder: Path) -> None:
    (folder / "releases" / "3.0.1.yaml").write_text("version: [\n")
    plan = load_plan(folder)
    decisions = look(plan, lambda _: cast("Ledger", MemoryLedger()), lambda *_: None, PREPARATION)
    assert [one.entry.key.release for one in decisions if one.say is Say.START] == ["3.0.0"]
    assert any(text.startswith("BROKEN") and "3.0.1.yaml:2" in text for text in told(plan, decisions))


def test_of_two_releases_on_one_day_the_second_is_refused_and_says_why(folder: Path) -> None:
    write(folder, "3.0.1")
    plan = load_plan(folder)
    decisions = look(plan, lambda _: cast("Ledger", MemoryLedger()), lambda *_: None, PREPARATION)
    due = {one.entry.key.release: one for one in decisions if one.entry.key.phase == "release-preparation"}
    assert due["3.0.0"].say is Say.START
    assert due["3.0.1"].say is Say.REFUSED
    assert "3.0.1.yaml" in due["3.0.1"].why
    assert "within the release day of release 3.0.0" in due["3.0.1"].why


def test_a_removed_release_is_not_started_and_a_new_one_is_found(folder: Path) -> None:
    (folder / "releases" / "3.0.0.yaml").rename(folder / "aside")
    assert says(load_plan(folder), MemoryLedger(), PREPARATION) == {}
    (folder / "aside").rename(folder / "releases" / "3.0.0.yaml")
    assert (
        says(load_plan(folder), MemoryLedger(), PREPARATION)[PhaseKey("3.0.0", "release-preparation")] is Say.START
    )


def test_a_ledger_that_is_out_makes_its_phases_unknown_and_no_others(folder: Path) -> None:
    staging = folder / "environments" / "staging.yaml"
    staging.write_text(staging.read_text().replace("ledger: ledger", "ledger: other_ledger"))

    def opened(connection: str) -> Ledger:
        if connection == "other_ledger":
            raise LedgerUnavailable("the database gives no answer")
        return cast("Ledger", prepared(MemoryLedger()))

    decisions = look(load_plan(folder), opened, lambda *_: None, REHEARSAL)
    found = {one.entry.key.phase: one.say for one in decisions}
    assert (found["release-preparation"], found["staging-deploy"]) == (Say.DONE, Say.UNKNOWN)


def test_without_its_environment_a_phase_is_refused_and_says_which_is_missing(folder: Path) -> None:
    (folder / "environments" / "production.yaml").write_text("name: production\n")
    plan = load_plan(folder)
    decisions = look(plan, lambda _: cast("Ledger", MemoryLedger()), lambda *_: None, PREPARATION)
    assert decisions[0].say is Say.REFUSED
    assert "there is no environment production to go to" in decisions[0].why


def test_a_line_tells_the_time_as_the_release_does(folder: Path) -> None:
    plan = load_plan(folder)
    decisions = look(plan, lambda _: cast("Ledger", MemoryLedger()), lambda *_: None, PREPARATION)
    assert line(plan, decisions[0]) == (
        "start    3.0.0      release-preparation  production  Thu 2099-01-08 09:00 CET  due since 0 s"
    )
    assert list(told(plan, decisions, next_ones=1))[-1] == "0 phase(s) done, 4 waiting, 3 of them not shown"


class TestTheCommand:
    def run(self, monkeypatch: pytest.MonkeyPatch, folder: Path, now: datetime, *arguments: str) -> int:
        monkeypatch.setenv("STELLWERK_PLAN", str(folder))
        monkeypatch.delenv("STELLWERK_LEDGER_URL", raising=False)
        return command.main(arguments, now=now)

    def test_shows_what_is_due_when(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.run(monkeypatch, folder, PREPARATION - timedelta(days=1)) == 0
        shown = capsys.readouterr().out
        assert "waiting  3.0.0      staging-deploy       staging     Mon 2099-01-12 09:00 CET  due in 5 d" in shown

    def test_without_a_ledger_it_says_that_it_does_not_know(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.run(monkeypatch, folder, PREPARATION) == 0
        assert "unknown  3.0.0      release-preparation" in capsys.readouterr().out

    def test_with_a_ledger_it_says_what_was_done_and_a_phase_that_was_missed_is_an_exit_code(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("STELLWERK_PLAN", str(folder))
        monkeypatch.setenv("STELLWERK_LEDGER_URL", "postgresql://ledger")
        monkeypatch.setattr(command, "Ledger", {"postgresql://ledger": prepared(MemoryLedger())}.__getitem__)
        assert command.main((), now=REHEARSAL) == 0
        shown = capsys.readouterr().out
        assert "start    3.0.0      staging-deploy" in shown
        assert shown.splitlines()[-1].startswith("1 phase(s) done")
        assert command.main((), now=REHEARSAL + timedelta(days=1)) == 1
        assert "missed   3.0.0      staging-deploy" in capsys.readouterr().out

    def test_a_broken_file_is_an_exit_code(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "releases" / "3.0.1.yaml").write_text("version: [\n")
        assert self.run(monkeypatch, folder, PREPARATION - timedelta(days=1), "--all") == 1
        assert "BROKEN" in capsys.readouterr().out
        shutil.rmtree(folder / "releases")
        assert self.run(monkeypatch, folder, PREPARATION) == 2
