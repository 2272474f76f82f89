"""An installation that was there before Stellwerk and has been adopted as one of the slots (docs/adr/0008).

It is observed, never planned: the traffic Service carries it as an annotation for as long as it is true.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AwareDatetime, Field

from include.plan.rules import PlanModel
from include.plan.slots import Slot

Labels = Mapping[str, str]


class Former(PlanModel):
    """What the traffic Service was before, as far as adoption changes it: what undoing brings back."""

    selector: Labels
    labels: Labels = Field(default_factory=dict)
    annotations: Labels = Field(default_factory=dict)


class Legacy(PlanModel):
    """The slot that is the adopted installation instead of a Helm release of Stellwerk's.

    :param selector: the whole selector that sends traffic to it
    :param deployment: its Deployment
    :param hpa: the Deployment's autoscaler, empty for none
    :param helm_release: the Helm release the traffic Service belonged to, empty for none
    :param at: when it was adopted; None while it is only planned
    """

    slot: Slot
    selector: Annotated[Labels, Field(min_length=1)]
    deployment: Annotated[str, Field(min_length=1)]
    hpa: str = ""
    helm_release: str = ""
    former: Former
    at: AwareDatetime | None = None
