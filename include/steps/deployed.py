"""What a slot was deployed from, kept with the deployment: the plan of today may be another one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from include.ledger.entry import Entry, canonical
from include.ledger.store import Ledger
from include.plan.fingerprint import chart_digest
from include.plan.slots import Slot
from include.steps.record import DEPLOYED, all_recorded, record
from include.steps.run import ReleaseRun
from include.version import VERSION


@dataclass(frozen=True)
class Source:
    """What helm was given.

    :param fingerprint: of all that an approval covers
    :param image: repository and tag
    :param chart: SHA-256 of its content
    :param values: SHA-256 of the slot's values; the image is among them
    :param stellwerk: version of Stellwerk
    """

    fingerprint: str
    image: str
    chart: str
    values: str
    stellwerk: str

    def facts(self) -> dict[str, str]:
        """As plain JSON, for the ledger."""
        return asdict(self)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Source | None:
        """Read what :meth:`facts` gave; None when a deployment does not tell."""
        names = cls.__dataclass_fields__
        return cls(**{name: str(facts[name]) for name in names}) if names.keys() <= facts.keys() else None


def source_of(run: ReleaseRun, slot: Slot) -> Source:
    """What the plan has now, for a run that knows its image's digest.

    :raises InvalidPlan: the chart is not there
    """
    image = run.release.image
    values = hashlib.sha256(canonical(run.values(slot)).encode()).hexdigest()
    return Source(run.fingerprint, f"{image.repository}:{image.tag}", chart_digest(run.chart), values, VERSION)


def changed(deployed: Source, planned: Source) -> str:
    """What of a slot the plan has otherwise than it was deployed; empty when nothing. Pure."""
    differs = {
        "the chart": deployed.chart != planned.chart,
        "the image or its digest, or the values": (deployed.image, deployed.values)
        != (planned.image, planned.values),
    }
    return " and ".join(name for name, does in differs.items() if does)


def record_deployed(run: ReleaseRun, ledger: Ledger, source: Source, seen: Mapping[str, Any]) -> Entry:
    """Record a deployment: once for what it was made from, and anew when that is another than the newest.

    :param seen: ``slot``, ``helm_release``, ``revision``, ``ready``
    :raises LedgerUnavailable: the ledger cannot be written
    """
    known = all_recorded(ledger, run, DEPLOYED)
    if known and Source.of_facts(known[-1].payload) == source:
        return known[-1]
    return record(ledger, run, DEPLOYED, {**seen, **source.facts()}, number=len(known))
