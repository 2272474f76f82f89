"""Cutovers and switch-backs under constant load, by the one function that makes them, without Airflow."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from include.bluegreen.slots import Slot, other
from include.clients.kubernetes import Cluster
from include.clients.traffic import claim, switch
from include.errors import SandboxError
from include.report.evidence import Measure
from include.sandbox.environment import Sandbox
from include.sandbox.load.records import Recording, read
from include.sandbox.load.summary import is_bad, longest_gap, summarise
from include.sandbox.story import constant_load

RATE: Final = 200.0
THERE_AND_BACK: Final[tuple[tuple[Slot, bool], ...]] = (("green", False), ("blue", True))
PAUSE_SECONDS: Final = 3.0  # switches closer together would coalesce
BEFORE_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Switch:
    """One switch. Times are seconds since the epoch.

    :param began_at: when the call was made; the looking before the patch is part of what is measured
    :param made_at: when the call had read the change back
    """

    to: Slot
    back: bool
    began_at: float
    made_at: float


@dataclass(frozen=True)
class Seen:
    """What users saw of one switch.

    :param lost: requests planned from a second before it to a second before the next that got no answer
    :param bad: those that were answered with a status of 500 or more
    :param gap: the longest time without a good answer on a fresh connection, in seconds
    :param propagation: from the call to the last answer that the old slot gave on a fresh connection, in seconds
    """

    back: bool
    sent: int
    lost: int
    bad: int
    gap: float
    propagation: float


def measure_switches(sandbox: Sandbox, number: int) -> list[Seen]:
    """Make so many cutovers and as many switch-backs; traffic is on blue before and after.

    :raises SandboxError: the load generator lost count
    """
    with constant_load(sandbox, "switches", RATE) as file:
        time.sleep(PAUSE_SECONDS)
        made = asyncio.run(_make(sandbox, number))
    recording = read(file)
    if not (recording.finished and recording.planned == len(recording.requests)):
        raise SandboxError("the load's record does not account for every request", seen=str(file))
    ends = [one.began_at - BEFORE_SECONDS for one in made[1:]] + [made[-1].made_at + PAUSE_SECONDS]
    return [_seen(recording, one, until) for one, until in zip(made, ends, strict=True)]


async def _make(sandbox: Sandbox, number: int) -> list[Switch]:
    environment, made = sandbox.environment, []
    async with Cluster.from_kubeconfig(sandbox.cluster.kubeconfig, sandbox.options.namespace) as cluster:
        for round_ in range(number):
            release_id = f"bench@production/{round_}"
            await claim(cluster, environment.traffic, release_id)
            for to, back in THERE_AND_BACK:
                began_at = time.time()
                done = await switch(
                    cluster,
                    environment.traffic,
                    target=to,
                    release_id=release_id,
                    by="bench",
                    reason="measured",
                    now=datetime.now(UTC),
                    back=back,
                    required=environment.replicas,
                )
                assert done.changed
                made.append(Switch(to, back, began_at, time.time()))
                await asyncio.sleep(PAUSE_SECONDS)
    return made


def _seen(recording: Recording, made: Switch, until: float) -> Seen:
    since = made.began_at - BEFORE_SECONDS
    summary = summarise(recording, since=since, until=until)
    fresh = [one for one in recording.requests if one.kind == "fresh" and since <= one.planned_at < until]
    good = [one.done_at for one in fresh if one.status is not None and not is_bad(one)]
    old = [one.done_at for one in fresh if one.slot == other(made.to)]
    return Seen(
        back=made.back,
        sent=summary.requests_sent,
        lost=summary.requests_lost,
        bad=summary.bad_answers,
        gap=round(longest_gap(good), 4),
        propagation=round(max(0.0, max(old, default=made.began_at) - made.began_at), 4),
    )


def measures_of(seen: list[Seen]) -> list[Measure]:
    """The figures, each switch a sample."""
    measures = []
    for name, back in (("cutover", False), ("switch_back", True)):
        some = [one for one in seen if one.back == back]
        lost, bad = tuple(float(one.lost) for one in some), tuple(float(one.bad) for one in some)
        gaps, times = tuple(one.gap for one in some), tuple(one.propagation for one in some)
        measures += [
            Measure(f"{name}.requests_sent", sum(one.sent for one in some), "requests"),
            Measure(f"{name}.requests_lost", int(sum(lost)), "requests", 0, "==", samples=lost),
            Measure(f"{name}.bad_answers", int(sum(bad)), "requests", 0, "==", samples=bad),
            Measure(f"{name}.longest_gap", max(gaps), "s", samples=gaps),
            Measure(f"{name}.propagation_seconds", max(times), "s", 2.0, "<=", samples=times),
        ]
    return measures
