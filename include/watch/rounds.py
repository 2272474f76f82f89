"""The independent prober's rounds: all checks of the public URL at once, each on a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from include.clients.prober import ProbeResult, check
from include.plan.models import Environment
from include.slo.samples import ProbeSample


async def probe(environment: Environment, now: Callable[[], float]) -> ProbeSample:
    """Ask the public URL everything once. Whatever goes wrong is a sample, not an exception.

    :param now: the clock, seconds since the epoch
    """
    url = environment.traffic.public_url
    results = await asyncio.gather(*(check(url, one) for one in environment.probes))
    return judged(results, now())


def judged(results: Iterable[ProbeResult], at: float) -> ProbeSample:
    """One round in one word: an answer that is wrong outweighs one that could not be had at all.

    :param at: when the round ended, seconds since the epoch
    """
    bad = [result for result in results if not result.ok]
    failed = [result.sentence for result in bad if result.usable]
    if failed:
        return ProbeSample(at, "failed", "; ".join(failed))
    if bad:
        return ProbeSample(at, "unusable", "; ".join(result.sentence for result in bad))
    return ProbeSample(at, "ok")
