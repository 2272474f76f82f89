"""The smoke suite on what users of staging get, whoever has deployed it."""

from __future__ import annotations

from typing import Any

from include.clients.kubernetes import Cluster
from include.ledger.store import Ledger
from include.steps.record import CUT_OVER, RELEASED, record, recorded, require, slots_of
from include.steps.run import ReleaseRun
from include.steps.staging.entries import DEPLOYED_ALREADY
from include.steps.verify import prove_traffic


async def smoke(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> dict[str, Any]:
    """Prove selector, endpoints, health endpoints and smoke checks of the slot that has the release.

    :return: the recorded entry: ``slot``, ``checks``
    :raises TrafficError: neither this run nor one before it has deployed the release
    :raises VerificationFailed: users do not get it, or get wrong answers
    """
    if recorded(ledger, run, CUT_OVER):
        _, target = slots_of(ledger, run)
    else:
        target = require(ledger, run, DEPLOYED_ALREADY, before="the smoke suite").payload["slot"]
    results = await prove_traffic(run, cluster, target)
    payload = {"slot": target, "checks": [result.sentence for result in results]}
    return dict(record(ledger, run, RELEASED, payload).payload)
