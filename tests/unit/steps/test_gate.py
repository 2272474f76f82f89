"""The question at the gate: short enough for a phone, with what will change before what was found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from include.gate.checklist import Point
from include.gate.form import LONGEST_LINE, MOST_LINES, Frame
from include.plan.loader import load_plan, plan_folder
from include.plan.rules import NamedRule, Rule, SloRules, Triggers
from include.steps.gate import question
from include.steps.run import ReleaseRun, open_run

FRAME = Frame(datetime(2030, 1, 15, 10, 30, tzinfo=UTC), timezone="Europe/Berlin")


def a_run(environment: str = "production") -> ReleaseRun:
    return open_run(
        load_plan(plan_folder()),
        release="3.0.0",
        environment=environment,
        phase="production-blue-green",
        run_id="r1",
        triggered_by="rm",
    )


def body_of(evidence: dict[str, Any], frame: Frame = FRAME, role: str = "technical-lead") -> str:
    return question(a_run(), role, evidence, frame).body


def test_the_question_says_what_will_change_before_what_was_found_and_where_the_rest_is() -> None:
    evidence = {
        "from": "blue",
        "to": "green",
        "changes": ["objects: Deployment/<release> +1 -1"],
        "facts": ["rollback auto: possible", "warning: an image is not pinned"],
        "preview": "a very long text",
    }
    body = body_of(evidence)
    order = [
        "- objects: Deployment/&lt;release> +1 -1",
        "- warning: an image",
        "- rollback auto",
        "log of preflight",
    ]
    places = [body.index(part) for part in order]
    assert places == sorted(places), "warnings come before what was found to be well"
    assert "a very long text" not in body
    assert "**No answer until 2030-01-15 11:30 (CET) is No-Go.**" in body
    assert body_of({}), "an XCom that was taken away is no reason to fail"


def test_every_trigger_is_named_with_its_duration() -> None:
    run = a_run("staging")
    queue = NamedRule(name="queue-age", limit=30, query="q", unit="s", for_seconds=60)
    slo = SloRules(triggers=Triggers(error_rate=Rule(limit=0.05, for_seconds=15), more=(queue,)))
    changed = replace(run, environment=run.environment.model_copy(update={"slo": slo}))
    body = question(changed, "technical-lead", {}, FRAME).body
    for trigger in (
        "error rate > 5% for 15 s",
        "P95 > 2 s",
        "queue-age > 30 s for 60 s",
        "down > 300 s",
        "a crash loop (2 restarts a pod)",
        "a critical bug that a human reports",
    ):
        assert trigger in body


def test_what_differs_from_what_was_approved_before_is_shown_with_who_approved_it() -> None:
    frame = replace(FRAME, approved="tina, 2030-01-15 09:10 UTC", changed=("values.replicas: 3 → 4",))
    lines = body_of({}, frame).splitlines()
    at = lines.index("**Changed since it was approved** (tina, 2030-01-15 09:10 UTC):")
    assert lines[at + 1] == "- values.replicas: 3 → 4"
    assert "The same was approved before: tina" in body_of({}, replace(FRAME, approved="tina"))
    assert "approved before" not in body_of({})


def test_a_role_sees_its_own_points_as_boxes_and_what_machines_have_settled() -> None:
    points = (
        Point(0, "Migration done", None, "settled", "db-migration.watch at 2030-01-15 09:00 UTC"),
        Point(1, "No critical bugs", "technical-lead", "open", ""),
        Point(2, "On-call ready", "on-call-lead", "open", ""),
    )
    body = body_of({}, replace(FRAME, points=points))
    assert "- ✔ Migration done: db-migration.watch" in body
    assert "- ☐ No critical bugs: yours, tick it below" in body
    assert "On-call ready" not in body
    assert "1 more asked of on-call-lead" in body


@pytest.mark.parametrize("many", [0, 3, 400])
def test_the_question_stays_readable_on_a_phone_whatever_there_is_to_tell(many: int) -> None:
    long = "a very long word " * 40
    points = tuple(Point(n, f"{n} {long}", "technical-lead", "open", "") for n in range(min(many, 40)))
    frame = replace(
        FRAME,
        points=points,
        approved="tina, 2030-01-15 09:10 UTC",
        changed=tuple(f"values.{n}: {long}" for n in range(min(many, 8))),
        delegate="tina has named **bert** to speak for technical-lead, too.",
    )
    evidence = {
        "changes": [f"{long}{n}" for n in range(many)],
        "facts": [f"warning: {n} {long}" for n in range(many)],
    }
    lines = body_of(evidence, frame).splitlines()
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= LONGEST_LINE
    assert lines[-1].startswith("**No answer until"), "the end is never cut off"
