"""What settles a point of a checklist; no record is no evidence."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from include.gate.checklist import KINDS, OF_THE_RELEASE, RECORDS, TICKED, points, unsettled
from include.ledger.entry import Entry, NewEntry
from include.plan.loader import load_plan, plan_folder
from include.plan.people import TASKS, ChecklistItem
from include.report import names
from include.steps import record, schema_course
from include.steps.database import entries as entries_of
from include.steps.staging import entries as staging_entries
from tests.memory import MemoryLedger

DAY = date(2026, 3, 12)
BY_ROLE = ChecklistItem(text="No critical bugs", role="technical-lead")
BY_TASK = ChecklistItem(text="Migration successful", task="db-migration.watch")
BY_RULE = ChecklistItem(text="Error rate", rule="criteria.error_rate")


def entries(*told: tuple[str, dict[str, Any]]) -> tuple[Entry, ...]:
    ledger = MemoryLedger()
    return tuple(
        ledger.append(NewEntry(kind, "3.0.0", "production", "r", str(payload.pop("by", "x")), payload))
        for kind, payload in told
    )


def standing(item: ChecklistItem, *told: tuple[str, dict[str, Any]]) -> tuple[str, str]:
    [point] = points([item], entries(*told), checklist="go-no-go", planned=DAY)
    return point.standing, point.why


def test_a_task_settles_by_its_record_until_that_is_undone() -> None:
    assert standing(BY_TASK) == ("unknown", "no record of db-migration.watch")
    assert standing(BY_TASK, ("migration.watched", {}))[0] == "settled"
    for undone in ("migration.taken-back", "restore.done"):
        assert standing(BY_TASK, ("migration.watched", {}), (undone, {}))[0] == "open"
        assert (
            standing(BY_TASK, ("migration.watched", {}), (undone, {}), ("migration.watched", {}))[0] == "settled"
        )


def test_a_release_without_a_migration_settles_what_is_said_of_it() -> None:
    needless = ("migration.needless", {"sentence": "nothing was to be migrated"})
    found, why = standing(BY_TASK, needless)
    assert found == "settled"
    assert why.startswith("nothing was to be migrated, ")
    assert standing(BY_TASK, needless, ("migration.intended", {}))[0] == "unknown", "migrated after all"
    assert standing(BY_TASK, ("migration.watched", {}), ("restore.done", {}), needless)[0] == "settled"
    assert standing(BY_TASK, needless, ("restore.done", {}))[0] == "unknown"


def test_a_task_that_leaves_no_record_settles_nothing() -> None:
    item = ChecklistItem(text="Report", task="production-blue-green.report")
    assert standing(item)[0] == "unknown"


@pytest.mark.parametrize(
    ("state", "expected"), [("HEALTHY", "settled"), ("DEGRADED", "open"), ("UNKNOWN", "unknown")]
)
def test_a_rule_settles_by_what_the_watch_found(state: str, expected: str) -> None:
    watched = {
        "result": "PASSED",
        "findings": [["criteria.p95_seconds", "HEALTHY", "fast"], ["criteria.error_rate", state, "0.2 %"]],
    }
    assert standing(BY_RULE, ("watch.passed", watched)) == (expected, "0.2 %")


def test_a_rule_that_was_not_judged_is_unknown() -> None:
    assert standing(BY_RULE)[0] == "unknown"
    assert standing(BY_RULE, ("watch.passed", {"result": "PASSED", "findings": []})) == (
        "unknown",
        "the watch judged no criteria.error_rate",
    )
    healthy = {"result": "PASSED", "findings": [["criteria.error_rate", "HEALTHY", "0.2 %"]]}
    assert standing(BY_RULE, ("watch.passed", healthy), ("switch.back", {}))[0] == "open"


WATCH = ChecklistItem(text="Metrics normal", task="production-blue-green.watch")
CUTOVER = ChecklistItem(text="Zero-Downtime achieved", task="production-blue-green.cutover")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"result": "PASSED", "sentence": "all held"}, "settled"),
        ({"result": "ACCEPTED", "sentence": "accepted by tina: the graph is wrong"}, "open"),
        ({}, "unknown"),
    ],
)
def test_a_watch_that_somebody_overruled_is_no_proof(payload: dict[str, Any], expected: str) -> None:
    found, why = standing(WATCH, ("watch.passed", payload))
    assert found == expected
    if expected == "open":
        assert why == "accepted by tina: the graph is wrong"
        assert standing(BY_RULE, ("watch.passed", payload))[0] == "open"


HELD = {"result": "HELD", "sentence": "error rate 2 % of 412 requests"}


def test_a_watch_that_did_not_pass_says_what_it_saw() -> None:
    seen = ("open", "the watch did not pass (HELD): error rate 2 % of 412 requests")
    assert standing(WATCH, ("watch.ended", HELD)) == seen
    assert standing(BY_RULE, ("watch.ended", HELD)) == seen
    passed = {"result": "PASSED", "sentence": "all held"}
    done = (("watch.ended", passed), ("watch.passed", passed))
    assert standing(WATCH, ("watch.ended", HELD), *done)[0] == "settled"
    assert standing(WATCH, *done, ("watch.ended", HELD)) == seen
    assert standing(WATCH, ("watch.ended", HELD), ("switch.back", {}))[1].startswith("taken back at")
    assert standing(WATCH, *done, ("switch.back", {}), ("watch.ended", HELD)) == seen
    assert standing(WATCH, ("watch.ended", passed)) == ("unknown", "no record of production-blue-green.watch")
    assert standing(WATCH, ("watch.ended", {}))[0] == "unknown"


def test_who_accepts_a_watch_answers_for_the_reports_that_it_overrules() -> None:
    accepted = {"result": "ACCEPTED", "sentence": "accepted by tina: known"}
    spite = ("watch.accepted", {"overruled": ["kira: no orders"]})
    assert standing(WATCH, spite, ("watch.ended", accepted), ("watch.passed", accepted)) == (
        "open",
        "accepted by tina: known; in spite of: kira: no orders",
    )


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ((), ""),
        ((("database.loss-refused", {"why": "no answer in time"}),), "; the schema was kept: no answer in time"),
        ((("database.loss-refused", {"by": "bo", "why": "bo said Keep"}),), "; the schema was kept: bo said Keep"),
    ],
)
def test_a_schema_that_was_kept_though_its_watch_failed_says_what_was_seen_and_who_kept_it(
    kept: tuple[tuple[str, dict[str, Any]], ...], said: str
) -> None:
    failed = ("migration.watch-failed", {"result": "FIRED", "migrated": 2, "sentence": "error rate 30 %"})
    done: list[tuple[str, dict[str, Any]]] = [("migration.intended", {}), ("migration.applied", {}), failed]
    ledger = MemoryLedger()
    told = [
        ledger.append(NewEntry(kind, "3.0.0", "production", "r", "x", payload)) for kind, payload in (*done, *kept)
    ]
    [point] = points([BY_TASK], told, checklist="go-no-go", planned=DAY)
    assert (point.standing, point.why) == ("open", f"the watch did not pass: error rate 30 %{said}")


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        ({"lost": 0, "old_after_new": 0, "sentence": "none lost"}, "settled"),
        ({"lost": 412, "old_after_new": 0, "sentence": "412 OF 500 REQUESTS LOST"}, "open"),
        ({"lost": 0, "old_after_new": 3, "sentence": "none lost; FLAPPING: 3"}, "settled"),
        ({"sentence": "no observation because the prober could not be started"}, "unknown"),
        (None, "unknown"),
    ],
)
def test_a_cutover_settles_what_users_have_seen_of_it(observation: dict[str, Any] | None, expected: str) -> None:
    found, why = standing(CUTOVER, ("cutover.done", {"observation": observation}))
    assert found == expected
    assert (observation or {}).get("sentence", "nobody watched") in why


def test_a_migrations_watch_is_about_that_migration_and_no_later_one() -> None:
    done: list[tuple[str, dict[str, Any]]] = [
        ("migration.intended", {}),
        ("migration.applied", {}),
        ("migration.watched", {"migrated": 2}),
    ]
    assert standing(BY_TASK, *done)[0] == "settled"
    failed = ("migration.watch-failed", {"migrated": 2, "sentence": "error rate 30 %"})
    assert standing(BY_TASK, *done, failed) == ("open", "the watch did not pass: error rate 30 %")
    begun, nothing = ("migration.intended", {}), ("migration.changed-nothing", {})
    assert "has no end" in standing(BY_TASK, *done, begun)[1]
    assert standing(BY_TASK, *done, begun, nothing)[0] == "settled"
    again = [*done, begun, ("migration.applied", {})]
    assert "nobody has watched what was migrated at" in standing(BY_TASK, *again)[1]
    assert standing(BY_TASK, *again, failed)[0] == "open"
    assert standing(BY_TASK, *again, ("migration.watched", {"migrated": 5}))[0] == "settled"


TICK = {
    "role": "technical-lead",
    "points": ["No critical bugs"],
    "comment": "looked",
    "planned": DAY.isoformat(),
}


@pytest.mark.parametrize("back", ["switch.back", "rollback.done", "restore.done"])
@pytest.mark.parametrize(("name", "expected"), [("business-success", "open"), ("go-no-go", "settled")])
def test_what_was_ticked_of_a_run_that_was_rolled_back_counts_no_more(back: str, name: str, expected: str) -> None:
    ticked = {**TICK, "checklist": name}
    before = entries((TICKED, {**ticked}), (back, {}))
    [point] = points([BY_ROLE], before, checklist=name, planned=DAY)
    assert point.standing == expected
    [point] = points(
        [BY_ROLE], entries((TICKED, {**ticked}), (back, {}), (TICKED, {**ticked})), checklist=name, planned=DAY
    )
    assert point.standing == "settled"


def test_a_tick_settles_the_point_of_its_own_list_and_role_only() -> None:
    ticked = {**TICK, "checklist": "go-no-go"}
    assert standing(BY_ROLE) == ("open", "technical-lead has not ticked it")
    assert standing(BY_ROLE, (TICKED, {**ticked, "by": "tina"})) == ("settled", "tina: looked")
    for other in ({"checklist": "final-check"}, {"role": "on-call-lead"}, {"points": ["No other bugs"]}):
        assert standing(BY_ROLE, (TICKED, {**ticked, **other}))[0] == "open"


@pytest.mark.parametrize("then", [date(2026, 1, 15).isoformat(), None])
@pytest.mark.parametrize("name", sorted(OF_THE_RELEASE))
def test_what_was_ticked_for_another_date_is_asked_again(name: str, then: str | None) -> None:
    ticked = {**TICK, "checklist": name}
    earlier = (TICKED, {**ticked, "planned": then})
    [point] = points([BY_ROLE], entries(earlier), checklist=name, planned=DAY)
    assert (point.standing, point.why) == (
        "open",
        f"technical-lead has ticked it for {then or 'another date'}, not for 2026-03-12",
    )
    [point] = points([BY_ROLE], entries(earlier, (TICKED, {**ticked})), checklist=name, planned=DAY)
    assert point.standing == "settled"


def test_what_was_ticked_of_what_it_has_done_counts_whatever_the_date_was() -> None:
    ticked = {**TICK, "checklist": "business-success", "planned": "2026-01-15"}
    [point] = points([BY_ROLE], entries((TICKED, ticked)), checklist="business-success", planned=DAY)
    assert point.standing == "settled"


REPORT = ChecklistItem(text="Report", task="production-blue-green.report")


def test_a_report_of_another_attempt_settles_nothing_of_this_one() -> None:
    ledger = MemoryLedger()

    def now(kind: str, run: str) -> str:
        ledger.append(NewEntry(kind, "3.0.0", "production", run, "x", {}))
        [point] = points([REPORT], ledger.entries(), checklist="at-once", planned=DAY)
        return point.standing

    assert now("report.written", "1") == "unknown", "it has not got as far as users"
    assert now("cutover.done", "1") == "unknown", "written before"
    assert now("report.written", "1") == "settled"
    assert now("report.written", "rollback") == "settled"
    assert now("cutover.done", "2") == "unknown"
    assert now("report.written", "1") == "unknown"
    assert now("report.written", "2") == "settled"


def test_what_is_unsettled_is_told_by_machines_or_by_role() -> None:
    found = points([BY_ROLE, BY_TASK], (), checklist="go-no-go", planned=DAY)
    assert [point.text for point in unsettled(found)] == ["Migration successful"]
    assert [point.text for point in unsettled(found, "technical-lead")] == ["No critical bugs"]
    assert found[1].line == "? Migration successful: no record of db-migration.watch"


def test_every_kind_of_record_is_one_that_the_steps_write() -> None:
    modules = (record, schema_course, entries_of, staging_entries, names)
    known = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    assert known >= KINDS


def test_what_the_plan_leaves_to_tasks_leaves_a_record() -> None:
    lists = load_plan(plan_folder()).environment("production").checklists
    tasks = {item.task for items in lists.values() for item in items if item.task}
    assert tasks <= set(RECORDS), "nobody could settle it"
    assert set(RECORDS) == TASKS, "what a plan may name is what leaves a record"
    wired = ("go-no-go", "verification", "business-success", "compliance-success")
    assert {item.task for name, items in lists.items() if name in wired for item in items if item.task} <= set(
        RECORDS
    )
