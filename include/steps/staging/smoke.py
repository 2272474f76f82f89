"""The smoke suite on what users of staging get, whoever has deployed it."""

from __future__ import annotations

from typing import Any

from include.clients.kubernetes import Cluster
from include.errors import EvidenceError, TrafficError, VerificationFailed
from include.ledger.store import Ledger
from include.steps.record import RELEASED, all_recorded, record
from include.steps.run import ReleaseRun
from include.steps.staging.entries import SMOKE_FAILED
from include.steps.staging.serving import expected_of, must_serve
from include.steps.verify import prove_traffic


async def smoke(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> dict[str, Any]:
    """Prove selector, endpoints, health endpoints and smoke checks of the slot that has the release.

    A failure is recorded: what an earlier look has shown counts no more.

    :return: the recorded entry: ``slot``, ``checks``
    :raises TrafficError: neither this run nor one before it has deployed the release
    :raises VerificationFailed: users do not get it, or get wrong answers
    :raises EvidenceError: users get something else than what was deployed
    """
    target = expected_of(run, ledger).slot
    number = len(all_recorded(ledger, run, RELEASED, SMOKE_FAILED))
    try:
        results = await prove_traffic(run, cluster, target)
        await must_serve(run, cluster, ledger, what="the smoke suite")
    except (VerificationFailed, EvidenceError) as error:
        record(ledger, run, SMOKE_FAILED, {"slot": target, "problem": str(error)}, number=number)
        raise
    payload = {"slot": target, "checks": [result.sentence for result in results]}
    return dict(record(ledger, run, RELEASED, payload, number=number).payload)


def must_have_passed(ledger: Ledger, run: ReleaseRun, *, before: str) -> None:
    """Refuse to go on when the newest look at the release was no pass.

    :param before: the step that relies on it, for the message
    :raises TrafficError: there is none, or it has failed
    """
    found = all_recorded(ledger, run, RELEASED, SMOKE_FAILED)
    if found and found[-1].kind == RELEASED:
        return
    raise TrafficError(
        f"{before} refused",
        expected="a smoke suite that has passed",
        seen=found[-1].payload["problem"] if found else f"no ledger entry {RELEASED} of run {run.run_id}",
        remedy="clear smoke_tests so that it really runs; states set by hand prove nothing",
    )
