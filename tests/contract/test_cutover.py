"""The step from before to after: observed from outside, proven, drained, and the way back; against a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from include.bluegreen.fence import last_switch
from include.clients.kubernetes import Cluster, Glance
from include.clients.metrics import open_sources
from include.clients.traffic import claim, switch
from include.errors import (
    LedgerUnavailable,
    ReleaseFenced,
    RolledBack,
    TrafficError,
    TrafficServiceMissing,
    VerificationFailed,
    WatchAsleep,
)
from include.ledger.migrate import migrate
from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.plan.models import SmokeCheck, Traffic
from include.plan.prober import Prober
from include.plan.rules import Criteria, SloRules, Triggers, Watch
from include.sandbox.guard import descendants
from include.sandbox.postgres import SUPERUSER, Postgres
from include.steps import cutover
from include.steps.arming import answer_cutover, arm, begun, watch_awake
from include.steps.cutover import cut_over
from include.steps.drain import drain_left_slot
from include.steps.record import (
    CUT_OVER,
    CUTOVER_INTENDED,
    ROLLED_BACK,
    STARTED,
    SWITCHED_BACK,
    VERIFIED,
    WATCH_ENDED,
    record,
)
from include.steps.rollback import drain_bad_slot, switch_back
from include.steps.run import ReleaseRun, open_run
from include.steps.schema_course import MIGRATION_INTENDED, WAY_BACK_INTENDED
from include.steps.watch import conclude_watch
from include.watch import WatchConfig, World, watch
from include.watch.arming import Post, until_cut_over
from stellwerk.hooks import ledger as ledger_hook
from stellwerk.operators.base import StellwerkOperator
from stellwerk.operators.rollback import RollbackSummary, SwitchBack
from stellwerk.triggers.world import LEDGER_SECONDS, with_account
from tests.contract.conftest import NodeUrl
from tests.contract.support import Kubectl, container, deployment, fetch, http_probe, load, service
from tests.memory import DyingLedger, MemoryLedger


def traffic(url: str) -> Traffic:
    return Traffic(
        service="erp",
        preview_service="erp-preview",
        selector={"app": "erp"},
        slot_label="version",
        public_url=url,
        preview_url=url,
    )


@pytest.fixture
def run(slots: None, node_url: NodeUrl, monkeypatch: pytest.MonkeyPatch) -> ReleaseRun:
    """A run whose approval is not the subject."""
    monkeypatch.setattr(cutover, "require_release", lambda *_: None)
    run = open_run(
        load_plan(plan_folder()),
        release="3.0.0",
        environment="production",
        phase="production-blue-green",
        run_id="r1",
        triggered_by="release-manager",
    )
    changes: dict[str, Any] = {
        "helm_release": "erp",
        "traffic": traffic(node_url("erp", "")),
        "smoke": (SmokeCheck(name="page", path="/"),),
        "replicas": 2,
        "deploy_timeout_seconds": 60.0,
    }
    environment = run.environment.model_copy(update=changes)
    return ReleaseRun(run.release, environment, run.chart, run.phase, run.run_id, run.triggered_by)


@pytest.fixture(scope="module")
def slots(kubectl: Kubectl) -> None:
    """Two Deployments that name their slot and count what they answer."""
    for slot in ("blue", "green"):
        env = {"VERSION": slot, "METRICS": "yes", "DRAIN_SECONDS": "3"}
        one = deployment(f"erp-{slot}", container(readinessProbe=http_probe("/readyz"), env=env))
        for labels in (one["spec"]["selector"]["matchLabels"], one["spec"]["template"]["metadata"]["labels"]):
            labels.update({"app": "erp", "version": slot})
        kubectl.apply(one)
    kubectl.apply(service("erp", {"app": "erp", "version": "blue"}))
    for slot in ("blue", "green"):
        kubectl("rollout", "status", f"deployment/erp-{slot}", "--timeout=60s")


@pytest.fixture
async def cluster_client(kubectl: Kubectl, run: ReleaseRun, node_url: NodeUrl) -> AsyncIterator[Cluster]:
    """The client; traffic on blue, held by the run, and everybody knows."""
    chosen = run.environment.traffic
    for name, slot in ((chosen.service, "blue"), (chosen.preview_service, "green")):
        changed = service(name, {"app": "erp", "version": slot})
        changed["metadata"]["annotations"] = {"stellwerk.io/release-id": "", "stellwerk.io/last-switch": ""}
        kubectl.apply(changed)
    kubectl("annotate", "service", chosen.service, "stellwerk.io/release-id-", "stellwerk.io/last-switch-")
    kubectl.until(lambda: {fetch(node_url("erp"))["version"] for _ in range(6)} == {"blue"}, "blue answers")
    async with Cluster.from_kubeconfig(kubectl.kubeconfig, kubectl.namespace) as client:
        await claim(client, chosen, run.release_id)
        await asyncio.sleep(2)  # kube-proxy may know endpoints later than the API server
        yield client


@pytest.fixture
def ledger(run: ReleaseRun) -> Ledger:
    memory = cast(Ledger, MemoryLedger())
    record(memory, run, STARTED, {"from": "blue", "to": "green"})
    record(memory, run, VERIFIED, {})
    return memory


async def test_there_drained_back_and_drained_again_with_everything_observed(
    run: ReleaseRun, cluster_client: Cluster, ledger: Ledger, node_url: NodeUrl
) -> None:
    with load(node_url("erp"), workers=4, keep_alive=True) as kept:
        done = await cut_over(run, cluster_client, ledger, watched=False)
        by_now = kept.versions["blue"]  # counted before the drain, which may be over within a second
        await asyncio.sleep(0.5)
        stayed = kept.versions["blue"] - by_now
        drained = await drain_left_slot(run, cluster_client, ledger)

        seen = done["observation"]
        assert (seen["lost"], seen["old_after_new"]) == (0, 0), seen
        assert seen["sent"] > 60
        assert seen["old_last_seconds"] < 2
        assert [stretch[0] for stretch in seen["stretches"]] == ["blue", "green"]
        baseline = done["baselines"]["openmetrics"]
        assert (len(baseline["pods"]), baseline["errors"]) == (2, []), "the watch counts from before the switch"
        assert seen["stretches"][0][3] < -0.9, "it began a second before"
        assert seen["stretches"][1][4] > 1.8, "and went on until the switch had settled"

        assert drained["verdict"] == "DRAINED", drained["sentence"]
        shares = [share for _, _, _, share, _ in drained["points"]]
        assert stayed > 0, "kept connections had stayed on blue"
        assert len(shares) > 1, "and were counted until they had gone"
        assert shares[-1] == 0

        again = await cut_over(run, cluster_client, ledger, watched=False)
        assert again == done, "a second time observes and changes nothing"

        rolling = ReleaseRun(run.release, run.environment, run.chart, "rollback", "rb1", "release-manager")
        back = await switch_back(rolling, cluster_client, "key users")
        left = await drain_bad_slot(rolling, cluster_client, ledger)
        assert (back["observation"]["lost"], back["observation"]["old_after_new"]) == (0, 0)
        assert back["observation"]["old_last_seconds"] < 2
        assert (left["slot"], left["verdict"]) == ("green", "DRAINED")
        repeated = await switch_back(rolling, cluster_client, "key users")
        assert repeated["observation"] == {
            "sentence": "no observation because the traffic had been switched back before this step began"
        }
    assert kept.lost == []
    assert set(kept.versions) == {"blue", "green"}


async def test_an_attempt_that_was_killed_after_the_switch_leaves_no_pretended_observation(
    run: ReleaseRun, cluster_client: Cluster, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """What SIGKILL is to a step."""

    async def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(cutover, "account", killed)
        with pytest.raises(Killed):
            await cut_over(run, cluster_client, ledger, watched=False)
    done = await cut_over(run, cluster_client, ledger, watched=False)
    assert done["observation"] == {
        "sentence": "no observation because nobody watched the attempt that moved the traffic"
    }
    assert done["to"] == "green"


async def test_the_evidence_outlives_a_proof_that_fails(
    run: ReleaseRun, cluster_client: Cluster, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failed(*_: Any) -> None:
        raise VerificationFailed("a check failed")

    with monkeypatch.context() as patched:
        patched.setattr(cutover, "prove_traffic", failed)
        with pytest.raises(VerificationFailed):
            await cut_over(run, cluster_client, ledger, watched=False)
    done = await cut_over(run, cluster_client, ledger, watched=False)
    assert done["observation"]["lost"] == 0
    assert done["observation"]["sent"] > 60


async def test_without_a_watch_that_is_awake_nothing_moves(
    run: ReleaseRun, cluster_client: Cluster, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutover, "watch_awake", partial(watch_awake, limit_seconds=0.3))
    with pytest.raises(WatchAsleep):
        await cut_over(run, cluster_client, ledger)
    service = await cluster_client.service(run.environment.traffic.service)
    assert service is not None
    assert (service.selector["version"], last_switch(service)) == ("blue", None)
    assert not [entry for entry in cast(MemoryLedger, ledger).written if entry.kind.startswith("cutover.intended")]


async def test_a_ledger_that_goes_down_at_any_moment_lets_nothing_move_unrecorded(
    run: ReleaseRun, cluster_client: Cluster, ledger: Ledger
) -> None:
    written = cast(MemoryLedger, ledger).written
    attempts = 0
    for answers in range(40):
        try:
            done = await cut_over(
                run, cluster_client, cast(Ledger, DyingLedger(written, answers=answers)), watched=False
            )
        except LedgerUnavailable:
            attempts += 1
            service = await cluster_client.service(run.environment.traffic.service)
            assert service is not None
            intended = any(entry.kind == CUTOVER_INTENDED for entry in written)
            assert service.selector["version"] == "blue" or intended
        else:
            break
    assert attempts >= 5
    assert done["to"] == "green", "it goes on by itself when the ledger is back"
    kinds = [entry.kind for entry in written]
    assert (kinds.count(CUTOVER_INTENDED), kinds.count(CUT_OVER)) == (1, 1)


@contextlib.contextmanager
def hanging(server: Postgres) -> Iterator[None]:
    """The ledger's server takes connections and answers nobody."""
    os.kill(server.pid, signal.SIGSTOP)  # first: who ends afterwards is not waited for and keeps its number
    sessions = descendants(server.pid)
    for one in sessions:
        with contextlib.suppress(ProcessLookupError):  # a session may have ended just before
            os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in (*sessions, server.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGCONT)


