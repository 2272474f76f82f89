"""``make demo``: two releases of the demo ERP under constant load, measured from the outside.

Story 1, 3.0.0: everybody says Go, traffic moves, the watch passes, the old slot is retired; no request is lost.
Story 2, 3.0.1: under real traffic it answers 30 % of its requests with 500; the watch switches back by itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from include.errors import StellwerkError
from include.report.evidence import Evidence, Measure, write
from include.report.table import tables
from include.sandbox.airflow_client import Run
from include.sandbox.environment import REPOSITORY, Options, Sandbox
from include.sandbox.external_cluster import demo_namespace
from include.sandbox.people import answer_gate, trigger_release
from include.sandbox.story import Story, measures_of, observe_story

RATE: Final = 120.0
RUN_SECONDS: Final = 300.0


def main() -> int:
    """Run both stories; return 0 when everything went as it has to."""
    from include.sandbox.signals import end_on_signals

    with end_on_signals():
        try:
            state = REPOSITORY / "build" / "demo"
            evidence = demo(Options(state=state, namespace=demo_namespace(), watch_seconds=25))
        except StellwerkError as error:
            print(f"\nThe demo failed: {error}", file=sys.stderr)
            return 1
    print(tables([evidence]))
    return 0 if evidence.ok else 1


def demo(options: Options, *, say: Callable[[str], None] = print) -> Evidence:
    """Run the stories in a sandbox of their own and write ``build/evidence/demo.json``."""
    began = time.monotonic()
    measures: list[Measure] = []
    with Sandbox(options, say=say) as sandbox:
        say(f"up after {time.monotonic() - began:.0f} s; inbox of Slack and mail: {sandbox.inbox}")
        release = observe_story(sandbox, "release", RATE, lambda: _release(sandbox, say))
        measures += measures_of(release, final_slot="green", cutovers=1, rollbacks=0)
        fault = observe_story(sandbox, "automatic-rollback", RATE, lambda: _faulty(sandbox, say))
        measures += measures_of(fault, final_slot="green", cutovers=1, rollbacks=1)
        _tell(say, release, fault, sandbox.inbox)
    measures.append(Measure("demo.seconds_total", round(time.monotonic() - began, 1), "s"))
    evidence = Evidence.of("demo", measures)
    write(evidence, REPOSITORY / "build" / "evidence")
    return evidence


def _release(sandbox: Sandbox, say: Callable[[str], None]) -> list[Run]:
    say("\nStory 1: 3.0.0 goes live")
    run = trigger_release(sandbox.airflow, "3.0.0")
    _decide(sandbox, run, say)
    with sandbox.airflow.client() as client:
        return [client.wait_for_run(run, deadline_seconds=RUN_SECONDS, states=frozenset({"success"}))]


def _faulty(sandbox: Sandbox, say: Callable[[str], None]) -> list[Run]:
    say("\nStory 2: 3.0.1 goes live and fails under load")
    run = trigger_release(sandbox.airflow, "3.0.1")
    _decide(sandbox, run, say)
    with sandbox.airflow.client() as client:
        ended = client.wait_for_run(run, deadline_seconds=RUN_SECONDS, states=frozenset({"failed"}))
        say("  the release ended as failed, as it has to; waiting for the rollback run")
        back = client.runs("rollback")[-1]
        return [ended, client.wait_for_run(back, deadline_seconds=RUN_SECONDS, states=frozenset({"success"}))]


def _decide(sandbox: Sandbox, run: Run, say: Callable[[str], None]) -> None:
    say(f"  triggered by release-manager: {run.run_id}")
    for question in answer_gate(sandbox.airflow, run):
        say(f"  {question.assigned_users[0]} says Go to: {question.subject}")


def _tell(say: Callable[[str], None], release: Story, fault: Story, inbox: Path) -> None:
    for story in (release, fault):
        say(
            f"\n{story.name}: {story.load.requests_sent} requests sent, {story.load.requests_lost} lost, "
            f"{story.load.bad_answers} answered with an error; traffic is on {story.final_slot}"
        )
    files = sorted(str(file.relative_to(inbox)) for file in inbox.rglob("*") if file.is_file())
    say("\nWhat Slack and the mail server received:")
    for name in files:
        say(f"  {name}")


if __name__ == "__main__":
    sys.exit(main())
