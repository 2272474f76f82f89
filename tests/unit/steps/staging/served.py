"""A cluster whose staging has a release in traffic."""

from __future__ import annotations

from datetime import UTC, datetime

from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, LastSwitch
from include.bluegreen.state import PodState, ServiceState
from include.plan.slots import Slot
from include.steps.run import ReleaseRun


class Staging:
    """The traffic Service and the pods behind it.

    :param holder: the release id on the Service; that of the run when it is left out
    """

    def __init__(self, run: ReleaseRun, holder: str | None = "") -> None:
        self.traffic = run.environment.traffic
        self.holder = run.release_id if holder == "" else holder
        self.active: Slot = "green"
        self.image = run.release.image.reference
        self.image_id = "sha256:a"
        self.service_is_gone = False
        self.switch: LastSwitch | None = None

    def switched_back(self) -> None:
        """Somebody has rolled the release back, under its own id."""
        self.active = "blue"
        at = datetime(2026, 1, 12, tzinfo=UTC)
        self.switch = LastSwitch("blue", "anna", "slow", at, str(self.holder), "back")

    async def service(self, name: str) -> ServiceState | None:
        if self.service_is_gone:
            return None
        told = {RELEASE_ID: self.holder} if self.holder else {}
        if self.switch:
            told[LAST_SWITCH] = self.switch.encode()
        return ServiceState(name, self.traffic.selector_for(self.active), told)

    async def pods(self, labels: dict[str, str]) -> tuple[PodState, ...]:
        there = labels == self.traffic.selector_for(self.active)
        pod = PodState("p", "p", labels, "Running", ready=True, image=self.image, image_id=self.image_id)
        return (pod,) if there else ()