@contextlib.contextmanager
def ended(server: Postgres) -> Iterator[None]:
    """The ledger's server is gone."""
    server.stop()
    try:
        yield
    finally:
        server.start()


Outage = Callable[[Postgres], AbstractContextManager[None]]
OUTAGES: tuple[Outage, ...] = (hanging, ended)

# Before the intent is written; when it is written and nothing has been moved.
MOMENTS = (("check_forward", 1), ("must_not_go_down", 2))


@contextlib.contextmanager
def outage_at(
    monkeypatch: pytest.MonkeyPatch, moment: tuple[str, int], outage: Callable[[], AbstractContextManager[None]]
) -> Iterator[None]:
    """An outage that begins within the cutover, when it calls a function for the so manieth time."""
    name, wanted = moment
    original, calls = getattr(cutover, name), count(1)
    with ExitStack() as until, monkeypatch.context() as patched:

        def goes_down(*arguments: Any, **named: Any) -> Any:
            if next(calls) == wanted:
                until.enter_context(outage())
            return original(*arguments, **named)

        patched.setattr(cutover, name, goes_down)
        yield
        assert next(calls) > wanted, "it was not reached"


@pytest.fixture
def on_server(server: Postgres) -> Ledger:
    """A ledger whose server may be out."""
    password = server.password("stellwerk_append")
    migrate(server.url("stellwerk", SUPERUSER), role="stellwerk_append", password=password)
    return Ledger(server.url("stellwerk", "stellwerk_append"), timeout_seconds=2)


