"""The DAG files load without an error and are wired as the plan says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from include.bluegreen.eligibility import documentation
from include.messages.rollback import GIVE_UP_AFTER
from include.plan.loader import load_plan, plan_folder
from include.steps.announce import Event
from tests.unit.stellwerk.trigger_rules import states

DAGS = plan_folder().parent / "dags"


@pytest.fixture(scope="module")
def dags() -> DagBag:
    folder = plan_folder().parent / "dags"
    return DagBag(dag_folder=str(folder), collect_dags=True, bundle_name="dags-folder")


def test_every_file_loads(dags: DagBag) -> None:
    assert dags.import_errors == {}
    known = {"production-blue-green", "rollback", "undo-adoption", "user-feedback", "db-migration"}
    known |= {"release-calendar", "release-mails", "validate-plan", "staging-deploy", "phase-by-hand"}
    assert known <= set(dags.dags)


def _upstream(dags: DagBag, dag: str, task: str) -> set[str]:
    return set(dags.dags[dag].get_task(task).upstream_task_ids)


def test_nothing_acts_before_the_gate(dags: DagBag) -> None:
    dag = dags.dags["production-blue-green"]
    before_gate = {t.task_id for t in dag.tasks if "go_no_go.approve" not in _all_upstream(dag, t.task_id)}
    gate = {"roles", "decide", "open_roles", "decide_again", "approve"}
    assert before_gate == {"preflight", *(f"go_no_go.{task}" for task in gate)}


def _all_upstream(dag: object, task_id: str) -> set[str]:
    return {task.task_id for task in dag.get_task(task_id).get_flat_relatives(upstream=True)}  # type: ignore[attr-defined]


def test_clean_up_waits_for_the_watch_and_the_drain(dags: DagBag) -> None:
    assert _upstream(dags, "production-blue-green", "clean_up") == {"drain", "watch"}
    assert dags.dags["production-blue-green"].get_task("start_rollback").trigger_rule == "one_failed"


def test_the_watch_begins_beside_the_cutover_and_is_cleared_with_it(dags: DagBag) -> None:
    watch = dags.dags["production-blue-green"].get_task("watch")
    assert (watch.upstream_task_ids, watch.trigger_rule) == ({"verify_idle_slot", "cutover"}, "one_success")
    assert watch.cutover == "cutover"


def test_what_is_announced_is_an_event(dags: DagBag) -> None:
    told = {task.event for dag in dags.dags.values() for task in dag.tasks if type(task).__name__ == "Announce"}
    assert {"slot-deployment-started", "cutover", "cleanup", "successful", "migration-completed"} <= told
    assert told <= set(get_args(Event))


def test_no_message_stands_before_a_step(dags: DagBag) -> None:
    for dag in dags.dags.values():
        for task in dag.tasks:
            if type(task).__name__ == "Announce":
                after = {type(dag.get_task(name)).__name__ for name in task.downstream_task_ids}
                assert after <= {"Announce"}, f"{task.task_id} would delay what comes after it"


def test_a_second_release_is_refused_and_not_queued(dags: DagBag) -> None:
    assert dags.dags["production-blue-green"].max_active_runs > 1
    assert dags.dags["rollback"].max_active_runs > 1, "it waits for no other one"


def test_the_lease_is_given_up_whatever_failed_and_hides_no_failure(dags: DagBag) -> None:
    dag = dags.dags["production-blue-green"]
    last = dag.get_task("release_lease")
    assert last.is_teardown
    assert last.on_failure_fail_dagrun, "it fails a run that was ended by hand"
    assert last.trigger_rule == "all_done_setup_success"
    assert last.upstream_task_ids == {"final_verification", "start_rollback"}
    leaves = {task.task_id for task in dag.tasks if not task.downstream_task_ids}
    assert "announce_success" in leaves, "a failed step has to reach a task that decides about the run"
    acting = {"preflight", "deploy_idle_slot", "verify_idle_slot", "cutover", "drain", "watch", "clean_up"}
    assert acting <= _all_upstream(dag, "release_lease")


def test_nothing_that_switches_back_asks_for_the_lease(dags: DagBag) -> None:
    assert not any(type(task).__name__ == "ReleaseLease" for task in dags.dags["rollback"].tasks)
    assert "override_reason" not in dags.dags["rollback"].params
    override = dags.dags["production-blue-green"].params.get_param("override_reason")
    assert (override.value, override.schema["maxLength"]) == ("", 300)


def test_every_option_is_offered_and_the_form_explains_it(dags: DagBag) -> None:
    dag = dags.dags["rollback"]
    option = dag.params.get_param("option")
    assert (option.value, option.schema["enum"]) == (
        "auto",
        ["auto", "blue-cutover", "helm-rollback", "full-restore"],
    )
    assert documentation() in dag.doc_md
    assert all(f"| `{name}` |" in dag.doc_md for name in option.schema["enum"])
    assert "`full-restore` has to be asked for by name" in dag.doc_md


def test_a_full_restore_stands_in_nobodys_way_and_a_human_stands_before_it(dags: DagBag) -> None:
    dag = dags.dags["rollback"]
    assert dag.get_task("bring_back").upstream_task_ids == {"eligibility", "full_restore.restore"}
    assert dag.get_task("bring_back").trigger_rule == "none_failed"
    before = _all_upstream(dag, "full_restore.restore")
    assert {
        "full_restore.ask",
        "full_restore.stop",
        "full_restore.count_again",
        "full_restore.ask_again",
    } <= before
    assert _all_upstream(dag, "full_restore.stop") == {
        "eligibility",
        "full_restore.state_loss",
        "full_restore.ask",
    }
    asked = [dag.get_task(f"full_restore.{name}") for name in ("ask", "ask_again")]
    assert all(task.retries >= 5 and task.retry_delay.total_seconds() >= 10 for task in asked), "users are down"
    assert dag.get_task("full_restore.resume").trigger_rule == "one_failed"
    skipped = {task.task_id for task in dag.get_task("eligibility")._of_the_restore()}
    assert skipped == {task.task_id for task in dag.tasks if task.task_id.startswith("full_restore.")}


def test_every_deadline_of_the_plan_calls_back(dags: DagBag) -> None:
    alerts = dags.dags["rollback"].deadline
    wanted = {
        value
        for environment in load_plan(plan_folder()).environments.values()
        for value in environment.messages.deadlines.model_dump().values()
    }
    assert {alert.interval.total_seconds() for alert in alerts} == wanted
    assert {alert.callback.path for alert in alerts} == {"stellwerk.deadlines.rollback_deadline"}


def test_a_rollback_waits_for_no_message(dags: DagBag) -> None:
    for task in dags.dags["rollback"].tasks:
        if type(task).__name__ == "TellRollback":
            assert task.downstream_task_ids == {"post_mortem_complete"}, "a draft, which decides about nothing"
            assert task.trigger_rule == "all_done", "what was refused or blocked is told, too"
            seconds = task.retries * task.max_retry_delay.total_seconds()
            assert seconds > GIVE_UP_AFTER.total_seconds()


def test_the_watch_outlives_what_breaks_around_it_and_late_answers_decide_nothing(dags: DagBag) -> None:
    dag = dags.dags["production-blue-green"]
    assert dag.get_task("watch").retries >= 20
    late = dag.get_task("late_answers")
    assert (late.trigger_rule, late.upstream_task_ids, late.downstream_task_ids) == ("all_done", {"watch"}, set())


def test_feedback_is_a_form_for_a_phone_and_nothing_rolls_back_without_an_answer(dags: DagBag) -> None:
    dag = dags.dags["user-feedback"]
    verdict, text = dag.params.get_param("verdict"), dag.params.get_param("text")
    assert verdict.schema["enum"] == ["works", "problem", "critical-data-loss", "critical-security"]
    assert (verdict.value, text.value, text.schema["maxLength"]) == ("works", "", 1000)
    assert len(dag.params) == 4, "release, environment, how it is, what happened"
    assert dag.get_task("start_rollback").trigger_rule == "all_success"
    assert dag.get_task("start_rollback").upstream_task_ids == {"roll_back_now"}


def test_a_migration_waits_for_survey_rehearsal_gate_and_proven_safety_backup(dags: DagBag) -> None:
    dag = dags.dags["db-migration"]
    before = _all_upstream(dag, "migration.migrate")
    assert {
        *("survey", "rehearsal.back_up", "rehearsal.verify_backup", "rehearsal.survey", "rehearsal.rehearse"),
        *("go_no_go.approve", "migration.back_up", "migration.verify_backup"),
    } <= before
    assert "go_no_go.approve" in _all_upstream(dag, "migration.back_up"), "it is younger than the Go"


def test_a_mode_ends_before_what_the_next_one_does(dags: DagBag) -> None:
    dag = dags.dags["db-migration"]
    mode = dag.params.get_param("mode")
    assert (mode.value, mode.schema["enum"]) == ("plan", ["plan", "rehearse", "apply"])
    assert _all_upstream(dag, "rehearses") == {"survey"}
    assert set(dag.get_task("rehearses").modes) == {"rehearse", "apply"}
    assert set(dag.get_task("applies").modes) == {"apply"}
    looks = {"survey", "announce_left"}  # which finds in the ledger that there is nothing to tell
    assert ran(dag, {"rehearses": "skipped"}) == looks
    tries = {task for task in _all_upstream(dag, "applies") if task != "applies"} | {"retain_backups"}
    assert ran(dag, {"applies": "skipped"}) == looks | tries
    assert dag.get_task("go_no_go.approve").upstream_task_ids == {"go_no_go.open_roles", "go_no_go.decide_again"}


def ran(dag: DAG, ended: Mapping[str, str]) -> set[str]:
    """The tasks that do something in a run, see :func:`states`."""
    return {task for task, state in states(dag, ended).items() if state in ("success", "failed")}


def test_the_schema_is_taken_back_by_a_human_only_and_the_run_has_failed_then(dags: DagBag) -> None:
    dag = dags.dags["db-migration"]
    assert _upstream(dags, "db-migration", "way_back.state") == {"watch"}
    assert dag.get_task("way_back.state").trigger_rule == "one_failed"
    assert dag.get_task("way_back.state").retries >= 8, "another migration, or a ledger that is away, costs a try"
    assert _upstream(dags, "db-migration", "way_back.take_back") == {"way_back.ask"}
    assert dag.get_task("way_back.take_back").trigger_rule == "all_success"
    assert _upstream(dags, "db-migration", "announce_end") == {"watch"}, "a leaf that fails with the watch"
    assert not dag.get_task("announce_end").downstream_task_ids


def test_the_watch_of_a_schema_holds_no_worker_and_outlives_what_breaks_around_it(dags: DagBag) -> None:
    watch = dags.dags["db-migration"].get_task("watch")
    assert (type(watch).__name__, watch.upstream_task_ids) == ("SchemaWatch", {"migration.verify"})
    assert watch.retries >= 20


def test_who_was_told_of_the_beginning_is_told_of_a_failure_and_of_what_it_left(dags: DagBag) -> None:
    dag = dags.dags["db-migration"]
    assert "announce_end" in {task.task_id for task in dag.tasks if not task.downstream_task_ids}
    asked, not_taken = {"way_back.state", "way_back.ask"}, {"way_back.ask": "skipped"}
    cases: list[tuple[dict[str, str], set[str]]] = [
        ({"watch": "failed"}, {*asked, "way_back.take_back"}),
        ({"watch": "failed", "way_back.take_back": "failed"}, {*asked, "way_back.take_back"}),
        ({"watch": "failed", **not_taken}, {"way_back.state"}),  # Keep, or silence
        ({"migration.verify": "failed", **not_taken}, {"way_back.state"}),
        (
            {"migration.migrate": "failed", "way_back.state": "skipped"},
            set(),
        ),  # nothing is left, or it is not known
        ({"migration.migrate": "failed", "way_back.state": "failed"}, {"way_back.state"}),
        ({"migration.back_up": "failed", "way_back.state": "skipped"}, set()),
        ({"watch": "failed", "announce_failure": "skipped", **not_taken}, {"way_back.state"}),  # Slack was away
    ]
    for ended, back in cases:
        after = states(dag, ended)
        assert after["announce_failure"] == ended.get("announce_failure", "success"), ended
        assert after["announce_left"] == "success", ended
        assert after["announce_end"] == "upstream_failed", ended
        assert {task for task in ran(dag, ended) if task.startswith("way_back.")} == back, ended


def test_what_a_migration_has_left_is_watched_also_where_it_did_not_come_to_its_watch(dags: DagBag) -> None:
    """Whatever is known of the way back; whether there is anything to watch the task finds in the ledger."""
    dag = dags.dags["db-migration"]
    for failed in ("migration.migrate", "migration.verify"):
        assert "watch_left" in ran(dag, {failed: "failed"})
        assert "watch_left" in ran(dag, {failed: "failed", "way_back.state": "failed"})
        assert "watch_left" not in ran(dag, {failed: "failed", "way_back.state": "skipped"})
    assert "watch_left" not in ran(dag, {})
    assert "watch_left" not in _all_upstream(dag, "announce_left"), "nobody waits for it to be told"


def test_of_a_migration_that_went_well_the_end_is_told_and_no_failure(dags: DagBag) -> None:
    after = states(dags.dags["db-migration"], {})
    assert (after["announce_end"], after["announce_failure"]) == ("success", "skipped")
    assert after["way_back.state"] == "skipped"


def test_the_migration_asks_its_own_question(dags: DagBag) -> None:
    dag = dags.dags["db-migration"]
    assert {dag.get_task(f"go_no_go.{name}").about for name in ("roles", "approve")} == {"migration"}
    assert dag.get_task("go_no_go.decide").partial_kwargs["about"] == "migration"
    release = dags.dags["production-blue-green"]
    assert release.get_task("go_no_go.approve").about == "release"


def test_the_calendar_looks_every_minute_and_never_makes_up_for_looks_that_were_missed(dags: DagBag) -> None:
    dag = dags.dags["release-calendar"]
    assert (dag.schedule, dag.catchup, dag.max_active_runs) == ("* * * * *", False, 1)
    assert _upstream(dags, "release-calendar", "start") == {"look"}
    assert dag.get_task("start").is_mapped


def test_staging_is_changed_only_after_the_plans_word_is_recorded(dags: DagBag) -> None:
    dag = dags.dags["staging-deploy"]
    assert "authorise_migration" in _all_upstream(dag, "migration.back_up")
    assert "rehearsal.rehearse" in _all_upstream(dag, "authorise_migration")
    assert dag.get_task("authorise_migration").about == "migration"
    assert "authorise" in _all_upstream(dag, "deploy_idle_slot")
    assert dag.get_task("cutover").watched is False
    assert dags.dags["production-blue-green"].get_task("cutover").watched is True


def test_a_rehearsal_goes_from_backup_to_mail_and_every_part_waits_for_the_one_before(dags: DagBag) -> None:
    dag = dags.dags["staging-deploy"]
    course = [
        *("claim", "rehearses", "rehearsal.back_up", "migration.verify", "what_is_deployed", "cutover"),
        *("verify_urls", "smoke_tests", "load_test", "key_users", "uat", "conclude_uat", "complete_rehearsal"),
        "announce_release",
    ]
    for before, after in pairwise(course):
        assert before in _all_upstream(dag, after)
    assert dag.get_task("uat").is_mapped
    assert dag.get_task("uat").retries == 8, "an answer outlives minutes without a ledger"
    assert dag.get_task("announce_release").event == "announcement"
    mode = dag.params.get_param("mode")
    assert (mode.value, mode.schema["enum"]) == ("rehearsal", ["rehearsal", "final"])
    assert dag.params.get_param("environment").schema["enum"] == ["staging"]


def test_a_final_test_and_a_release_that_is_there_already_skip_no_smoke_test(dags: DagBag) -> None:
    dag = dags.dags["staging-deploy"]
    for name in ("what_is_deployed", "verify_urls", "smoke_tests", "complete"):
        assert dag.get_task(name).trigger_rule == "none_failed"
    # What only a rehearsal does follows a task that is skipped in the other mode, or skips itself.
    assert _upstream(dags, "staging-deploy", "rehearsal.back_up") == {"rehearses"}
    assert {dag.get_task(name).mode for name in ("rehearses", "verify_urls", "load_test")} == {"rehearsal"}
    for name in ("key_users", "uat", "conclude_uat", "complete_rehearsal", "announce_release"):
        assert dag.get_task(name).trigger_rule == "all_success"


def test_a_rehearsal_that_fails_is_told_and_has_failed(dags: DagBag) -> None:
    dag = dags.dags["staging-deploy"]
    failed = dag.get_task("record_failure")
    assert (failed.trigger_rule, failed.upstream_task_ids) == ("one_failed", {"complete_rehearsal"})
    assert {"complete", "announce_release"} <= {task.task_id for task in dag.tasks if not task.downstream_task_ids}
    last = dag.get_task("release_lease")
    assert last.is_teardown
    assert last.upstream_task_ids == {"smoke_tests", "conclude_uat"}


def test_what_is_wrong_with_the_plan_is_the_import_error_of_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("releases", "environments", "charts"):
        shutil.copytree(plan_folder() / name, tmp_path / name)
    good = (tmp_path / "releases" / "3.0.0.yaml").read_text()
    (tmp_path / "releases" / "3.0.1.yaml").write_text("version: 3.0.1\nprevious: 3.0.0\n")
    (tmp_path / "releases" / "3.0.2.yaml").write_text(good.replace("version: 3.0.0", "version: 3.0.2"))
    monkeypatch.setenv("STELLWERK_PLAN", str(tmp_path))
    folder = Path(__file__).resolve().parents[3] / "dags"
    bag = DagBag(dag_folder=str(folder), collect_dags=True, bundle_name="dags-folder")
    assert {Path(file).name for file in bag.import_errors} == {"plan_validation.py"}
    (error,) = bag.import_errors.values()
    assert "3.0.1.yaml:1: date: is missing: add it" in error
    assert "within the release day of release 3.0.0" in error
    assert "do: correct the file" in error
    releases = bag.dags["production-blue-green"].params.get_param("release").schema["enum"]
    assert releases == ["3.0.2", "3.0.1", "3.0.0"], "the first task of a run says what is wrong with a broken one"


def test_a_question_with_other_words_has_a_task_of_its_own_and_a_gate_that_needs_none_goes_on(
    dags: DagBag,
) -> None:
    for name in ("production-blue-green", "db-migration"):
        dag = dags.dags[name]
        assert dag.get_task("go_no_go.open_roles").upstream_task_ids == {"go_no_go.decide"}
        assert dag.get_task("go_no_go.open_roles").again
        assert dag.get_task("go_no_go.decide_again").is_mapped
        assert dag.get_task("go_no_go.approve").trigger_rule == "none_failed_min_one_success"


def test_what_people_vouch_for_at_the_end_holds_up_neither_report_nor_lease(dags: DagBag) -> None:
    dag = dags.dags["production-blue-green"]
    assert "final_verification" in _all_upstream(dag, "checklist.points")
    assert "checklist.settled" in _all_upstream(dag, "sign_off.decide")
    assert {dag.get_task(f"sign_off.{name}").about for name in ("roles", "open_roles", "approve")} == {"sign-off"}
    for task in ("report", "release_lease", "announce_success"):
        assert not any(name.startswith(("checklist.", "sign_off.")) for name in _all_upstream(dag, task))


HEAVY = {
    *("include.plan.models", "include.plan.release", "include.plan.loader"),
    *("include.ledger.store", "include.steps.run", "include.steps.record", "include.bluegreen.slots"),
    *("include.clients.kubernetes", "include.messages.render", "include.report.release.draft"),
    *("matplotlib", "markdown_it", "psycopg", "locust"),
}

_WHAT_A_FILE_LOADS = """
import importlib, runpy, sys
importlib.import_module("airflow.sdk").DAG
before = set(sys.modules)
runpy.run_path(sys.argv[1])
print("\\n".join(set(sys.modules) - before))
"""


@pytest.mark.parametrize("file", sorted(DAGS.glob("*.py")), ids=lambda file: file.stem)
def test_a_dag_file_loads_no_more_than_its_form_and_its_tasks(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WHAT_A_FILE_LOADS, str(file)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": f"{DAGS.parent}:{DAGS.parent / 'plugins'}"},
    )
    loaded = set(done.stdout.split())
    if file.stem != "plan_validation":  # it reads the whole plan, that is what it is for
        assert not HEAVY & loaded, "import it where it is used: the DAG processor pays for it at every parse"
