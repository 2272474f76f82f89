"""Reports as tasks: they are tried, given up honestly, and make no release and no rollback a failure."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import ObjectStoragePath, Variable
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from include.errors import LedgerError, LedgerUnavailable, PlanError, ReportError
from include.plan.loader import plan_folder
from stellwerk.hooks import reports
from stellwerk.operators import base
from stellwerk.operators.report import PostMortemDraft, ReleaseReport
from tests.unit.report.postmortem.records import Story, automatic

CONTEXT = cast(Any, {"ti": SimpleNamespace(try_number=1)})
LAST_TRY = cast(Any, {"ti": SimpleNamespace(try_number=3)})


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Story:
    story = automatic()
    monkeypatch.setattr(base, "release_run", lambda context, **_: story.rollback_run())
    monkeypatch.setattr(base.StellwerkOperator, "ledger", lambda self, run: story.ledger)
    monkeypatch.setattr(base.StellwerkOperator, "note_ledger_head", lambda self: None)
    monkeypatch.setattr(Variable, "get", lambda key, default=None: (tmp_path / "reports").as_uri())
    return story


@pytest.mark.parametrize(
    ("operator", "kinds"),
    [(PostMortemDraft, {"md", "html", "svg"}), (ReleaseReport, {"md", "html", "svg"})],
)
def test_the_report_is_written_to_the_folder_that_the_variable_names(
    story: Story, tmp_path: Path, operator: Any, kinds: set[str]
) -> None:
    done = operator(task_id="report").execute(CONTEXT)
    written = {file.name for file in (tmp_path / "reports" / "3.0.0" / "production").iterdir()}
    assert written == {file["name"] for file in done["files"]}
    assert {name.rpartition(".")[2] for name in written} == kinds
    assert all(file["url"].startswith("file:///") for file in done["files"])
    assert operator(task_id="again").execute(CONTEXT) == done


def test_without_the_variable_the_task_is_skipped_and_names_it(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Variable, "get", lambda key, default=None: default)
    with pytest.raises(AirflowSkipException, match=reports.REPORTS_VARIABLE):
        PostMortemDraft(task_id="draft").execute(CONTEXT)


def test_the_folder_may_be_in_object_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Variable, "get", lambda key, default=None: "memory://reports")
    assert isinstance(reports.reports_folder(), ObjectStoragePath)


@pytest.mark.parametrize("error", [ReportError("full"), LedgerUnavailable("down")])
def test_what_a_retry_may_help_is_tried_again_and_then_given_up(
    story: Story, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    task = _failing(monkeypatch, error)
    with pytest.raises(AirflowException) as caught:
        task.execute(CONTEXT)
    assert not isinstance(caught.value, AirflowFailException | AirflowSkipException)
    with pytest.raises(AirflowSkipException, match="after 3 tries"):
        task.execute(LAST_TRY)


def test_what_no_retry_helps_is_given_up_at_once(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AirflowSkipException):
        _failing(monkeypatch, LedgerError("no entries")).execute(CONTEXT)


def test_other_errors_are_failures(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AirflowFailException):
        _failing(monkeypatch, PlanError("no such release")).execute(CONTEXT)


def _failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> PostMortemDraft:
    def write(*_: object) -> None:
        raise error

    monkeypatch.setattr(PostMortemDraft, "write", write)
    return PostMortemDraft(task_id="draft")


@pytest.mark.parametrize(
    ("name", "task", "after"),
    [
        ("production-blue-green", "report", {"final_verification", "start_rollback"}),
        ("production-blue-green", "signed_report", {"sign_off.approve"}),
        ("rollback", "report", {"post_mortem_complete"}),
    ],
)
def test_the_report_of_a_release_is_written_however_it_ended_and_decides_about_nothing(
    name: str, task: str, after: set[str]
) -> None:
    folder = plan_folder().parent / "dags"
    dag = DagBag(dag_folder=str(folder), collect_dags=True, bundle_name="dags-folder").dags[name]
    report = dag.get_task(task)
    assert report.is_teardown
    assert not report.on_failure_fail_dagrun
    assert report.upstream_task_ids == after
    assert not report.downstream_task_ids
