"""The addresses of staging: the backend's public URL and those that the plan names, each asked and judged."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from include.clients.urls import UrlResult, ask
from include.errors import VerificationFailed
from include.ledger.store import Ledger
from include.plan.models import Environment
from include.plan.staging import UrlCheck
from include.steps.record import all_recorded, record
from include.steps.run import ReleaseRun
from include.steps.staging.entries import URLS_VERIFIED

log = logging.getLogger(__name__)

BACKEND: Final = "backend"
PATIENCE_SECONDS: Final = 15.0
_AGAIN_SECONDS: Final = 1.0


def addresses(environment: Environment) -> dict[str, UrlCheck]:
    """Every address with what it has to answer, the backend first."""
    traffic = environment.traffic
    alive = next((path for path in traffic.health_paths if path != traffic.metrics_path), "/")
    return {BACKEND: UrlCheck(url=traffic.public_url, path=alive), **environment.urls}


async def verify_urls(
    run: ReleaseRun, ledger: Ledger, *, patience_seconds: float = PATIENCE_SECONDS
) -> dict[str, Any]:
    """Ask every address until all answer as the plan says, or patience ends; good or bad, it is recorded.

    :return: ``results``, a sentence for each address, and ``failed``, those of the ones that are wrong
    :raises VerificationFailed: naming every address that does not, with what is wrong
    """
    wanted = addresses(run.environment)
    started = time.monotonic()
    while True:
        results = await asyncio.gather(*(ask(name, check) for name, check in wanted.items()))
        failed = [result for result in results if not result.ok]
        if not failed or time.monotonic() - started >= patience_seconds:
            break
        log.info("not yet: %s", "; ".join(result.sentence for result in failed))
        await asyncio.sleep(_AGAIN_SECONDS)
    for result in results:
        log.info("%s %s", "ok" if result.ok else "FAILED", result.sentence)
    payload = {
        "ok": not failed,
        "results": [result.sentence for result in results],
        "failed": [result.sentence for result in failed],
    }
    record(ledger, run, URLS_VERIFIED, payload, number=len(all_recorded(ledger, run, URLS_VERIFIED)) + 1)
    if failed:
        raise _error(run, results, failed)
    return payload


def _error(run: ReleaseRun, results: Sequence[UrlResult], failed: Sequence[UrlResult]) -> VerificationFailed:
    names, where = ", ".join(result.name for result in failed), run.environment.name
    return VerificationFailed(
        f"{len(failed)} of {len(results)} addresses of {where} do not answer as they have to: {names}",
        expected=f"what urls and traffic.public_url of environments/{run.environment.name}.yaml say",
        seen="; ".join(result.sentence for result in failed),
        remedy=f"bring {names} up (or correct the plan), then clear this task alone: it asks again",
    )
