"""Releases whose tasks are killed: what to kill, how to play them, and what has to be true all the same."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from include.bluegreen.slots import Slot, active_slot, other
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.ledger.heads import noted_heads
from include.ledger.store import Ledger
from include.sandbox.airflow_client import RUN_ENDED, AirflowClient, AirflowRefused, Run
from include.sandbox.environment import Sandbox
from include.sandbox.people import RELEASE_MANAGER, trigger_release
from include.sandbox.programs import program
from include.sandbox.story import observed_switches
from include.steps.record import (
    APPROVED,
    BROUGHT_BACK,
    CLEANED_UP,
    CUT_OVER,
    DEPLOYED,
    RELEASED,
    ROLLBACK_CHOSEN,
    ROLLBACK_VERIFIED,
    ROLLED_BACK,
    STARTED,
    SWITCHED_BACK,
    WATCH_PASSED,
)

VERSION, PREVIOUS = "3.0.0", "2.9.0"
ONCE = (STARTED, APPROVED, DEPLOYED, CUT_OVER, WATCH_PASSED, CLEANED_UP, RELEASED)
MESSAGES = 4
RUN_SECONDS = 600.0


@dataclass(frozen=True)
class Reached:
    """A kill point that a task came to."""

    run: str
    task: str
    attempt: int
    point: str
    killed: bool


class Faults:
    """The folder through which the processes under test learn where to die (see ``inject/faultpoints.py``)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._round = 0
        folder.mkdir(parents=True)

    def order(self, *points: str, kills_per_task: int) -> None:
        """Kill whoever comes to one of these points (regular expressions), each point once.

        :param kills_per_task: in one run; has to leave a retry for the last attempt
        """
        self._round += 1
        orders = {"points": points, "kills_per_task": kills_per_task, "round": self._round}
        partial = self.folder / "orders.partial"
        partial.write_text(json.dumps(orders))
        partial.replace(self.folder / "orders.json")

    def reached(self) -> list[Reached]:
        """Every point that was reached so far."""
        log = self.folder / "log.ndjson"
        return [Reached(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []


@dataclass(frozen=True)
class Played:
    """A release that came to its end.

    :param kills: points at which somebody was killed
    :param revisions: Helm revisions that it made
    """

    run: Run
    kills: tuple[Reached, ...]
    switches: tuple[tuple[str, str], ...]
    source: Slot
    posts: tuple[str, ...]
    revisions: int
    seconds: float


def play(sandbox: Sandbox, faults: Faults) -> Played:
    """Release, with somebody who answers every question as often as it is asked."""

    def release(client: AirflowClient) -> Run:
        return _answering(sandbox, client, trigger_release(sandbox.airflow, VERSION))

    return _played(sandbox, faults, sandbox.airflow.client(), release)


def _played(
    sandbox: Sandbox, faults: Faults, session: AirflowClient, act: Callable[[AirflowClient], Run]
) -> Played:
    """What became of everything while ``act`` brought a run to its end."""
    began, killed, posted = time.monotonic(), len(faults.reached()), len(_posts(sandbox))
    source = asyncio.run(_active(sandbox))
    before = asyncio.run(_revisions(sandbox, other(source)))
    with observed_switches(sandbox) as switches, session as client:
        ended = act(client)
        assert ended.state == "success", f"{client.describe(ended)}\n{_told(faults.reached()[killed:])}"
    return Played(
        run=ended,
        kills=tuple(one for one in faults.reached()[killed:] if one.killed),
        switches=tuple(switches),
        source=source,
        posts=tuple(_posts(sandbox)[posted:]),
        revisions=asyncio.run(_revisions(sandbox, other(source))) - before,
        seconds=time.monotonic() - began,
    )


def check(sandbox: Sandbox, played: Played) -> None:
    """Converged: each thing was done once, and the world is as after an undisturbed release."""
    told = _told(played.kills)
    target = other(played.source)
    assert played.switches == ((target, "forward"),), told
    asyncio.run(_check_cluster(sandbox, target, told))

    ledger = Ledger(sandbox.postgres.url("stellwerk", "stellwerk_append"))
    entries = ledger.entries(run_id=played.run.run_id)
    counted = Counter(entry.kind for entry in entries)
    assert {kind: counted[kind] for kind in ONCE} == dict.fromkeys(ONCE, 1), told
    assert counted["message.sent"] == MESSAGES, told
    examined = ledger.examine(noted_heads(sandbox.options.state / "ledger-heads"))
    assert examined.ok, (examined.faults, told)

    # Between Slack's acceptance and the record a kill may have let a message out twice; nothing else may.
    again = sum("after send slack" in one.point for one in played.kills)
    assert MESSAGES <= len(played.posts) <= MESSAGES + again, told
    # A kill during helm costs the revision it began, the way back, and the next attempt.
    in_helm = sum("helm" in one.point for one in played.kills)
    killed_deploys = sum(one.task == "deploy_idle_slot" for one in played.kills)
    assert 1 <= played.revisions <= 1 + killed_deploys + in_helm, told


async def _check_cluster(sandbox: Sandbox, target: Slot, told: str) -> None:
    environment = sandbox.environment
    async with Cluster.from_kubeconfig(sandbox.cluster.kubeconfig, environment.namespace) as cluster:
        assert active_slot(await cluster.service(environment.traffic.service), environment.traffic) == target, told
        new = await cluster.deployment(environment.slot_release(target))
        old = await cluster.deployment(environment.slot_release(other(target)))
        assert new is not None, told
        assert new.ready >= environment.replicas, told
        assert old is not None, told
        assert old.replicas == 0, told
        pods = await cluster.pods(environment.traffic.selector_for(target))
        assert {pod.image for pod in pods} == {f"valeo-erp:{VERSION}"}, told
    history = await _helm(sandbox).history(environment.slot_release(target))
    assert [one.status for one in history][-1] == "deployed", told


@contextmanager
def no_request_lost(records: Path) -> Iterator[None]:
    """Whatever was killed, users noticed nothing."""
    from include.sandbox.load.records import read
    from include.sandbox.load.summary import summarise

    yield
    summary = summarise(read(records))
    assert (summary.requests_lost, summary.bad_answers) == (0, 0), summary.lost_by_error


def _answering(sandbox: Sandbox, client: AirflowClient, run: Run) -> Run:
    deadline = time.monotonic() + RUN_SECONDS
    while (now := client.run(run)).state not in RUN_ENDED:
        assert time.monotonic() < deadline, client.describe(run)
        for question in (one for one in client.questions(run) if one.task_id == "go_no_go.decide"):
            with sandbox.airflow.client(question.assigned_users[0]) as person:
                try:
                    shown = question.params["fingerprint"]["value"]
                    person.answer(question, "Go", {"comment": "Go", "fingerprint": shown})
                except AirflowRefused as refused:
                    if refused.status not in (404, 409):  # the task that asked was killed just now
                        raise
        time.sleep(0.3)
    return now


async def _active(sandbox: Sandbox) -> Slot:
    traffic = sandbox.environment.traffic
    async with Cluster.from_kubeconfig(sandbox.cluster.kubeconfig, sandbox.environment.namespace) as cluster:
        return active_slot(await cluster.service(traffic.service), traffic)


def _helm(sandbox: Sandbox) -> Helm:
    return Helm(program("helm"), sandbox.cluster.kubeconfig, sandbox.environment.namespace)


async def _revisions(sandbox: Sandbox, slot: Slot) -> int:
    history = await _helm(sandbox).history(sandbox.environment.slot_release(slot))
    return max((one.revision for one in history), default=0)


def _posts(sandbox: Sandbox) -> list[str]:
    folder = sandbox.inbox / "slack"
    return [file.read_text() for file in sorted(folder.glob("*"))] if folder.is_dir() else []


def _told(reached: Sequence[Reached]) -> str:
    return "killed at:\n" + "\n".join(f"  {one.point} (attempt {one.attempt})" for one in reached if one.killed)


def roll_back(sandbox: Sandbox, faults: Faults) -> Played:
    """Roll that release back by hand, after its clean-up."""

    def back(client: AirflowClient) -> Run:
        conf = {"release": VERSION, "environment": "production", "reason": "key users"}
        return client.wait_for_run(client.trigger("rollback", conf), deadline_seconds=RUN_SECONDS)

    return _played(sandbox, faults, sandbox.airflow.client(RELEASE_MANAGER), back)


def check_rollback(sandbox: Sandbox, played: Played) -> None:
    """Converged: the old version is back in its slot and has the users, and everybody was told once."""
    told, slot = _told(played.kills), other(played.source)
    assert played.switches == ((slot, "back"),), told
    asyncio.run(_check_old_version(sandbox, slot, told))
    ledger = Ledger(sandbox.postgres.url("stellwerk", "stellwerk_append"))
    back = ledger.entries(release=VERSION, environment="production", kinds=(SWITCHED_BACK,))
    assert len(back) == 1, told
    counted = Counter(entry.kind for entry in ledger.entries(run_id=played.run.run_id))
    once = (ROLLBACK_CHOSEN, BROUGHT_BACK, ROLLBACK_VERIFIED, ROLLED_BACK)
    assert {kind: counted[kind] for kind in once} == dict.fromkeys(once, 1), told
    again = sum("after send slack" in one.point for one in played.kills)
    assert 1 <= len(played.posts) <= 1 + again, told
    assert 1 <= played.revisions <= 1 + sum("helm" in one.point for one in played.kills), told


async def _check_old_version(sandbox: Sandbox, slot: Slot, told: str) -> None:
    environment = sandbox.environment
    async with Cluster.from_kubeconfig(sandbox.cluster.kubeconfig, environment.namespace) as cluster:
        assert active_slot(await cluster.service(environment.traffic.service), environment.traffic) == slot, told
        pods = await cluster.pods(environment.traffic.selector_for(slot))
        assert {pod.image for pod in pods} == {f"valeo-erp:{PREVIOUS}"}, told
        assert sum(pod.ready for pod in pods) >= environment.replicas, told
    assert (await _helm(sandbox).history(environment.slot_release(slot)))[-1].status == "deployed", told
