"""The judgement on a whole watch, from the account that was kept of it since the cutover.

``PASSED`` needs a finding for every criterion of the plan, and every one of them HEALTHY: what nobody saw is
UNKNOWN and holds the release. Error rate, latency and processor use are judged over the whole window; passing
moments in which they were missed are said and do not hold. Every other criterion has to hold at every moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from include.plan.rules import Rule, SloRules, SourceName, Watch
from include.slo.account import Account
from include.slo.criteria import MOMENTARY, error_rate, latency
from include.slo.moment import Moment
from include.slo.resources import cpu_finding, cpu_shares, grown_bytes, growth_finding
from include.slo.samples import Observed
from include.slo.source_account import PodAccount, SourceAccount
from include.slo.tally import RuleTally
from include.slo.texts import limit_text
from include.slo.triggers import triggers
from include.slo.verdict import Finding, State, percent
from include.slo.window import WindowStats

# A pod that was there for a shorter share of the window does not tell how the release uses the processor.
_CPU_SHARE: Final = 0.1

Measures = Mapping[str, float | int | str | None]


@dataclass(frozen=True)
class Summary:
    """``PASSED``: every criterion held over the whole watch. ``HOLD``: a human has to decide.

    :param stats: the whole window by the rules' own source
    :param unknown_ratio: share of the polls that brought no knowledge
    :param measures: figures of the window, for report and progress
    """

    state: Literal["PASSED", "HOLD"]
    sentence: str
    findings: tuple[Finding, ...]
    stats: WindowStats
    unknown_ratio: float
    measures: Measures = field(default_factory=dict)


def summarise(
    rules: SloRules, watch: Watch, account: Account, observed: Observed, *, now: float, cutover_at: float
) -> Summary:
    """Judge the whole watch.

    :param account: with everything that was observed added to it
    :param observed: what is known at the end
    :param now: end of the window, seconds since the epoch
    :param cutover_at: when the traffic came, seconds since the epoch
    """
    moment = Moment(rules, watch, observed, now, cutover_at)
    unknown = account.tally.unknown_ratio(watch.poll_seconds, began_at=account.began_at, now=now)
    findings = (
        *_data(moment, account, unknown),
        *_counted(moment, account),
        *_momentary(moment, account),
        *_availability(moment, account),
        *_moments(account),
    )
    stats = account.stats(rules.source)
    measures = _measures(moment, account, stats, unknown)
    against = [finding for finding in findings if finding.state != "HEALTHY"]
    if against:
        return Summary("HOLD", "; ".join(f.sentence for f in against), findings, stats, unknown, measures)
    sentence = "; ".join(f.sentence for f in findings if f.rule in ("criteria.error_rate", "criteria.p95_seconds"))
    return Summary("PASSED", sentence, findings, stats, unknown, measures)


def _data(moment: Moment, account: Account, unknown: float) -> Iterator[Finding]:
    limit = moment.watch.unknown_limit_ratio
    for source in sorted(moment.rules.sources):
        yield _source(moment, account, source)
    if not account.tally.judged:
        yield Finding("polls", "UNKNOWN", "no poll of the watch could judge anything")
    elif unknown > limit:
        text = f"{percent(unknown)} of the polls were unknown, limit {limit_text(limit)}"
        why = max(account.tally.rules.values(), key=lambda rule: rule.unknown, default=RuleTally()).unknown_because
        yield Finding("polls", "UNKNOWN", f"{text}{f' ({why})' if why else ''}")
    else:
        yield Finding("polls", "HEALTHY", f"{percent(unknown)} of the polls were unknown")


def _source(moment: Moment, account: Account, source: SourceName) -> Finding:
    """Counters of the whole window: a baseline at its beginning, and whole data at its end."""
    rule, kept, watch = f"data.{source}", account.sources.get(source, SourceAccount()), moment.watch
    if kept.baseline_at is None:
        return Finding(rule, "UNKNOWN", f"{source}: no baseline to compare the counters with")
    late = kept.baseline_at - account.began_at
    if late > max(watch.stale_seconds, watch.unknown_limit_ratio * (moment.now - account.began_at)):
        return Finding(rule, "UNKNOWN", f"{source}: the first {late:.0f} s of the window were not counted")
    if missing := moment.view(source).missing:
        return Finding(rule, "UNKNOWN", f"{source}: the final counters are incomplete: {missing}")
    return Finding(rule, "HEALTHY", f"{source}: the counters of the whole window are known")


def _counted(moment: Moment, account: Account) -> Iterator[Finding]:
    """Criteria over the whole window."""
    criteria, watch = moment.rules.criteria, moment.watch

    def stats(rule: Rule) -> WindowStats:
        return account.stats(moment.rules.source_of(rule))

    for name, rule, judge in (
        ("error_rate", criteria.error_rate, error_rate),
        ("p95_seconds", criteria.p95_seconds, latency),
    ):
        if rule.query is None:
            yield judge(rule, watch, stats(rule))
        else:
            yield _at_every_moment(account, f"criteria.{name}", None, watch.unknown_limit_ratio)
    if (cpu := criteria.cpu_ratio) is not None and cpu.query is None:
        yield cpu_finding(cpu, _cpu(moment, account, cpu))
    if (growth := criteria.memory_growth_ratio) is not None and growth.query is None:
        assert criteria.memory_bytes is not None, "the plan refuses a growth without a limit"
        yield growth_finding(growth, criteria.memory_bytes, _grown(moment, account, growth))


def _cpu(moment: Moment, account: Account, rule: Rule) -> dict[str, float]:
    seconds = _CPU_SHARE * (moment.now - account.began_at)
    pods = [p for p in _pods(moment, account, rule).values() if p.cpu_over >= seconds and p.cpu_over > 0]
    return cpu_shares({pod.pod: pod.cpu_seconds / pod.cpu_over for pod in pods}, account.cpu_cores)


def _grown(moment: Moment, account: Account, rule: Rule) -> dict[str, float]:
    seconds = moment.now - account.began_at
    grown = {
        pod.pod: grown_bytes(pod.memory, since=max(pod.since, account.began_at), seconds=seconds)
        for pod in _pods(moment, account, rule).values()
    }
    return {pod: size for pod, size in grown.items() if size is not None}


def _pods(moment: Moment, account: Account, rule: Rule) -> Mapping[str, PodAccount]:
    return account.sources.get(moment.rules.source_of(rule), SourceAccount()).pods


def _momentary(moment: Moment, account: Account) -> Iterator[Finding]:
    """Criteria that have to hold at every moment."""
    criteria = moment.rules.criteria
    names = [name for name in MOMENTARY if getattr(criteria, name)]
    for name in ("cpu_ratio", "memory_growth_ratio"):
        rule: Rule | None = getattr(criteria, name)
        if rule is not None and rule.query is not None:
            names.append(name)
    for name in (*names, *(f"more.{rule.name}" for rule in criteria.more)):
        yield _at_every_moment(account, f"criteria.{name}", None, moment.watch.unknown_limit_ratio)
    if criteria.pods:
        yield _pods_of(moment, account)


def _pods_of(moment: Moment, account: Account) -> Finding:
    """No restart; ready at the end and nearly all the time before (a slot that grows has young pods)."""
    rule, tally = "criteria.pods", account.tally.rules.get("criteria.pods", RuleTally())
    restarted = account.stats(moment.rules.source).restarted
    if restarted or account.restarts:
        who = ", ".join(restarted) or f"{sum(account.restarts.values())} time(s)"
        return Finding(rule, "DEGRADED", f"restarted during the watch: {who}")
    polls, limit = tally.healthy + tally.degraded + tally.unknown, moment.watch.unknown_limit_ratio
    if tally.degraded and (tally.last == "DEGRADED" or tally.degraded > limit * polls):
        return Finding(rule, "DEGRADED", f"{tally.missed} (in {tally.degraded} of {polls} polls)")
    return _at_every_moment(account, rule, replace(tally, degraded=0), limit)


def _at_every_moment(account: Account, rule: str, tally: RuleTally | None, limit: float) -> Finding:
    """Kept whenever it was judged, and judged nearly always.

    :param tally: of the rule, None takes the account's
    :param limit: share of its polls that may have been unknown
    """
    tally, name = tally or account.tally.rules.get(rule, RuleTally()), rule.partition(".")[2]
    if tally.degraded:
        return Finding(rule, "DEGRADED", f"{tally.missed} (missed in {tally.degraded} poll(s))")
    if not tally.healthy:
        return Finding(rule, "UNKNOWN", tally.unknown_because or f"{name} was never judged")
    if tally.unknown_ratio > limit:
        text = f"{name} was unknown in {percent(tally.unknown_ratio)} of its polls: {tally.unknown_because}"
        return Finding(rule, "UNKNOWN", text)
    return Finding(rule, "HEALTHY", f"{name} held in {tally.healthy} poll(s)")


def _availability(moment: Moment, account: Account) -> Iterator[Finding]:
    """No trigger at the end, none in between, and users seen to be served all but a small share of the time."""
    yield from triggers(moment)
    if fired := account.tally.rollback:
        yield Finding("availability", "ROLLBACK", f"a rollback trigger was broken in {fired} poll(s)")
    probe = account.tally.rules.get("probe", RuleTally())
    polls = probe.healthy + probe.degraded + probe.unknown
    without = (polls - probe.healthy) / polls if polls else 1.0
    if without > moment.watch.unknown_limit_ratio:
        state: State = "DEGRADED" if probe.degraded else "UNKNOWN"
        why = probe.missed or probe.unknown_because or "it was never probed"
        text = f"the public URL was not seen to answer in {percent(without)} of the polls: {why}"
        yield Finding("availability", state, text)
    else:
        yield Finding("availability", "HEALTHY", f"the public URL answered in {percent(1 - without)} of the polls")


def _moments(account: Account) -> Iterator[Finding]:
    """Passing moments are said, and do not hold the release: the criteria are over the window."""
    if account.tally.degraded:
        text = f"{account.tally.degraded} poll(s) missed a criterion for the moment"
        yield Finding("polls", "HEALTHY", text)


def _measures(moment: Moment, account: Account, stats: WindowStats, unknown: float) -> Measures:
    now = moment.view(moment.rules.source).short
    logs = moment.observed.logs
    probe = account.tally.rules.get("probe", RuleTally())
    return {
        "requests": stats.requests,
        "errors": stats.errors,
        "error_rate": stats.error_rate,
        "p95_seconds": stats.p95_seconds,
        "unknown_ratio": unknown,
        "memory_bytes": max(stats.memory_bytes.values(), default=None),
        "sse_connections": now.sse_connections,
        "db_connections": now.db_connections,
        "log_warnings": sum(1 for s in logs.new if s.level == "warning") if logs else None,
        "restarts": sum(account.restarts.values()) or len(stats.restarted),
        "failed_probe_polls": probe.degraded,
    }
