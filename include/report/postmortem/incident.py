"""Which entries of a release belong to one rollback: those of the run that cut over, and of the runs about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from include.errors import LedgerError
from include.ledger.entry import Entry
from include.report.names import OWN

BACK: Final = ("ROLLED_BACK", "ROLLED_BACK_BY_HAND")
BLOCKED: Final = "ROLLBACK_BLOCKED"
_ACTED: Final = ("switch.back", "rollback.brought-back", "rollback.verified", "rollback.done")
_OF_A_RELEASE: Final = ("release.", "gate.", "preflight.", "deploy.", "cutover.", "watch.")


@dataclass(frozen=True)
class Incident:
    """One cutover and what became of it.

    :param run_id: of the run that cut over, or of the only run there is
    :param entries: of that run and of those about it, in the ledger's order
    :param rollback_runs: runs that took it back, in the order they began
    """

    release: str
    environment: str
    run_id: str
    entries: tuple[Entry, ...]
    rollback_runs: tuple[str, ...]

    def of(self, *kinds: str) -> tuple[Entry, ...]:
        """Its entries of these kinds."""
        return tuple(entry for entry in self.entries if entry.kind in kinds)

    @property
    def ends(self) -> tuple[Entry, ...]:
        """How its windows ended."""
        return self.of("watch.ended")

    @property
    def rolled_back(self) -> bool:
        """Whether the record says that the traffic went back."""
        ended = any(entry.payload.get("result") in BACK for entry in self.ends)
        return ended or bool(self.of("switch.back", "rollback.done"))

    @property
    def blocked(self) -> bool:
        """Whether going back was due and was not done."""
        due = any(entry.payload.get("result") == BLOCKED for entry in self.ends)
        return not self.rolled_back and (due or bool(self.of("rollback.blocked")))

    @property
    def config(self) -> dict[str, Any]:
        """What the newest watch was configured with; empty when none began."""
        for entry in reversed(self.of("watch.baseline")):
            config = entry.payload.get("config")
            if isinstance(config, dict):
                return config
        return {}

    @property
    def slots(self) -> tuple[str | None, str | None]:
        """(slot the traffic came from, slot of the faulty version)."""
        for entry in self.of("release.started", "cutover.done", "cutover.intended"):
            if entry.payload.get("from") and entry.payload.get("to"):
                return str(entry.payload["from"]), str(entry.payload["to"])
        for entry in self.of("switch.back"):
            if entry.payload.get("from") and entry.payload.get("to"):
                return str(entry.payload["to"]), str(entry.payload["from"])
        source, target = self.config.get("source"), self.config.get("target")
        return (str(source) if source else None), (str(target) if target else None)


def incidents(entries: Sequence[Entry]) -> tuple[Incident, ...]:
    """Sort the entries by cutover, in the order the runs began.

    :param entries: of one release in one environment, in the ledger's order
    :raises LedgerError: there are none, or they belong to several releases
    """
    entries = [entry for entry in entries if entry.kind not in OWN]
    named = {(entry.release, entry.environment) for entry in entries}
    if len(named) != 1:
        raise LedgerError(
            "a post-mortem needs the entries of one release",
            expected="one release in one environment",
            seen=", ".join(sorted(f"{release} in {environment}" for release, environment in named)) or "none",
        )
    ((release, environment),) = named
    owners = _owners(entries, f"{release}@{environment}/")
    found = []
    for owner in dict.fromkeys(owners.values()):
        own = tuple(entry for entry in entries if owners[entry.run_id] == owner)
        others = tuple(dict.fromkeys(e.run_id for e in own if e.kind in _ACTED and e.run_id != owner))
        found.append(Incident(release, environment, owner, own, others))
    return tuple(found)


def chosen(found: Sequence[Incident], run_id: str | None) -> Incident:
    """The incident of a run; without one the last that was rolled back, else blocked, else the last of all.

    :raises LedgerError: no entry is of that run
    """
    if run_id is not None:
        for incident in found:
            if any(entry.run_id == run_id for entry in incident.entries):
                return incident
        raise LedgerError(
            f"the ledger knows no run {run_id} of this release",
            expected=", ".join(incident.run_id for incident in found),
            seen=run_id,
        )
    back = [incident for incident in found if incident.rolled_back]
    blocked = [incident for incident in found if incident.blocked]
    return (back or blocked or found)[-1]


def _owners(entries: Sequence[Entry], prefix: str) -> dict[str, str]:
    """Run → the run that cut over what it is about."""
    releases = dict.fromkeys(
        entry.run_id for entry in entries if entry.kind.startswith(_OF_A_RELEASE) and not _takes_back(entry)
    )
    owners: dict[str, str] = {}
    latest: str | None = None
    for entry in entries:
        run = entry.run_id
        if run in releases:
            owners.setdefault(run, run)
            if entry.kind in ("cutover.intended", "cutover.done", "watch.baseline"):
                latest = run
            continue
        told = entry.payload.get("release_id")
        if isinstance(told, str) and told.startswith(prefix) and told != prefix:
            owners[run] = told.removeprefix(prefix)
        elif run not in owners:
            started_for = run.removeprefix("after__")
            owners[run] = started_for if started_for in releases else latest or run
    return owners


def _takes_back(entry: Entry) -> bool:
    return entry.kind.startswith("rollback.") or entry.kind == "switch.back"
