"""Measure many watches in one event loop, as in one triggerer: writes ``build/evidence/watches.json``.

500 watches that read a real Prometheus every 15 s and 20 that read the pods every second, on the embedded cluster
(or the one that KUBECONFIG names), under load. About four minutes on two cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil

from benchmarks.many_watches import Application, Counting, config_of, watched
from include.clients.kubernetes import Cluster, Glance
from include.clients.metrics import open_sources
from include.clients.prometheus import Access, shared
from include.errors import StellwerkError
from include.plan.rules import SourceName
from include.report.evidence import Evidence, Measure, write
from include.report.table import tables
from include.sandbox.environment import REPOSITORY
from include.sandbox.signals import end_on_signals
from include.watch import WatchConfig, WatchOutcome, World, watch
from include.watch.collector import settle

LAG_GOAL_SECONDS = 0.25
_TICK_SECONDS = 0.01
_SETTLE_SECONDS = 40.0


class Lag:
    """How late the event loop is: what a timer of 10 ms takes longer than that."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    @contextlib.asynccontextmanager
    async def measured(self) -> AsyncIterator[None]:
        """Measure while in this context."""
        task = asyncio.create_task(self._measure())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            self.seconds.append(max(0.0, loop.time() - due))

    def at(self, share: float) -> float:
        """The quantile."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def measure(application: Application, wanted: dict[SourceName, int], seconds: float) -> list[Measure]:
    """Run all watches at once and look at the loop they share."""
    process, lag, counting = psutil.Process(), Lag(), Counting()
    settle()
    async with (
        Cluster.from_kubeconfig(application.kubeconfig, application.namespace) as cluster,
        shared(Access(application.prometheus_url)) as prometheus,
    ):
        configs = [
            config_of(application, source, number) for source, count in wanted.items() for number in range(count)
        ]
        async with watched(application, cluster, configs) as prepared:
            before = process.memory_info().rss
            tasks = []
            for config in prepared:
                glance = Glance(cluster)
                sources = counting.around(open_sources(config.environment, glance, prometheus))
                tasks.append(asyncio.create_task(_watched(config, World(glance, sources))))
            await asyncio.sleep(_SETTLE_SECONDS)
            counting.begin()
            cpu = process.cpu_times()
            async with lag.measured():
                await asyncio.sleep(seconds)
            used = process.cpu_times()
            after = process.memory_info().rss
            made = counting.looks
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
    due = {source: count * seconds / application.poll_seconds[source] for source, count in wanted.items()}
    early = [one for one in ended if isinstance(one, WatchOutcome)]
    for outcome in early[:3]:
        print(f"ended early: {outcome.result}: {outcome.sentence}", flush=True)
    busy = (used.user + used.system - cpu.user - cpu.system) / seconds
    return [
        Measure("watches that ended by themselves", len(early), "watches", 0, "=="),
        Measure("event-loop lag p50", lag.at(0.5), "s"),
        Measure("event-loop lag p99", lag.at(0.99), "s", LAG_GOAL_SECONDS, "<="),
        Measure("event-loop lag max", max(lag.seconds), "s"),
        Measure("resident memory of one watch", (after - before) / len(tasks), "B"),
        Measure("processor use of all watches", busy, "cores"),
        *(
            Measure(f"polls made of polls due, {source}", made[source] / due[source], "1", 0.95, ">=")
            for source in wanted
        ),
        Measure("failed polls", counting.failed, "polls", 0, "=="),
    ]


async def _watched(config: WatchConfig, world: World) -> WatchOutcome:
    # As a triggerer does: a human is told, the same window goes on.
    while (outcome := await watch(config, world)).result == "NOTICE":
        print(f"{config.environment.application}: {outcome.sentence}", flush=True)
        config = config.after(outcome)
    return outcome


def main() -> int:
    """Measure; 0 when every goal is reached, 1 when one is missed, 2 when it could not be measured."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--prometheus", type=int, default=500, help="watches that read Prometheus (500)")
    parser.add_argument("--openmetrics", type=int, default=20, help="watches that read the pods (20)")
    parser.add_argument("--seconds", type=float, default=90.0, help="how long to measure (90)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    wanted: dict[SourceName, int] = {"prometheus": arguments.prometheus, "openmetrics": arguments.openmetrics}
    wanted = {source: count for source, count in wanted.items() if count}
    try:
        with end_on_signals(), ExitStack() as stack:
            application = stack.enter_context(Application(REPOSITORY / "build" / "bench-watches"))
            began = time.monotonic()
            measures = asyncio.run(measure(application, wanted, arguments.seconds))
            print(f"measured in {time.monotonic() - began:.0f} s, process {os.getpid()}", flush=True)
    except StellwerkError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 2
    evidence = Evidence.of("watches", measures)
    write(evidence)
    print(tables([evidence]))
    return 0 if evidence.ok else 1


if __name__ == "__main__":
    sys.exit(main())
