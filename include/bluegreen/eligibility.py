"""Which ways back a release has: told at the gate before its cutover, and decided by when somebody goes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

OptionName = Literal["auto", "blue-cutover", "helm-rollback", "full-restore"]

# How the old version is known to work on the schema that is live; "unknown" when the ledger gives no answer,
# "restoring" while the application is stopped because its database is being replaced.
SchemaProof = Literal["unchanged", "rehearsed", "unproven", "restoring", "unknown"]

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
        "stops the application, puts the migration's safety backup in the place of the database, brings the old "
        "version back",
        "the data is damaged, or the old version does not work on the live schema",
        "everything written since the backup, once a named person has confirmed that; never taken by `auto`",
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
class Restorable:
    """What ``full-restore`` would put in the place of the database.

    :param usable: whether it may be restored, by the account that would do it
    :param reason: which backup it is, or why there is none
    """

    usable: bool
    reason: str


@dataclass(frozen=True)
class WayBack:
    """What a way back depends on.

    :param ready: ready endpoints of the slot that would take the traffic back
    :param required: how many it ought to have
    :param cleaned_up: whether that slot has been cleaned up
    :param candidate: what could be brought back into it; None while nobody has looked
    :param strange: images of its pods that the old version does not run: somebody changed it by hand
    :param rehearsal: id of the rehearsal that has proven the old version on the new schema
    :param restorable: the backup that could be restored; None while nobody has looked
    """

    schema: SchemaProof
    ready: int
    required: int
    cleaned_up: bool = False
    candidate: Candidate | None = None
    strange: tuple[str, ...] = ()
    rehearsal: str = ""
    restorable: Restorable | None = None


def rollback_options(way: WayBack) -> tuple[RollbackOption, ...]:
    """Every option of the plan, eligible or not; ``auto``, the first, stands for the best eligible one."""
    options = (_blue_cutover(way), _helm_rollback(way), _full_restore(way))
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
    lines += ["", "`full-restore` has to be asked for by name, and a human confirms what it loses."]
    return "\n".join(lines)


def _auto(options: Sequence[RollbackOption]) -> RollbackOption:
    best = chosen(options, "auto")
    if best:
        return RollbackOption("auto", eligible=True, reason=f"takes {best.name}: {best.reason}")
    why = "; ".join(f"{option.name}: {option.reason}" for option in options if option.name != NEVER_BY_ITSELF)
    last = next(option for option in options if option.name == NEVER_BY_ITSELF)
    but = f" but {last.name}, which has to be asked for" if last.eligible else ""
    return RollbackOption("auto", eligible=False, reason=f"no option is possible{but} ({why})")


def _unproven(way: WayBack) -> str:
    if way.schema == "restoring":
        return "the database is being restored, and the application is stopped meanwhile"
    if way.schema != "unproven":
        return ""
    return "the old version is not proven on the schema that is live: rehearse the migration first"


def _proof(way: WayBack) -> str:
    """How the old version is known to work; the rehearsal's id finds its entry in the ledger."""
    named = way.schema == "rehearsed" and way.rehearsal
    return f"{_PROOFS[way.schema]} {way.rehearsal}" if named else _PROOFS[way.schema]


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
    return answer(eligible=True, reason=f"{_proof(way)}, {way.ready} ready endpoint(s){few}")


def _helm_rollback(way: WayBack) -> RollbackOption:
    def answer(*, eligible: bool, reason: str) -> RollbackOption:
        return RollbackOption("helm-rollback", eligible, reason)

    if why := _unproven(way):
        return answer(eligible=False, reason=why)
    if way.candidate is None:
        return answer(eligible=False, reason="nobody has looked what could be brought back")
    if not way.candidate.usable:
        return answer(eligible=False, reason=way.candidate.reason)
    return answer(eligible=True, reason=f"{_proof(way)}, {way.candidate.reason}")


def _full_restore(way: WayBack) -> RollbackOption:
    def answer(*, eligible: bool, reason: str) -> RollbackOption:
        return RollbackOption("full-restore", eligible, reason)

    if way.schema == "unknown":
        return answer(eligible=False, reason="the ledger gives no answer: nobody can confirm there what is lost")
    if way.restorable is None:
        return answer(eligible=False, reason="nobody has looked for a backup: ask for it by name to know")
    if not way.restorable.usable:
        return answer(eligible=False, reason=way.restorable.reason)
    if way.candidate is None or not way.candidate.usable:
        lacking = way.candidate.reason if way.candidate else "nobody has looked what could be brought back"
        return answer(eligible=False, reason=f"{way.restorable.reason}, but the old version cannot: {lacking}")
    needs = "a named person has to confirm what is lost since then"
    return answer(eligible=True, reason=f"{way.restorable.reason}, {way.candidate.reason}; {needs}")
