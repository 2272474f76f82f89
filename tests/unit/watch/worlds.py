"""A world in memory and virtual time for the watch: two slots that answer, a Service, an API server, a prober."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, LastSwitch
from include.bluegreen.lease import LeaseState
from include.bluegreen.state import DeploymentState, Endpoint, PodState, ServiceState
from include.clients.kubernetes import Cluster
from include.errors import ClusterUnreachable, MetricsUnreachable
from include.plan.loader import load_plan, plan_folder
from include.plan.models import Environment
from include.plan.rules import Criteria, SloRules, SourceName, Watch
from include.plan.slots import Slot
from include.slo.account import Account
from include.slo.samples import ProbeSample, Snapshot
from include.watch import Progress, WatchConfig, WatchOutcome, World, watch
from tests import virtual_time
from tests.unit.bluegreen.lease_server import LeaseServer
from tests.unit.bluegreen.model import apply_patch
from tests.unit.slo.series import Pod

RELEASE_ID_OF_RUN = "3.0.0@production/r1"
CUTOVER = virtual_time.EPOCH - 2.0
LENGTH = 120.0


def environment(
    *,
    criteria: Mapping[str, Any] | None = None,
    slo: Mapping[str, Any] | None = None,
    down_seconds: float = 40.0,
    **watch: Any,
) -> Environment:
    """Production with a window of two minutes."""
    settings = {"seconds": LENGTH, "lookback_seconds": 30.0, "page_after_seconds": 20.0, "hold_seconds": 300.0}
    base = load_plan(plan_folder()).environment("production")
    rules = SloRules(criteria=Criteria(**(criteria or {})), **(slo or {}))
    triggers = rules.triggers.model_copy(update={"down_seconds": down_seconds})
    return base.model_copy(
        update={
            "slo": rules.model_copy(update={"triggers": triggers}),
            "watch": Watch(**{**settings, **watch}),
            "drain": "restart",
        }
    )


@dataclass
class Erp(Cluster):
    """The application and the API server over it.

    :param error_ratio: of what green answers, by the seconds since the cutover
    """

    environment: Environment = field(default_factory=environment)
    per_second: int = 60
    error_ratio: Callable[[float], float] = lambda _: 0.0
    seconds: Callable[[float], float] = lambda _: 0.02
    ready: dict[Slot, int] = field(default_factory=lambda: {"blue": 3, "green": 3})
    logs: dict[Slot, str] = field(default_factory=lambda: {"blue": "", "green": ""})
    unreachable: bool = False
    restarted: list[tuple[str, datetime]] = field(default_factory=list)
    patches: int = 0
    before_patch: list[Callable[[Erp], None]] = field(default_factory=list)
    restarts: int = 0

    def __post_init__(self) -> None:
        self.namespace = "production"
        self.pods_of = {slot: [Pod(f"{slot}-{n}", CUTOVER - 100) for n in range(3)] for slot in ("blue", "green")}
        self.leases = LeaseServer()
        self.counted_at = CUTOVER
        moved = LastSwitch(
            "green", "cutover", "release", datetime.fromtimestamp(CUTOVER, UTC), RELEASE_ID_OF_RUN, "forward"
        )
        annotations = {RELEASE_ID: RELEASE_ID_OF_RUN, LAST_SWITCH: moved.encode()}
        traffic = self.environment.traffic
        self.state: ServiceState | None = ServiceState(
            traffic.service, traffic.selector_for("green"), annotations, "1"
        )

    @property
    def active(self) -> Slot:
        assert self.state is not None
        return "green" if self.state.selector == self.environment.traffic.selector_for("green") else "blue"

    def select(self, slot: Slot) -> None:
        """What somebody does by hand."""
        assert self.state is not None
        self.state = replace(self.state, selector=self.environment.traffic.selector_for(slot))

    def annotate(self, **annotations: str) -> None:
        assert self.state is not None
        self.state = replace(self.state, annotations={**self.state.annotations, **annotations})

    def answer_until(self, now: float) -> None:
        """Let the active slot serve what users asked since the last look."""
        whole = max(0, int(now - self.counted_at))
        for second in range(whole):
            at = self.counted_at + second - CUTOVER
            pods = self.pods_of[self.active]
            bad = self.error_ratio(at) * self.per_second if self.active == "green" else 0.0
            for pod in pods:
                pod.answer(500, bad / len(pods), self.seconds(at))
                pod.answer(200, (self.per_second - bad) / len(pods), self.seconds(at))
        self.counted_at += whole

    async def _answering(self) -> None:
        await asyncio.sleep(0.005)
        if self.unreachable:
            raise ClusterUnreachable("the API server gives no answer")

    async def service(self, name: str) -> ServiceState | None:
        await self._answering()
        return self.state

    async def patch_service(self, name: str, patch: Any) -> ServiceState:
        await self._answering()
        self.answer_until(virtual_time.now())
        if self.before_patch:
            self.before_patch.pop(0)(self)
        assert self.state is not None
        self.state = apply_patch(self.state, patch)
        self.patches += 1
        return self.state

    async def endpoints(self, service: str) -> tuple[Endpoint, ...]:
        await self._answering()
        count = self.ready[self.active]
        return tuple(Endpoint(f"{self.active}-{n}", f"uid-{n}", True, False, {"http": 8080}) for n in range(count))

    async def pods(self, labels: Mapping[str, str]) -> tuple[PodState, ...]:
        await self._answering()
        slot: Slot = "green" if dict(labels) == self.environment.traffic.selector_for("green") else "blue"
        started = datetime.fromtimestamp(CUTOVER - 100, UTC)
        return tuple(
            PodState(
                pod.name,
                f"uid-{pod.name}",
                labels,
                "Running",
                number < self.ready[slot],
                restarts=self.restarts if slot == "green" else 0,
                started_at=started,
            )
            for number, pod in enumerate(self.pods_of[slot])
        )

    async def deployment(self, name: str) -> DeploymentState | None:
        await self._answering()
        return DeploymentState(name, 3, 3, 3, 1, 1)

    async def restart_deployment(self, name: str, at: datetime) -> DeploymentState:
        await self._answering()
        if (name, at) not in self.restarted:
            self.restarted.append((name, at))
        return DeploymentState(name, 3, 3, 3, 1, 1)

    async def log_tail(self, pod: str, **_: Any) -> str:
        await self._answering()
        return self.logs["green" if pod.startswith("green") else "blue"]

    async def lease(self, name: str) -> LeaseState | None:
        await self._answering()
        return self.leases.lease

    async def create_lease(self, lease: LeaseState) -> LeaseState:
        return self.leases.create(lease)

    async def replace_lease(self, lease: LeaseState) -> LeaseState:
        return self.leases.replace(lease)


@dataclass
class MemorySource:
    """Metrics of the application; one that remembers has seen every second since the cutover.

    :param out: since when nothing can be read, in seconds since the epoch
    """

    erp: Erp
    name: SourceName = "openmetrics"
    remembers: bool = False
    out: Callable[[float], bool] = lambda _: False
    looks: int = 0
    seen: list[Snapshot] = field(default_factory=list)

    async def look(self, slot: Slot, now: float) -> Snapshot:
        await asyncio.sleep(0.01)
        self.looks += 1
        if self.out(now):
            return Snapshot(now, slot, errors=(f"{self.name} gives no answer",))
        return self.now(slot, now)

    def now(self, slot: Slot, now: float) -> Snapshot:
        self.erp.answer_until(now)
        return Snapshot(now, slot, tuple(pod.sample(now) for pod in self.erp.pods_of[slot]), self.erp.ready[slot])

    async def scraping(self) -> None:
        """What a store does by itself."""
        while True:
            self.seen.append(self.now("green", virtual_time.now()))
            await asyncio.sleep(1.0)

    async def history(self, slot: Slot, since: float, until: float) -> tuple[Snapshot, ...]:
        await asyncio.sleep(0.05)
        if self.out(until):
            raise MetricsUnreachable("the store gives no answer")
        return tuple(one for one in self.seen if since <= one.taken_at <= until) if self.remembers else ()


@dataclass
class Watching:
    """A watch of that application, and everything it told."""

    erp: Erp = field(default_factory=Erp)
    source: MemorySource = field(init=False)
    baseline: Snapshot = field(init=False)
    probe_state: Callable[[float], str] = lambda _: "ok"
    told: list[Progress] = field(default_factory=list)
    kept: list[Account] = field(default_factory=list)
    may_switch_back: bool = True

    def __post_init__(self) -> None:
        self.source = MemorySource(self.erp)
        self.baseline = self.source.now("green", CUTOVER - 1)

    def config(self, **changes: Any) -> WatchConfig:
        given = {
            "release_id": RELEASE_ID_OF_RUN,
            "version": "3.0.0",
            "environment": self.erp.environment,
            "source": "blue",
            "target": "green",
            "cutover_at": CUTOVER,
            "began_at": CUTOVER,
            "deadline": CUTOVER + self.erp.environment.watch.seconds,
            "baselines": {self.source.name: self.baseline},
            "may_switch_back": self.may_switch_back,
        }
        return WatchConfig(**{**given, **changes})

    def world(self, account: Account | None = None) -> World:
        async def keep(kept: Account) -> None:
            self.kept.append(kept)

        async def tell(progress: Progress) -> None:
            self.told.append(progress)

        return World(self.erp, {self.source.name: self.source}, account, keep, tell, virtual_time.now, self.probe)

    async def probe(self, environment: Environment, now: Callable[[], float]) -> ProbeSample:
        await asyncio.sleep(0.02)
        state: Any = self.probe_state(now())
        return ProbeSample(now(), state, "" if state == "ok" else f"the page is {state}")

    async def watch(self, config: WatchConfig | None = None, account: Account | None = None) -> WatchOutcome:
        """Watch as a process would that was given the configuration through Airflow's database."""
        given = WatchConfig.load((config or self.config()).dump())
        return WatchOutcome.load((await watch(given, self.world(account))).dump())

    def run(self, config: WatchConfig | None = None) -> WatchOutcome:
        return virtual_time.run(self.watch(config))


def since_cutover(at: float | None) -> float:
    assert at is not None
    return at - CUTOVER
