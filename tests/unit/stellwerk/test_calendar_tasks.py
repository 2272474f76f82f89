"""The calendar's tasks: what is due is started once, a late one looks again, a dead end is told."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRuntimeError,
    AirflowSkipException,
    DagRunTriggerException,
    ErrorType,
)
from airflow.sdk.execution_time.comms import ErrorResponse

from include.errors import LedgerUnavailable
from include.plan.loader import plan_folder
from stellwerk.operators.calendar import LookAtCalendar, StartPhase
from stellwerk.operators.plan import ValidatePlan
from tests.memory import MemoryLedger

SHIPPED = (plan_folder() / "releases" / "3.0.0.yaml").read_text()
DUE = {"release": "3.0.0", "phase": "release-preparation"}


class TaskInstance:
    """What the tasks ask Airflow."""

    def __init__(self, runs: dict[str, str] | None = None, *, dag: str = "there") -> None:
        self.runs = runs or {}
        self.dag = dag

    def get_dr_count(self, dag_id: str, run_ids: list[str]) -> int:
        return sum(run in self.runs for run in run_ids)

    def get_dagrun_state(self, dag_id: str, run_id: str) -> str:
        return self.runs[run_id]

    def get_dag(self, dag_id: str) -> Any:
        if self.dag == "missing":
            detail = {"status_code": 404, "message": "not found"}
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))
        return SimpleNamespace(is_paused=self.dag == "paused")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plan whose T-7 was a minute ago, and an empty ledger."""
    for name in ("releases", "environments", "charts"):
        shutil.copytree(plan_folder() / name, tmp_path / name)
    redate(tmp_path, datetime.now(UTC) - timedelta(minutes=1))
    monkeypatch.setenv("STELLWERK_PLAN", str(tmp_path))
    monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", lambda _: MemoryLedger())
    monkeypatch.setattr("stellwerk.notifiers.transport.transports", lambda *_: {"slack": lambda _: None})
    return tmp_path


def redate(folder: Path, preparation: datetime, zone: str = "UTC") -> None:
    """Have release-preparation due at that minute of the zone's clock."""
    file = folder / "releases" / "3.0.0.yaml"
    day: date = preparation.date() + timedelta(days=7)
    text = SHIPPED.replace("date: 2099-01-15", f"date: {day}").replace("Europe/Berlin", zone)
    file.write_text(text.replace("T-7 09:00", f"T-7 {preparation:%H:%M}"))


def context(instance: TaskInstance | None = None) -> Any:
    return cast("Any", {"ti": instance or TaskInstance()})


def look(instance: TaskInstance | None = None) -> list[dict[str, str]]:
    return LookAtCalendar(task_id="look").execute(context(instance))


def start(instance: TaskInstance | None = None, **due: str) -> None:
    StartPhase(task_id="start", **{**DUE, **due}).execute(context(instance))


def test_what_is_due_is_returned_and_the_log_says_what_comes_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert look() == [DUE]
    shown = capsys.readouterr().out
    assert "start    3.0.0      release-preparation" in shown
    assert "waiting  3.0.0      staging-deploy" in shown


def test_it_is_started_with_the_release_in_its_conf_and_without_its_date_in_the_run_id() -> None:
    with pytest.raises(DagRunTriggerException) as started:
        start()
    run = started.value
    assert (run.trigger_dag_id, run.dag_run_id) == ("release-preparation", "3.0.0__release-preparation")
    assert run.conf == {"release": "3.0.0", "environment": "production"}
    assert (run.logical_date, run.skip_when_already_exists, run.reset_dag_run) == (None, True, False)
    assert not run.wait_for_completion


def test_what_has_been_started_is_neither_returned_nor_started() -> None:
    instance = TaskInstance({"3.0.0__release-preparation": "running"})
    assert look(instance) == []
    with pytest.raises(AirflowSkipException, match="has been started"):
        start(instance)


