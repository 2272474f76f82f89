"""Whether a release stands the load: figures held against the plan's thresholds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from include.load.figures import Figures
from include.plan.staging import LoadThresholds

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


def judge(figures: Figures | None, thresholds: LoadThresholds) -> LoadVerdict:
    """Decide. Too few requests show nothing, neither that it is well nor that it is not.

    :param figures: None when the test left none
    """
    if figures is None:
        return LoadVerdict("UNKNOWN", ("the load test has left no figures",))
    if figures.requests < thresholds.min_requests or figures.error_rate is None:
        few = f"{figures.requests} request(s) ended, {thresholds.min_requests} are needed to judge"
        return LoadVerdict("UNKNOWN", (few, *figures.why_failed))
    missed = []
    if figures.error_rate > thresholds.error_rate:
        missed.append(
            f"error rate {100 * figures.error_rate:.2f} % of {figures.requests} requests, "
            f"at most {100 * thresholds.error_rate:g} % are allowed"
        )
        missed += figures.why_failed
    if figures.requests_per_second < thresholds.requests_per_second:
        missed.append(
            f"{figures.requests_per_second:.1f} requests per second, "
            f"at least {thresholds.requests_per_second:g} are needed"
        )
    if figures.p95_seconds is None:
        return LoadVerdict("FAILED" if missed else "UNKNOWN", (*missed, "there is no P95"))
    if figures.p95_seconds > thresholds.p95_seconds:
        slowest = f" ({figures.slowest})" if figures.slowest else ""
        missed.append(
            f"P95 {1000 * figures.p95_seconds:.0f} ms{slowest}, "
            f"at most {1000 * thresholds.p95_seconds:g} ms are allowed"
        )
    return LoadVerdict("FAILED" if missed else "PASSED", tuple(missed))
