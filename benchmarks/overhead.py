"""What the DAG costs beside the plan's bare commands on the same sandbox; docs/benchmarks.md defines it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from benchmarks.starting_point import VERSION, World
from include.report.evidence import Measure
from include.sandbox.airflow_client import AirflowClient, Run
from include.sandbox.environment import Sandbox
from include.sandbox.people import answer_gate, trigger_release
from include.sandbox.story import constant_load

RATE: Final = 60.0
GATE: Final = "go_no_go."
GOAL_SECONDS: Final = 2.0
RUN_SECONDS: Final = 180.0
# preflight, roles, decide, open roles, approve, deploy, verify, cutover, drain or watch, clean-up, verification
IN_A_ROW: Final = 11


@dataclass(frozen=True)
class Round:
    """One release by the DAG; times in seconds.

    :param wall: from the run's start to its end
    :param human: from the gate's first question to its last answer
    :param beside: drain and watch run side by side: the longer of the watch's length and the drain's own work
    :param tasks: task instances that ran
    """

    wall: float
    human: float
    beside: float
    tasks: int

    def overhead(self, script: float) -> float:
        """What the DAG took longer than the script, for all tasks together."""
        return self.wall - self.human - self.beside - script


def measure_overhead(sandbox: Sandbox, rounds: int) -> list[Measure]:
    """Release by script and by DAG in turn, from the same starting point each time, under the same load."""
    world, scripts, dags = World(sandbox), [], []
    with constant_load(sandbox, "overhead", RATE):
        for _ in range(rounds):
            world.reset()
            began = time.monotonic()
            world.plain_commands()
            scripts.append(time.monotonic() - began)
            world.reset()
            dags.append(_release(sandbox))
    world.reset()
    script = sorted(scripts)[len(scripts) // 2]
    return _measures(dags, script, tuple(round(one, 2) for one in scripts))


def _release(sandbox: Sandbox) -> Round:
    run = trigger_release(sandbox.airflow, VERSION)
    answer_gate(sandbox.airflow, run)
    with sandbox.airflow.client() as client:
        ended = client.wait_for_run(run, deadline_seconds=RUN_SECONDS, states=frozenset({"success"}))
        tasks = sum(task.started is not None for task in client.tasks(run))
        drained: dict[str, Any] = client.xcom(run, "drain")
        return Round(
            wall=_seconds(str(ended.started), str(ended.ended)),
            human=_human(client, run),
            beside=max(sandbox.options.watch_seconds, float(drained["seconds"])),
            tasks=tasks,
        )


def _human(client: AirflowClient, run: Run) -> float:
    questions = list(client.pages(f"{run.path}/hitlDetails", "hitl_details"))
    # The watch asks, too, and its question is closed when it ends: that is no waiting for a human.
    answered = [
        one for one in questions if one["task_instance"]["task_id"].startswith(GATE) and one["responded_at"]
    ]
    return _seconds(min(one["created_at"] for one in answered), max(one["responded_at"] for one in answered))


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def _measures(dags: list[Round], script: float, scripts: tuple[float, ...]) -> list[Measure]:
    overheads = [one.overhead(script) for one in dags]
    per_task = tuple(round(all_ / one.tasks, 3) for all_, one in zip(overheads, dags, strict=True))
    in_a_row = tuple(round(all_ / IN_A_ROW, 3) for all_ in overheads)
    walls = tuple(round(one.wall, 2) for one in dags)
    return [
        Measure("dag_overhead_seconds_per_task", _median(per_task), "s", GOAL_SECONDS, "<=", samples=per_task),
        Measure("dag_overhead_seconds_per_task_in_a_row", _median(in_a_row), "s", samples=in_a_row),
        Measure("dag.wall_seconds", _median(walls), "s", samples=walls),
        Measure("dag.human_seconds", _median(tuple(round(one.human, 2) for one in dags)), "s"),
        Measure("dag.watch_or_drain_seconds", _median(tuple(round(one.beside, 2) for one in dags)), "s"),
        Measure("dag.tasks", dags[-1].tasks, "tasks"),
        Measure("plain_commands.wall_seconds", round(script, 2), "s", samples=scripts),
    ]


def _median(values: tuple[float, ...]) -> float:
    return sorted(values)[len(values) // 2]