async def test_while_the_ledgers_server_is_out_nothing_moves(
    run: ReleaseRun,
    cluster_client: Cluster,
    server: Postgres,
    on_server: Ledger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger = on_server
    record(ledger, run, STARTED, {"from": "blue", "to": "green"})
    record(ledger, run, VERIFIED, {})
    for moment in MOMENTS:
        for outage in OUTAGES:
            with outage_at(monkeypatch, moment, partial(outage, server)), pytest.raises(LedgerUnavailable):
                await cut_over(run, cluster_client, ledger, watched=False)
            service = await cluster_client.service(run.environment.traffic.service)
            assert service is not None
            assert (service.selector["version"], last_switch(service)) == ("blue", None)
    done = await cut_over(run, cluster_client, ledger, watched=False)
    assert done["to"] == "green", "it goes on by itself when the server is back"
    kinds = Counter(entry.kind for entry in ledger.entries())
    assert (kinds[CUTOVER_INTENDED], kinds[CUT_OVER]) == (1, 1)
    assert ledger.examine().ok


# -- the way back waits for no ledger ------------------------------------------------------------------------

CONTEXT = cast(Any, {"ti": SimpleNamespace(try_number=1)})
whatever_the_outage = pytest.mark.parametrize("outage", OUTAGES, ids=["hanging", "ended"])


@pytest.fixture
async def released(
    run: ReleaseRun,
    cluster_client: Cluster,
    kubectl: Kubectl,
    server: Postgres,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[ReleaseRun]:
    """A release of its own that users are on; tasks and triggers find the ledger where Airflow tells them to."""
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", server.url("stellwerk", "stellwerk_append"))
    monkeypatch.setattr(ledger_hook, "note_head_outside", lambda _: None)
    environment = run.environment.model_copy(update={"drain": "leave"})
    mine = replace(run, environment=environment, run_id=uuid4().hex)
    await claim(cluster_client, environment.traffic, mine.release_id)
    await switch(
        cluster_client,
        environment.traffic,
        target="green",
        release_id=mine.release_id,
        by="test",
        reason="cutover",
        now=datetime.now(UTC),
    )
    yield mine
    kubectl("delete", "leases", "--all")


def users_on(kubectl: Kubectl, run: ReleaseRun) -> str:
    return str(kubectl.get("service", run.environment.traffic.service)["spec"]["selector"]["version"])


@whatever_the_outage
async def test_users_go_back_while_the_ledgers_server_is_out_and_that_is_recorded_afterwards(
    released: ReleaseRun,
    kubectl: Kubectl,
    server: Postgres,
    on_server: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    outage: Outage,
) -> None:
    rolling = replace(released, phase="rollback", run_id=f"{released.run_id}-back")
    users_were_on: list[str] = []
    open_ledger = ledger_hook.open_ledger

    def asked(*given: Any, **named: Any) -> Ledger:
        users_were_on.append(users_on(kubectl, rolling))
        return open_ledger(*given, **named)

    def with_cluster(
        task: StellwerkOperator, run: ReleaseRun, step: Callable[..., Coroutine[Any, Any, Any]]
    ) -> Any:
        async def call() -> Any:
            async with Cluster.from_kubeconfig(kubectl.kubeconfig, kubectl.namespace) as cluster:
                return await step(run, cluster)

        return task.wait_for(call())

    monkeypatch.setattr("stellwerk.operators.base.release_run", lambda *_, **__: rolling)
    monkeypatch.setattr(ledger_hook, "open_ledger", asked)
    monkeypatch.setattr(StellwerkOperator, "with_cluster", with_cluster)

    async def execute(kind: type[SwitchBack] | type[RollbackSummary]) -> dict[str, Any]:
        task = kind(task_id="t", option="auto", reason="key users")
        return cast("dict[str, Any]", await asyncio.to_thread(task.execute, CONTEXT))

    with outage(server):
        done = await execute(SwitchBack)
        assert (done["from"], done["to"], users_on(kubectl, rolling)) == ("green", "blue", "blue")
        assert users_were_on == ["blue"], "the ledger is asked once, and not before users are back"
        with pytest.raises(AirflowException) as waits:
            await execute(RollbackSummary)
        assert not isinstance(waits.value, AirflowFailException), "it is tried again until the server is back"
    assert on_server.entries(run_id=rolling.run_id) == ()
    summary = await execute(RollbackSummary)
    [switched, rolled_back] = on_server.entries(run_id=rolling.run_id)
    assert (switched.kind, rolled_back.kind) == (SWITCHED_BACK, ROLLED_BACK)
    assert (switched.actor, switched.payload["at"], switched.payload["to"]) == (done["by"], done["at"], "blue")
    assert (summary["switched_at"], summary["reason"]) == (done["at"], "key users")
    assert on_server.examine().ok


@whatever_the_outage
async def test_a_watch_switches_back_while_the_ledgers_server_is_out_and_that_is_recorded_afterwards(
    released: ReleaseRun,
    cluster_client: Cluster,
    kubectl: Kubectl,
    server: Postgres,
    on_server: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    outage: Outage,
) -> None:
    # It is just about to keep its account in the ledger, all the time.
    monkeypatch.setattr("include.watch.telling.CHECKPOINT_SECONDS", 0.1)
    wrong = SmokeCheck(name="page", path="/", contains="what no version answers")
    changes: dict[str, Any] = {
        "prober": Prober(every_seconds=0.5, checks=(wrong,)),
        "slo": SloRules(triggers=Triggers(down_seconds=2.0), criteria=Criteria(logs=False)),
        "watch": Watch(seconds=60.0, window_seconds=5.0, lookback_seconds=20.0),
    }
    environment = released.environment.model_copy(update=changes)
    glance, now = Glance(cluster_client), time.time()
    config = WatchConfig(
        release_id=released.release_id,
        version=released.release.version,
        environment=environment,
        source="blue",
        target="green",
        cutover_at=now,
        began_at=now,
        deadline=now + environment.watch.seconds,
        baselines={},
        may_switch_back=True,
    )
    with outage(server):
        world = await with_account(World(glance, open_sources(environment, glance, None)), config)
        outcome = await watch(config, world)
        assert outcome.result == "ROLLED_BACK", outcome
        assert users_on(kubectl, released) == "blue"
        assert outcome.detected_at is not None
        assert outcome.switched_at is not None
        assert outcome.switched_at - outcome.detected_at < LEDGER_SECONDS, "less than one call of the ledger takes"
        with pytest.raises(LedgerUnavailable):
            conclude_watch(released, on_server, outcome)
    with pytest.raises(RolledBack, match="the watch switched back"):
        conclude_watch(released, on_server, outcome)
    found = on_server.entries(run_id=released.run_id, kinds=(WATCH_ENDED, SWITCHED_BACK))
    assert [entry.kind for entry in found] == [WATCH_ENDED, SWITCHED_BACK]
    assert (found[1].payload["by"], found[1].payload["at"]) == ("watch", outcome.switched_at)
    assert on_server.examine().ok


async def test_while_the_schema_is_taken_back_nothing_moves(
    run: ReleaseRun, cluster_client: Cluster, ledger: Ledger
) -> None:
    began = record(ledger, run, MIGRATION_INTENDED, {})
    record(ledger, run, WAY_BACK_INTENDED, {"began": began.sequence})
    with pytest.raises(TrafficError, match="the schema is being taken back"):
        await cut_over(run, cluster_client, ledger, watched=False)
    service = await cluster_client.service(run.environment.traffic.service)
    assert service is not None
    assert (service.selector["version"], last_switch(service)) == ("blue", None)


async def test_the_watch_answers_and_begins_with_the_switch(
    run: ReleaseRun, cluster_client: Cluster, ledger: Ledger
) -> None:
    armed = arm(run, ledger)

    async def answer() -> bool:
        return answer_cutover(armed, ledger)

    async def running() -> str:
        return "running"

    waiting = asyncio.create_task(until_cut_over(armed, Post(cluster_client, answer, running)))
    done = await cut_over(run, cluster_client, ledger)
    moved = await asyncio.wait_for(waiting, 1)
    assert moved is not None
    config = begun(armed, ledger, moved.at)
    assert config.cutover_at == datetime.fromisoformat(done["at"]).timestamp()
    assert config.baselines["openmetrics"].pods, "counted from before the switch"
    assert config.may_switch_back == done["automatic_switch_back"]


async def test_a_cutover_that_is_taken_back_while_it_is_being_proven_says_so_and_is_recorded(
    run: ReleaseRun, cluster_client: Cluster, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def taken_back(*_: Any) -> None:
        await switch(
            cluster_client,
            run.environment.traffic,
            target="blue",
            release_id=run.release_id,
            by="watch",
            reason="error rate 30 %",
            now=datetime.now(UTC),
            back=True,
            required=1,
        )

    monkeypatch.setattr(cutover, "prove_traffic", taken_back)
    with pytest.raises(RolledBack, match=r"switched back by watch.*error rate 30 %"):
        await cut_over(run, cluster_client, ledger, watched=False)
    [done] = [entry for entry in cast(MemoryLedger, ledger).written if entry.kind == CUT_OVER]
    assert (done.payload["to"], done.payload["checks"]) == ("green", [])
    with pytest.raises(ReleaseFenced, match="a release is cut over once"):
        await cut_over(run, cluster_client, ledger, watched=False)


async def test_a_service_deleted_before_the_cutover_moves_and_records_nothing(
    run: ReleaseRun, cluster_client: Cluster, ledger: Ledger, kubectl: Kubectl
) -> None:
    kubectl("delete", "service", run.environment.traffic.service)
    with pytest.raises(TrafficServiceMissing):
        await cut_over(run, cluster_client, ledger, watched=False)
    assert not [entry for entry in cast(MemoryLedger, ledger).written if entry.kind == CUT_OVER]
