"""What will change, looked up for those who decide and kept with the run."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from include.bluegreen.eligibility import RollbackOption
from include.bluegreen.recovery import good_revision
from include.chart.manifest import Manifest
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.ledger.store import Ledger
from include.plan.slots import Slot
from include.report.preview import Observed, Preview, preview
from include.steps.record import PREVIEWED, record
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)


async def plan_preview(
    run: ReleaseRun,
    cluster: Cluster,
    helm: Helm,
    *,
    active: Slot,
    after: Sequence[Manifest],
    ready: int,
    options: tuple[RollbackOption, ...],
) -> Preview:
    """Compare what the active slot's Helm release holds with what will be installed.

    :param after: the objects of the slot that the release goes to
    :param ready: usable endpoints of the traffic Service
    """
    environment = run.environment
    legacy = environment.traffic.legacy
    name = legacy.helm_release if legacy and legacy.slot == active else environment.slot_release(active)
    revision = good_revision(await helm.history(name)) if name else None
    seen = Observed(
        active=active,
        before=() if revision is None else await helm.manifest(name, revision),
        after=after,
        pods=await cluster.pods(environment.traffic.selector_for(active)),
        hpas=await cluster.hpas(),
        ready=ready,
        options=options,
    )
    return preview(environment, seen)


def keep_preview(ledger: Ledger, run: ReleaseRun, text: str) -> None:
    """Write the preview to the log and to the ledger; a run that looks again keeps what has changed since."""
    log.info("%s", text)
    before = ledger.entries(
        release=run.release.version, environment=run.environment.name, run_id=run.run_id, kinds=(PREVIEWED,)
    )
    if not before or before[-1].payload.get("markdown") != text:
        record(ledger, run, PREVIEWED, {"markdown": text}, number=len(before))
