"""An application with two slots that a rollback may stop, for tests whose subject is not the cluster.

What the steps do to a real one is the subject of tests/contract/test_rollback.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, LastSwitch
from include.bluegreen.slots import Slot
from include.bluegreen.state import DeploymentState, Endpoint, PodState, ServiceState
from include.plan.models import Traffic
from include.plan.slots import SLOTS
from include.steps.run import ReleaseRun

HOLDER = "3.0.0@production/manual__1"


class Killed(Exception):
    """The process is gone."""


@dataclass
class Application:
    """Deployments with as many pods as they ask for; it can be told to die at one of the next calls."""

    run: ReleaseRun
    sizes: dict[Slot, int] = field(default_factory=lambda: {"blue": 2, "green": 3})
    active: Slot = "green"
    holder: str = HOLDER
    dies_after: int | None = None

    @property
    def traffic(self) -> Traffic:
        return self.run.environment.traffic

    def _slot(self, name: str) -> Slot:
        return next(slot for slot in SLOTS if self.run.environment.slot_release(slot) == name)

    def _call(self) -> None:
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after < 0:
                self.dies_after = None
                raise Killed

    async def service(self, name: str) -> ServiceState:
        self._call()
        moved = LastSwitch(self.active, "release", "cutover", datetime(2030, 5, 1, tzinfo=UTC), HOLDER, "forward")
        annotations = {RELEASE_ID: self.holder, LAST_SWITCH: moved.encode()}
        return ServiceState(name, self.traffic.selector_for(self.active), annotations)

    async def deployment(self, name: str) -> DeploymentState | None:
        self._call()
        size = self.sizes.get(self._slot(name))
        return None if size is None else DeploymentState(name, size, size, size, 1, 1)

    async def scale(self, name: str, replicas: int) -> None:
        self._call()
        self.sizes[self._slot(name)] = replicas

    async def pods(self, labels: dict[str, str]) -> tuple[PodState, ...]:
        self._call()
        slot = next(slot for slot in SLOTS if self.traffic.selector_for(slot) == labels)
        return tuple(
            PodState(f"{slot}-{n}", f"{slot}-{n}", labels, "Running", ready=True)
            for n in range(self.sizes.get(slot, 0))
        )

    async def endpoints(self, name: str) -> tuple[Endpoint, ...]:
        self._call()
        return tuple(
            Endpoint(f"{n}", f"{n}", ready=True, terminating=False, ports={self.traffic.port: 8000})
            for n in range(self.sizes.get(self.active, 0))
        )
