"""When a human has to be called although nothing ends: once for each trouble, again only after it had gone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from include.slo.verdict import Verdict
from include.watch.window import Page


@dataclass(frozen=True)
class Call:
    """A human has to know: what kind of trouble, and the sentence that says it."""

    page: Page
    sentence: str


def still_paged(paged: Collection[Page], verdict: Verdict) -> frozenset[Page]:
    """What humans have been called for and is not proven to be over; what a poll cannot tell proves nothing."""
    return frozenset(paged) - frozenset(_over(verdict))


def call(paged: Collection[Page], verdict: Verdict, sentence: str) -> Call | None:
    """Whom to call for what now.

    :param paged: what humans know already
    :param sentence: why the account of the watch wants a human; empty when it does not
    """
    if not sentence:
        return None
    page: Page = "criterion"
    if verdict.page:
        page = "metrics" if _blind(verdict, "data.") else "prober"
    elif "held" in paged:
        return None  # whoever is to decide about a window without proof knows of it
    return None if page in paged else Call(page, sentence)


def _over(verdict: Verdict) -> Iterator[Page]:
    if not _blind(verdict, "data."):
        yield "metrics"
    if not _blind(verdict, "probe"):
        yield "prober"
    if verdict.state == "HEALTHY":
        yield "criterion"
        yield "blocked"


def _blind(verdict: Verdict, rule: str) -> bool:
    return any(finding.state == "UNKNOWN" and finding.rule.startswith(rule) for finding in verdict.findings)
