"""When a human has to be called although nothing ends: once for each trouble, again only after it had gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from include.slo.samples import ProbeSample
from include.slo.verdict import Verdict
from include.watch.config import Page


@dataclass(frozen=True)
class Call:
    """A human has to know: what kind of trouble, and the sentence that says it."""

    page: Page
    sentence: str


@dataclass(frozen=True)
class Pages:
    """What is wrong since when, and what humans have been told.

    :param prober_since: since when the prober has been of no use, seconds since the epoch; None while it is
    """

    paged: frozenset[Page] = frozenset()
    prober_since: float | None = None

    def after(
        self,
        verdict: Verdict,
        sentence: str,
        probes: Sequence[ProbeSample],
        now: float,
        *,
        patience_seconds: float,
    ) -> tuple[Pages, Call | None]:
        """What is known after one more poll, and whom to call now.

        What one poll cannot tell neither ends nor begins a trouble.

        :param sentence: why the account of the watch wants a human; empty when it does not
        :param probes: the rounds of the prober so far, any order
        :param now: seconds since the epoch
        :param patience_seconds: how long the prober may be of no use without anybody being called
        """
        paged = set(self.paged) - _over(verdict)
        newest = max(probes, key=lambda sample: sample.at, default=None)
        since = self.prober_since
        if newest is not None and newest.state == "unusable":
            since = now if since is None else since
        elif newest is not None:
            since = None
            paged.discard("prober")
        known = Pages(frozenset(paged), since)
        page: Page = "metrics" if verdict.state == "UNKNOWN" else "criterion"
        if sentence and page not in paged:
            return known, Call(page, sentence)
        if newest and since is not None and now - since >= patience_seconds and "prober" not in paged:
            return known, Call("prober", f"the prober cannot judge the public URL: {newest.problem}")
        return known, None


def _over(verdict: Verdict) -> set[Page]:
    """The troubles that a poll proves to be over."""
    if verdict.state == "HEALTHY":
        return {"metrics", "criterion", "blocked"}
    return {"metrics"} if verdict.state in ("DEGRADED", "ROLLBACK") else set()
