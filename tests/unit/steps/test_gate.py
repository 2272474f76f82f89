"""The question at the gate: short enough for a phone, with what will change before what was found."""

from __future__ import annotations

from dataclasses import replace

from include.plan.loader import load_plan, plan_folder
from include.plan.rules import NamedRule, Rule, SloRules, Triggers
from include.steps.gate import question
from include.steps.run import open_run


def test_the_question_says_what_will_change_before_what_was_found_and_where_the_rest_is() -> None:
    run = open_run(
        load_plan(plan_folder()),
        release="3.0.0",
        environment="production",
        phase="production-blue-green",
        run_id="r1",
        triggered_by="rm",
    )
    evidence = {
        "from": "blue",
        "to": "green",
        "changes": ["objects: Deployment/<release> +1 -1"],
        "facts": ["warning: an image is not pinned", "rollback auto: possible"],
        "preview": "a very long text",
    }
    body = question(run, "technical-lead", evidence).body
    lines = body.splitlines()
    assert lines.index("- objects: Deployment/<release> +1 -1") < lines.index("- warning: an image is not pinned")
    assert "a very long text" not in body
    assert "log of `preflight`" in body
    assert question(run, "technical-lead", {}).body, "an XCom that was taken away is no reason to fail"


def test_every_trigger_is_named_with_its_duration() -> None:
    plan = load_plan(plan_folder())
    run = open_run(
        plan, release="3.0.0", environment="staging", phase="production-blue-green", run_id="r1", triggered_by="rm"
    )
    queue = NamedRule(name="queue-age", limit=30, query="q", unit="s", for_seconds=60)
    slo = SloRules(triggers=Triggers(error_rate=Rule(limit=0.05, for_seconds=15), more=(queue,)))
    changed = replace(run, environment=run.environment.model_copy(update={"slo": slo}))
    body = question(changed, "technical-lead", {}).body
    assert (
        "| rollback at | error rate > 5% for 15 s, P95 > 2 s, queue-age > 30 s for 60 s, down > 300 s, "
        "a crash loop (2 restarts a pod), "
        "a critical bug that a human reports |"
    ) in body
