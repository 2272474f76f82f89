"""A story of the demo, observed from the outside: load, traffic Service, Airflow's own times."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from include.bluegreen.fence import LAST_SWITCH
from include.bluegreen.slots import active_slot
from include.clients.kubernetes import Cluster
from include.report.evidence import Measure
from include.sandbox.airflow_client import Run
from include.sandbox.environment import REPOSITORY, Sandbox
from include.sandbox.load.records import read
from include.sandbox.load.summary import Summary, summarise
from include.sandbox.processes import Process

LEAD_SECONDS: Final = 3.0
TAIL_SECONDS: Final = 6.0


@dataclass(frozen=True)
class Story:
    """What was seen of one story.

    :param switches: distinct (slot, direction) switches of the traffic Service, in order
    :param task_seconds: (run's DAG, task, seconds) of every task
    """

    name: str
    load: Summary
    final_slot: str
    switches: tuple[tuple[str, str], ...]
    seconds_total: float
    task_seconds: tuple[tuple[str, str, float], ...]


def observe_story(sandbox: Sandbox, name: str, rate: float, play: Callable[[], Sequence[Run]]) -> Story:
    """Play a story under constant load and observe it."""
    began = time.monotonic()
    with constant_load(sandbox, name, rate, streams=10) as requests, observed_switches(sandbox) as switches:
        time.sleep(LEAD_SECONDS)
        runs = play()
        time.sleep(TAIL_SECONDS)
    return Story(
        name=name,
        load=summarise(read(requests)),
        final_slot=asyncio.run(_final_slot(sandbox)),
        switches=tuple(switches),
        seconds_total=round(time.monotonic() - began, 1),
        task_seconds=tuple(_task_seconds(sandbox, runs)),
    )


@contextmanager
def constant_load(
    sandbox: Sandbox, name: str, rate: float, *, streams: int = 0, paths: Sequence[str] = ()
) -> Iterator[Path]:
    """Keep requests coming, half of them on fresh connections, half on kept ones, beside event streams.

    :param paths: asked for in turn instead of the ERP's usual mixture
    :return: the file of records, whole when the context has ended
    """
    out = sandbox.options.state / f"requests-{name}.ndjson"
    out.unlink(missing_ok=True)
    arguments = ["--url", sandbox.addresses.public_url, "--rate", str(rate), "--keep-alive-ratio", "0.5"]
    arguments += [word for path in paths for word in ("--path", path)]
    process = Process(
        f"load-{name}",
        [sys.executable, "-m", "include.sandbox.load", *arguments, "--sse", str(streams), "--out", str(out)],
        cwd=REPOSITORY,
        log=sandbox.options.state / "logs" / f"load-{name}.log",
    )
    with process:
        yield out


@contextmanager
def observed_switches(sandbox: Sandbox) -> Iterator[list[tuple[str, str]]]:
    """Write down every switch that the traffic Service tells of, from a thread that does nothing else."""
    import threading

    seen: list[tuple[str, str]] = []
    ended = threading.Event()

    async def look() -> None:
        from include.bluegreen.fence import last_switch

        known: str | None = None
        async with Cluster.from_kubeconfig(sandbox.cluster.kubeconfig, sandbox.options.namespace) as cluster:
            first = True
            while True:
                service = await cluster.service(sandbox.environment.traffic.service)
                text = service.annotations.get(LAST_SWITCH) if service else None
                if text != known and not first and service and (moved := last_switch(service)):
                    seen.append((moved.to, moved.direction))
                known, first = text, False
                if ended.is_set():
                    return
                await asyncio.sleep(0.2)

    thread = threading.Thread(target=lambda: asyncio.run(look()), name="switches")
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


async def _final_slot(sandbox: Sandbox) -> str:
    traffic = sandbox.environment.traffic
    async with Cluster.from_kubeconfig(sandbox.cluster.kubeconfig, sandbox.options.namespace) as cluster:
        return active_slot(await cluster.service(traffic.service), traffic)


def _task_seconds(sandbox: Sandbox, runs: Sequence[Run]) -> Iterator[tuple[str, str, float]]:
    with sandbox.airflow.client() as client:
        for run in runs:
            for task in client.tasks(run):
                if task.started and task.ended:
                    ended, started = datetime.fromisoformat(task.ended), datetime.fromisoformat(task.started)
                    suffix = f"[{task.map_index}]" if task.map_index >= 0 else ""
                    yield run.dag_id, f"{task.task_id}{suffix}", round((ended - started).total_seconds(), 2)


def measures_of(story: Story, *, final_slot: str, cutovers: int, rollbacks: int) -> list[Measure]:
    """Return a story's figures with what each has to be."""
    load, name = story.load, story.name
    forward = sum(direction == "forward" for _, direction in story.switches)
    back = sum(direction == "back" for _, direction in story.switches)
    fault = 0.0
    if load.first_bad_at is not None and load.last_bad_at is not None:
        fault = round(load.last_bad_at - load.first_bad_at, 2)
    return [
        Measure(f"{name}.requests_sent", load.requests_sent, "requests", goal=1, comparator=">="),
        Measure(f"{name}.requests_lost", load.requests_lost, "requests", goal=0, comparator="=="),
        _bad_answers(name, load.bad_answers, expected=rollbacks > 0),
        Measure(f"{name}.cutovers", forward, "switches", goal=cutovers, comparator="=="),
        Measure(f"{name}.rollbacks", back, "switches", goal=rollbacks, comparator="=="),
        Measure(f"{name}.final_slot", story.final_slot, "slot", goal=final_slot, comparator="=="),
        Measure(f"{name}.seconds_fault_to_last_bad_answer", fault, "s"),
        Measure(f"{name}.longest_gap_seconds", round(load.longest_gap_seconds, 3), "s"),
        Measure(f"{name}.load_complete", int(load.complete), "bool", goal=1, comparator="=="),
        Measure(f"{name}.streams_cut", load.streams.cut, "streams"),
        Measure(f"{name}.seconds_total", story.seconds_total, "s"),
        *(Measure(f"{name}.task.{dag}.{task}", seconds, "s") for dag, task, seconds in story.task_seconds),
    ]


def _bad_answers(name: str, number: int, *, expected: bool) -> Measure:
    """Return the measure: none may be there, or, where the fault is the story, some have to be."""
    goal, comparator = (1, ">=") if expected else (0, "==")
    return Measure(f"{name}.bad_answers", number, "requests", goal=goal, comparator=comparator)  # type: ignore[arg-type]
