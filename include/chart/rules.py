"""All rules, applied at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from include.chart import application, hooks, images, scaling, slots
from include.chart.context import SlotContext
from include.chart.finding import Finding
from include.chart.manifest import Manifest
from include.chart.slots import TwoSlots

Rule = Callable[[SlotContext, Sequence[Manifest]], Iterable[Finding]]
PairRule = Callable[[TwoSlots], Iterable[Finding]]

RULES: Final[tuple[Rule, ...]] = (
    application.deployment_name,
    application.slot_labels,
    application.only_application,
    application.readiness_probe,
    application.serving_port,
    application.release_image,
    scaling.replicas_with_autoscaler,
    scaling.autoscaler_bounds,
    images.pinned_images,
    hooks.acting_hooks,
)
"""What one slot's objects have to fulfil."""

PAIR_RULES: Final[tuple[PairRule, ...]] = (
    slots.shared_objects,
    slots.shared_claims,
    slots.shared_addresses,
    slots.traffic_services,
    slots.crossing_selectors,
)
"""What the two slots' objects have to fulfil together."""


def check(context: SlotContext, target: Sequence[Manifest], other: Sequence[Manifest]) -> list[Finding]:
    """Everything the rules find, without looking at a cluster.

    :param target: the objects of the slot that the release goes to
    :param other: the objects of the slot that serves users
    """
    pair = TwoSlots(context.environment, target, other)
    found = [finding for rule in RULES for finding in rule(context, target)]
    found += [finding for pair_rule in PAIR_RULES for finding in pair_rule(pair)]
    return found
