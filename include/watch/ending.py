"""How a window ends: the judgement of all of it, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterable

from include.plan.rules import SloRules
from include.slo.account import Account
from include.slo.samples import Observed
from include.slo.summary import summarise
from include.slo.verdict import Finding, Verdict
from include.watch.config import WatchConfig, WatchOutcome
from include.watch.window import Page, Window

_GOES_ON = ("NOTICE", "HELD", "ROLLBACK_BLOCKED")


def conclusion(window: Window, rules: SloRules, account: Account, observed: Observed, now: float) -> WatchOutcome:
    """Whether the window has proven health; if not, a human decides.

    :param rules: what has to have been kept
    :param now: seconds since the epoch
    """
    summary = summarise(rules, window.environment.watch, account, observed, now=now, cutover_at=window.changed_at)
    passed = summary.state == "PASSED"
    return WatchOutcome(
        result="PASSED" if passed else "HELD",
        sentence=summary.sentence,
        at=now,
        findings=tuple(_told(finding) for finding in summary.findings),
        pages=() if passed else ("held",),
        measures=summary.measures,
    )


def undecided(config: WatchConfig, sentence: str, now: float) -> WatchOutcome:
    """Nobody has decided in time; the traffic stays where it is.

    :param now: seconds since the epoch
    """
    hours = config.environment.watch.hold_seconds / 3600
    return WatchOutcome(
        result="UNDECIDED", sentence=f"nobody decided within {hours:g} h; at the end: {sentence}", at=now
    )


def complete(
    outcome: WatchOutcome, window: Window, account: Account, verdict: Verdict | None, paged: Iterable[Page]
) -> WatchOutcome:
    """The outcome with the figures of the window; where the watch goes on, with its account.

    :param paged: what humans have been called for before and is not over
    """
    stats = account.stats(account.source)
    measures: dict[str, float | int | str | None] = {
        "requests": stats.requests,
        "errors": stats.errors,
        "error_rate": stats.error_rate,
        "p95_seconds": stats.p95_seconds,
        "polls": account.tally.judged + account.tally.unknown + account.tally.gathering,
        **(verdict.measures if verdict else {}),
        **outcome.measures,
    }
    findings = outcome.findings or tuple(_told(finding) for finding in (verdict.findings if verdict else ()))
    return outcome.model_copy(
        update={
            "number": window.number,
            "paged": tuple(sorted(paged)),
            "measures": measures,
            "points": account.points,
            "findings": findings,
            "account": account if outcome.result in _GOES_ON else None,
        }
    )


def _told(finding: Finding) -> tuple[str, str, str]:
    return finding.rule, finding.state, finding.sentence
