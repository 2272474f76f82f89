"""What the rules compare a chart with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from include.bluegreen.state import ServiceState
from include.chart.manifest import Manifest, subset
from include.plan.models import Environment, ImageRef, Traffic
from include.plan.slots import Slot


@dataclass(frozen=True)
class SlotContext:
    """One slot of an environment.

    :param image: what the release is to run
    :param target_ports: names of the container ports that the traffic and the preview Service forward to
    """

    environment: Environment
    slot: Slot
    image: ImageRef
    target_ports: tuple[str, ...] = field(default=("http",))

    @property
    def name(self) -> str:
        """Name of the slot's Helm release and of the application's Deployment."""
        return self.environment.slot_release(self.slot)

    def runs(self, image: str) -> bool:
        """Whether a container's image is the release's."""
        if self.image.digest:
            return image.endswith(self.image.digest)
        # A chart may put a registry before the name.
        return f"/{image.split('@')[0]}".endswith(f"/{self.image.repository}:{self.image.tag}")

    def application(self, manifests: Sequence[Manifest]) -> Manifest | None:
        """The application's Deployment: by its name, else by image or labels, else the only one there is.

        The later guesses exist so that a chart with a wrong name is told everything else that is wrong, too.
        """
        deployments = [one for one in manifests if one.kind == "Deployment" and not one.hooks]
        guesses = (
            [one for one in deployments if one.name == self.name],
            [one for one in deployments if any(self.runs(str(c.get("image"))) for c in one.containers)],
            [one for one in deployments if subset(self.environment.traffic.selector, one.pod_labels)],
            deployments if len(deployments) == 1 else [],
        )
        return next((guess[0] for guess in guesses if guess), None)


def target_ports(traffic: Traffic, services: Sequence[ServiceState]) -> tuple[str, ...]:
    """Names of the container ports behind the plan's port of these Services; numbers need no name."""
    targets = {port.target for one in services for port in one.ports if port.name == traffic.port}
    return tuple(sorted(target for target in targets if isinstance(target, str)))
