"""What a rehearsal is about: exactly what was tried, so that production can be held against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from include.ledger.store import Ledger
from include.plan.fingerprint import chart_digest
from include.steps.database.entries import MIGRATION_VERIFIED
from include.steps.record import recorded
from include.steps.run import ReleaseRun
from include.steps.staging.entries import REHEARSAL_COMPLETED, SERVED
from include.version import VERSION


@dataclass(frozen=True)
class Subject:
    """What is tried, or released.

    :param contents: what pods ran, or are to run, by digest; empty where nobody knows
    :param chart: SHA-256 of its content
    """

    image: str
    contents: tuple[str, ...]
    chart: str
    stellwerk: str

    def facts(self) -> dict[str, Any]:
        """As plain JSON, for the ledger."""
        return {
            "image": self.image,
            "contents": list(self.contents),
            "chart": self.chart,
            "stellwerk": self.stellwerk,
        }

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Subject:
        """Read what :meth:`facts` gave.

        :raises KeyError: it is none
        """
        contents = tuple(map(str, facts["contents"]))
        return cls(str(facts["image"]), contents, str(facts["chart"]), str(facts["stellwerk"]))


def subject_of(run: ReleaseRun, ledger: Ledger) -> dict[str, Any]:
    """What a rehearsal has tried, with the revisions that staging's database came to.

    :raises LedgerError: the ledger cannot be read
    """
    served, migrated = recorded(ledger, run, SERVED), recorded(ledger, run, MIGRATION_VERIFIED)
    contents = tuple(map(str, served.payload["contents"])) if served else ()
    image = run.release.image
    tried = Subject(f"{image.repository}:{image.tag}", contents, chart_digest(run.chart), VERSION)
    return {**tried.facts(), "revisions": list(migrated.payload.get("revisions", ())) if migrated else None}


def rehearsed(run: ReleaseRun, ledger: Ledger) -> tuple[str, ...]:
    """What those who decide about production need to know of the rehearsal; good news or a warning, in sentences.

    :raises LedgerError: the ledger cannot be read
    """
    found = ledger.entries(release=run.release.version, environment="staging", kinds=(REHEARSAL_COMPLETED,))
    if not found:
        return (f"warning: {run.release.version} was not rehearsed in staging, as far as the ledger tells",)
    told = found[-1].payload
    result, when = told.get("result"), f"{found[-1].at:%Y-%m-%d %H:%M} UTC"
    findings = [f"{one['severity']}: {one['text']}" for one in told.get("findings", ())]
    fingerprint = str(told.get("fingerprint") or "none")[:16]
    lines = [f"rehearsal in staging {result} at {when}, run {found[-1].run_id}, evidence {fingerprint}"]
    if result != "passed":
        lines = [f"warning: {lines[0]}"]
    if findings:
        lines.append(f"found in the rehearsal: {'; '.join(findings)}")
    return (*lines, *(f"warning: {one}" for one in differences(told.get("subject"), _released(run))))


def _released(run: ReleaseRun) -> Subject:
    image = run.release.image
    digest = (image.digest,) if image.digest else ()
    return Subject(f"{image.repository}:{image.tag}", digest, chart_digest(run.chart), VERSION)


def differences(tried: Mapping[str, Any] | None, released: Subject) -> tuple[str, ...]:
    """In what a release is not what was rehearsed; what cannot be compared is said, too. Pure.

    :param tried: a rehearsal's ``subject``; None when it does not tell
    """
    try:
        known = Subject.of_facts(tried or {})
    except (KeyError, TypeError):
        return ("the rehearsal does not tell what it was about",)
    found = []
    if known.image != released.image:
        found.append(f"rehearsed was the image {known.image}, released is {released.image}")
    if known.contents and released.contents:
        was = ", ".join(known.contents)
        others = (one for one in released.contents if not any(ran.endswith(one) for ran in known.contents))
        found += [f"rehearsed was the image's content {was}, released is {one}" for one in others]
    else:
        found.append("whether the image's content is what was rehearsed is not known: no digest is")
    if known.chart != released.chart:
        found.append("the chart has changed since the rehearsal")
    if known.stellwerk != released.stellwerk:
        found.append(f"rehearsed was with Stellwerk {known.stellwerk}, this is {released.stellwerk}")
    return tuple(found)
