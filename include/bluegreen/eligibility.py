"""Which ways back a release has: told at the gate before its cutover, and decided by when somebody goes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

OptionName = Literal["auto", "blue-cutover", "helm-rollback", "full-restore"]

# How the old version is known to work on the schema that is live; "unknown" when the ledger gives no answer.
SchemaProof = Literal["unchanged", "rehearsed", "unproven", "unknown"]

_PROOFS: Final = {
    "unchanged": "the schema is unchanged",
    "rehearsed": "proven on the new schema by rehearsal",
    "unknown": "the ledger gives no answer: the schema is not known, taken as before the cutover",
}


@dataclass(frozen=True)
class OptionKind:
    """What an option is, whatever the state of the world; the trigger form's documentation is made from it."""

    name: OptionName
    does: str
    when: str
    loses: str


# From the least destructive one on: `auto` takes the first that is eligible and marked as safe to take by itself.
KINDS: Final = (
    OptionKind(
        "blue-cutover",
        "one patch of the traffic Service",
        "the old slot still has ready pods of the old version",
        "nothing",
    ),
    OptionKind(
        "helm-rollback",
        "brings the old slot back (helm rollback to a named revision, size, proof), then the same switch",
        "the old slot was cleaned up, lost its pods or was changed by hand",
        "nothing; takes as long as its pods need to start",
    ),
    OptionKind(
        "full-restore",
        "restores the database from the backup, then deploys the old version",
        "the data is damaged, or the old version does not work on the live schema",
        "everything written since the backup; never taken by `auto`",
    ),
)
NEVER_BY_ITSELF: Final = "full-restore"


@dataclass(frozen=True)
class RollbackOption:
    """One way back: whether it may be taken, and why (not)."""

    name: OptionName
    eligible: bool
    reason: str


@dataclass(frozen=True)
class Candidate:
    """What ``helm-rollback`` would bring back.

    :param usable: whether it may be brought back
    :param reason: what it is, or why there is nothing to bring back
    :param revision: of the old slot's Helm release; None for an adopted Deployment, which is only scaled
    :param images: what the pods of the old version run; empty when that is not known
    """

    usable: bool
    reason: str
    revision: int | None = None
    images: frozenset[str] = frozenset()


@dataclass(frozen=True)
class WayBack:
    """What a way back depends on.

    :param ready: ready endpoints of the slot that would take the traffic back
    :param required: how many it ought to have
    :param cleaned_up: whether that slot has been cleaned up
    :param candidate: what could be brought back into it; None while nobody has looked
    :param strange: images of its pods that the old version does not run: somebody changed it by hand
    """

    schema: SchemaProof
    ready: int
    required: int
    cleaned_up: bool = False
    candidate: Candidate | None = None
    strange: tuple[str, ...] = ()


def rollback_options(way: WayBack) -> tuple[RollbackOption, ...]:
    """Every option of the plan, eligible or not; ``auto``, the first, stands for the best eligible one."""
    options = (_blue_cutover(way), _helm_rollback(way), _full_restore())
    return (_auto(options), *options)


def chosen(options: Sequence[RollbackOption], wanted: str) -> RollbackOption | None:
    """The option that would be taken for what was asked; None when it is not eligible or does not exist."""
    names = [kind.name for kind in KINDS if kind.name != NEVER_BY_ITSELF] if wanted == "auto" else [wanted]
    by_name = {option.name: option for option in options if option.name != "auto"}
    # A Helm rollback blocks no faster way: where the old slot is there after all, it is the same switch.
    if wanted == "helm-rollback" and by_name["blue-cutover"].eligible:
        return by_name["blue-cutover"]
    found = (by_name[name] for name in names if name in by_name)
    return next((option for option in found if option.eligible), None)


def automatic_allowed(way: WayBack) -> bool:
    """Whether the watch may switch back by itself: only where blue cutover is eligible, and known to be."""
    return way.schema != "unknown" and _blue_cutover(way).eligible


def documentation() -> str:
    """The options as a Markdown table, the least destructive one first."""
    lines = ["| option | does | when | loses |", "|---|---|---|---|"]
    lines.append("| `auto` | the first of the following that is possible | always a good choice | see there |")
    lines += [f"| `{kind.name}` | {kind.does} | {kind.when} | {kind.loses} |" for kind in KINDS]
    lines += ["", f"Today: `full-restore` is not possible: {_full_restore().reason}."]
    return "\n".join(lines)


def _auto(options: Sequence[RollbackOption]) -> RollbackOption:
    best = chosen(options, "auto")
    if best:
        return RollbackOption("auto", eligible=True, reason=f"takes {best.name}: {best.reason}")
    why = "; ".join(f"{option.name}: {option.reason}" for option in options if option.name != NEVER_BY_ITSELF)
    return RollbackOption("auto", eligible=False, reason=f"no option is possible ({why})")


def _unproven(way: WayBack) -> str:
    if way.schema != "unproven":
        return ""
    return "the old version is not proven on the schema that is live: rehearse the migration first"


def _blue_cutover(way: WayBack) -> RollbackOption:
    def answer(*, eligible: bool, reason: str) -> RollbackOption:
        return RollbackOption("blue-cutover", eligible, reason)

    if why := _unproven(way):
        return answer(eligible=False, reason=why)
    if way.cleaned_up:
        return answer(eligible=False, reason="the old slot has been cleaned up")
    if way.strange:
        images = ", ".join(way.strange)
        return answer(eligible=False, reason=f"the old slot was changed by hand: it runs {images}")
    if way.ready < 1:
        return answer(eligible=False, reason="the old slot has no ready endpoint")
    few = "" if way.ready >= way.required else f" (fewer than the {way.required} required: scale it up)"
    return answer(eligible=True, reason=f"{_PROOFS[way.schema]}, {way.ready} ready endpoint(s){few}")


def _helm_rollback(way: WayBack) -> RollbackOption:
    def answer(*, eligible: bool, reason: str) -> RollbackOption:
        return RollbackOption("helm-rollback", eligible, reason)

    if why := _unproven(way):
        return answer(eligible=False, reason=why)
    if way.candidate is None:
        return answer(eligible=False, reason="nobody has looked what could be brought back")
    if not way.candidate.usable:
        return answer(eligible=False, reason=way.candidate.reason)
    return answer(eligible=True, reason=f"{_PROOFS[way.schema]}, {way.candidate.reason}")


def _full_restore() -> RollbackOption:
    reason = (
        "the database part is not there yet; it will need a verified backup of this database, a named person who "
        "has been shown what is lost (minutes and rows since the backup), and the old version's Helm revision"
    )
    return RollbackOption("full-restore", eligible=False, reason=reason)
