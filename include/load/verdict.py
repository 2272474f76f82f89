"""Whether a release stands the load: figures held against the plan's thresholds. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from include.load.figures import Figures, percentile
from include.plan.staging import LoadThresholds
from include.slo.evidence import wilson

_SLOW: Final = 0.05
"""The share of requests that may be slower than P95."""

Result = Literal["PASSED", "FAILED", "UNKNOWN"]


@dataclass(frozen=True)
class LoadVerdict:
    """What a load test means.

    :param reasons: what is missed, or why nothing is known; a clause each
    """

    result: Result
    reasons: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """For log, ledger and report."""
        return f"{self.result}: {'; '.join(self.reasons)}" if self.reasons else self.result


def judge(figures: Figures | None, thresholds: LoadThresholds, titles: Collection[str]) -> LoadVerdict:
    """Decide. Too few requests show nothing, neither that it is well nor that it is not.

    Each kind of request is judged for itself, too: many that are well do not hide one that never is. What few
    requests of a kind say counts as far as it is no chance.

    :param figures: None when the test left none
    :param titles: every kind of request that the plan has
    """
    if figures is None:
        return LoadVerdict("UNKNOWN", ("the load test has left no figures",))
    if figures.requests < thresholds.min_requests or figures.error_rate is None:
        few = f"{figures.requests} request(s) were made, {thresholds.min_requests} are needed to judge"
        return LoadVerdict("UNKNOWN", (few, *figures.why_failed))
    missed = [*_errors(figures, figures.error_rate, thresholds), *_pace(figures, thresholds)]
    unknown = [f"{title} was never asked" for title in titles if title not in {one.name for one in figures.asked}]
    if figures.p95_seconds is None:
        unknown.append("there is no P95")
    if figures.silence_seconds is None:
        unknown.append("how long nobody got an answer is not known")
    return LoadVerdict("FAILED" if missed else "UNKNOWN" if unknown else "PASSED", (*missed, *unknown))


def _errors(figures: Figures, rate: float, thresholds: LoadThresholds) -> Iterator[str]:
    allowed = f"at most {100 * thresholds.error_rate:g} % are allowed"
    told = [
        f"error rate of {one.name} {100 * one.failures / one.requests:.2f} % of {one.requests} requests, {allowed}"
        for one in figures.asked
        if wilson(one.failures, one.requests).low > thresholds.error_rate
    ]
    if rate > thresholds.error_rate:
        told.insert(0, f"error rate {100 * rate:.2f} % of {figures.requests} requests, {allowed}")
    if told:
        yield from (*told, *figures.why_failed)


def _pace(figures: Figures, thresholds: LoadThresholds) -> Iterator[str]:
    if figures.requests_per_second < thresholds.requests_per_second:
        yield (
            f"{figures.requests_per_second:.1f} requests per second, "
            f"at least {thresholds.requests_per_second:g} are needed"
        )
    if (figures.silence_seconds or 0.0) > thresholds.silence_seconds:
        yield (
            f"for {figures.silence_seconds:.0f} s nobody got a right answer, "
            f"at most {thresholds.silence_seconds:g} s are allowed"
        )
    allowed = f"at most {1000 * thresholds.p95_seconds:g} ms are allowed"
    if figures.p95_seconds is not None and figures.p95_seconds > thresholds.p95_seconds:
        slowest = f" ({figures.slowest})" if figures.slowest else ""
        yield f"P95 {1000 * figures.p95_seconds:.0f} ms{slowest}, {allowed}"
    for one in figures.asked:
        slow = one.slower_than(thresholds.p95_seconds)
        if wilson(slow, one.requests).low > _SLOW:
            p95 = percentile(one.times) or 0.0
            yield f"P95 of {one.name} {1000 * p95:.0f} ms, {allowed}"
