"""Which ways back a release has, decided before its cutover and shown to those who decide at the gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OptionName = Literal["auto", "blue-cutover", "helm-rollback", "full-restore"]

# How the old version is known to work on the schema that is live.
SchemaProof = Literal["unchanged", "rehearsed", "unproven"]


@dataclass(frozen=True)
class RollbackOption:
    """One way back: whether it may be taken, and why (not)."""

    name: OptionName
    eligible: bool
    reason: str


@dataclass(frozen=True)
class WayBack:
    """What a way back depends on.

    :param ready: ready endpoints of the slot that would take the traffic back
    :param required: how many it ought to have
    :param cleaned_up: whether that slot has been cleaned up
    """

    schema: SchemaProof
    ready: int
    required: int
    cleaned_up: bool = False


def rollback_options(way: WayBack) -> tuple[RollbackOption, ...]:
    """Every option of the plan, eligible or not; ``auto`` stands for the best eligible one."""
    cutover = _blue_cutover(way)
    auto = RollbackOption(
        "auto",
        cutover.eligible,
        f"takes blue-cutover: {cutover.reason}" if cutover.eligible else f"no other option: {cutover.reason}",
    )
    not_offered = "not offered yet"
    return (
        auto,
        cutover,
        RollbackOption("helm-rollback", eligible=False, reason=not_offered),
        RollbackOption("full-restore", eligible=False, reason=not_offered),
    )


def automatic_allowed(way: WayBack) -> bool:
    """Whether the watch may switch back by itself: only where blue cutover is eligible."""
    return _blue_cutover(way).eligible


def _blue_cutover(way: WayBack) -> RollbackOption:
    def answer(*, eligible: bool, reason: str) -> RollbackOption:
        return RollbackOption("blue-cutover", eligible, reason)

    if way.cleaned_up:
        return answer(eligible=False, reason="the old slot has been cleaned up")
    if way.schema == "unproven":
        return answer(
            eligible=False,
            reason="the old version is not proven on the schema that is live: rehearse the migration first",
        )
    if way.ready < 1:
        return answer(eligible=False, reason="the old slot has no ready endpoint")
    proof = "the schema is unchanged" if way.schema == "unchanged" else "proven on the new schema by rehearsal"
    few = "" if way.ready >= way.required else f" (fewer than the {way.required} required: scale it up)"
    return answer(eligible=True, reason=f"{proof}, {way.ready} ready endpoint(s){few}")