def test_a_task_that_comes_late_looks_again(folder: Path) -> None:
    redate(folder, datetime.now(UTC) - timedelta(days=3))
    with pytest.raises(AirflowSkipException, match="too late to start by itself"):
        start()
    redate(folder, datetime.now(UTC) + timedelta(days=3))
    with pytest.raises(AirflowSkipException, match="due in"):
        start()
    (folder / "releases" / "3.0.0.yaml").unlink()
    with pytest.raises(AirflowSkipException, match="not in the plan any more"):
        start()


@pytest.mark.parametrize(("dag", "why"), [("missing", "there is no DAG of that name"), ("paused", "unpause it")])
def test_a_phase_that_nobody_could_run_fails_and_says_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, dag: str, why: str
) -> None:
    called: list[Any] = []
    monkeypatch.setattr("stellwerk.operators.calendar._MINUTES", 1)
    monkeypatch.setattr("stellwerk.operators.calendar._call_people", lambda news, _: called.append(news.matter))
    redate(folder, datetime.now(ZoneInfo("Africa/Lagos")) - timedelta(minutes=1), "Africa/Lagos")
    with pytest.raises(AirflowFailException, match=why) as failed:
        start(TaskInstance(dag=dag))
    for told in (str(failed.value), called[0].remedy):
        assert re.search(r"is tried every minute until \S+ \S+ WAT$", told), "by the release's clock"


def test_a_ledger_that_is_out_starts_nothing_and_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    def out(_: str) -> Any:
        raise LedgerUnavailable("the database gives no answer")

    monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", out)
    with pytest.raises(AirflowException, match="not known"):
        look()
    with pytest.raises(AirflowSkipException, match="nothing is started"):
        start()


def test_a_missed_phase_is_a_warning_and_no_failure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    redate(folder, datetime.now(UTC) - timedelta(days=2))
    assert look() == []
    assert re.search(r"\[warning\s*\] missed   3\.0\.0", capsys.readouterr().out)


def test_the_plan_is_validated_as_a_task(folder: Path) -> None:
    task = ValidatePlan(task_id="validate")
    assert task.execute(context()) == {"releases": ["3.0.0"], "environments": ["production", "staging"]}
    file = folder / "releases" / "3.0.1.yaml"
    file.write_text("version: 3.0.1\n")
    with pytest.raises(AirflowException, match=r"3\.0\.1\.yaml:1: date: is missing: add it"):
        task.execute(context())


class TestBadNews:
    @pytest.fixture
    def sent(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        sent: list[Any] = []
        memory = MemoryLedger()
        monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", lambda _: memory)
        monkeypatch.setattr("stellwerk.notifiers.transport.transports", lambda *_: {"slack": sent.append})
        monkeypatch.setattr("stellwerk.operators.calendar._MINUTES", 1)
        return sent

    def test_people_are_called_once_for_a_phase_that_was_missed(self, folder: Path, sent: list[Any]) -> None:
        redate(folder, datetime.now(UTC) - timedelta(days=2))
        assert [look() for _ in range(3)] == [[], [], []]
        assert len(sent) == 1
        assert "release-preparation" in sent[0].text

    def test_slack_that_takes_nothing_holds_up_no_start(
        self, folder: Path, sent: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def out(_: Any) -> None:
            raise OSError("no route to host")

        monkeypatch.setattr("stellwerk.notifiers.transport.transports", lambda *_: {"slack": out})
        (folder / "releases" / "3.0.1.yaml").write_text("version: 3.0.1\n")
        assert look() == [DUE]

    @pytest.mark.parametrize(
        ("dag", "remedy"), [("missing", "with the DAG phase-by-hand"), ("paused", "unpause it; it is tried")]
    )
    def test_people_are_called_once_to_a_phase_that_is_due_and_cannot_be_started(
        self, sent: list[Any], dag: str, remedy: str
    ) -> None:
        for _ in range(3):
            with pytest.raises(AirflowFailException):
                start(TaskInstance(dag=dag))
        assert len(sent) == 1
        assert "release-preparation is due and cannot be started" in sent[0].text
        assert remedy in sent[0].text
