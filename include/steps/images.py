"""The release's image by digest: what a tag means is asked once, and is what is approved and deployed."""

from __future__ import annotations

import logging
from dataclasses import replace

from include.clients.registry import Registry
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.record import record
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

IMAGE_RESOLVED = "image.resolved"


async def resolve_image(
    run: ReleaseRun, ledger: Ledger, registry: Registry | None
) -> tuple[ReleaseRun, tuple[str, ...]]:
    """Bind the run to a digest; return it with sentences for those who decide.

    The first answer holds for the whole run: a tag that moves later changes nothing of what was approved.

    :param registry: None when the environment names none: the tag is then all that is known
    :raises RegistryError: what the tag means cannot be found out
    """
    image = run.release.image
    if image.digest or registry is None:
        return run, ()
    now = await registry.digest(image)
    if not _resolved(run, ledger):
        known = len(_entries(run, ledger))
        payload = {"reference": image.reference, "digest": now, "registry": registry.host}
        record(ledger, run, IMAGE_RESOLVED, payload, number=known)
    bound = pinned(run, ledger)
    digest = bound.release.image.digest
    facts = [f"image {image.reference} is {digest}, and that is what is deployed"]
    if now != digest:
        facts.append(f"warning: the tag {image.tag} has moved since this run began: it is {now} now")
    return bound, tuple(facts)


def pinned(run: ReleaseRun, ledger: Ledger) -> ReleaseRun:
    """Return the run with the digest its preflight found; unchanged when the release or nobody names one."""
    entry = None if run.release.image.digest else _resolved(run, ledger)
    if entry is None:
        return run
    image = run.release.image.model_copy(update={"digest": entry.payload["digest"]})
    return replace(run, release=run.release.model_copy(update={"image": image}))


def _resolved(run: ReleaseRun, ledger: Ledger) -> Entry | None:
    reference = run.release.image.reference
    return next((one for one in _entries(run, ledger) if one.payload["reference"] == reference), None)


def _entries(run: ReleaseRun, ledger: Ledger) -> tuple[Entry, ...]:
    return tuple(
        ledger.entries(
            release=run.release.version,
            environment=run.environment.name,
            run_id=run.run_id,
            kinds=(IMAGE_RESOLVED,),
        )
    )
