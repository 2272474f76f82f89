from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.plan.rules import Criteria, NamedRule, Rule, SloRules, Watch
from include.slo.account import Account
from include.slo.evaluate import evaluate
from include.slo.samples import LogSample, LogSignature, Observed, ProbeSample, Reading, SlotSample, Snapshot
from include.slo.summary import summarise
from tests.unit.slo.series import Pod, accounted, observed, snapshot, traffic

RULES, WATCH = SloRules(), Watch(seconds=60, lookback_seconds=30, sse_grace_seconds=0)
SERIES = traffic(60, per_second=100, error_rate=0.002, seed=3)


def judged(series, *, rules=RULES, watch=WATCH, **more):
    account, _ = accounted(series, rules, watch, **more)
    now = series[-1].taken_at
    seen = observed(series, source=rules.source, **more)
    return summarise(rules, watch, account, seen, now=now, cutover_at=0.0)


def test_a_good_watch_passes_and_says_why():
    summary = judged(SERIES)
    assert (summary.state, summary.unknown_ratio) == ("PASSED", 0)
    assert "of 6000 requests in 60 s" in summary.sentence
    assert "P95" in summary.sentence
    assert summary.measures["requests"] == 6000
    assert summary.measures["db_connections"] == 15


@pytest.mark.parametrize(
    ("series", "why"),
    [
        (traffic(60, per_second=100, error_rate=0.03, seed=1), "not below 1 %"),
        (traffic(60, per_second=3, error_rate=0.0), "too little traffic: 180 requests"),
        (traffic(60, per_second=0, error_rate=0.0), "no poll of the watch could judge anything"),
        (
            [replace(SERIES[0], pods=()), *SERIES[1:10], *(replace(s, pods=()) for s in SERIES[10:])],
            "no pod of green",
        ),
        ([*SERIES[:50], *(replace(s, errors=("pod-1: timeout",)) for s in SERIES[50:])], "pod-1: timeout"),
        ([replace(s, pods=()) for s in SERIES], "no baseline"),
        (
            [*(replace(s, pods=()) for s in SERIES[:20]), *SERIES[20:]],
            "the first 20 s of the window were not counted",
        ),
    ],
)
def test_otherwise_it_holds_and_says_why(series, why):
    summary = judged(series)
    assert summary.state == "HOLD"
    assert why in summary.sentence


def test_one_poll_that_failed_at_the_end_does_not_hold():
    series = [*SERIES[:-1], replace(SERIES[-1], pods=(), errors=("timeout",))]
    assert judged(series).state == "PASSED"


def test_errors_of_a_moment_do_not_hold_those_of_the_window_do():
    burst = traffic(60, per_second=100, error_rate=lambda t: 0.04 if 20 < t <= 30 else 0.0, seed=1)
    summary = judged(burst)
    assert summary.state == "PASSED"
    assert any("missed a criterion for the moment" in f.sentence for f in summary.findings)


def test_slow_answers_hold():
    pod = Pod()
    series = []
    for now in range(61):
        series.append(snapshot(float(now), [pod]))
        pod.answer(count=100, seconds=0.9)
    assert "not below 500 ms" in judged(series).sentence


class TestPods:
    def series(self, *, restart_at=None):
        pod, series = Pod(), []
        for now in range(61):
            if now == restart_at:
                pod.restart(at=now - 0.5)
            series.append(snapshot(float(now), [pod]))
            pod.answer(count=100)
        return series

    def slot(self, **more):
        return [SlotSample(float(t), 1, 1, 1, **more) for t in range(61)]

    def test_a_restart_holds(self):
        summary = judged(self.series(restart_at=30))
        assert (summary.state, summary.sentence) == ("HOLD", "restarted during the watch: pod-1")

    def test_a_restart_that_only_kubernetes_saw_holds(self):
        looks = [replace(s, restarts={"uid": int(s.at >= 30)}) for s in self.slot()]
        summary = judged(self.series(), slot=looks)
        assert "restarted during the watch: 1 time(s)" in summary.sentence

    def test_restarts_before_the_watch_do_not(self):
        assert judged(self.series(), slot=self.slot(restarts={"uid": 4})).state == "PASSED"

    def test_a_young_pod_for_a_moment_does_not_one_at_the_end_does(self):
        def missing(*times):
            return [
                replace(s, wanted=2, not_ready=("pod-2: starting",)) if s.at in times else s for s in self.slot()
            ]

        assert judged(self.series(), slot=missing(30, 31)).state == "PASSED"
        assert "1 of 2 pods are ready: pod-2: starting" in judged(self.series(), slot=missing(60)).sentence
        assert judged(self.series(), slot=missing(*range(30, 40))).state == "HOLD"


def test_what_the_logs_show_holds():
    logs = LogSample(0.0, (LogSignature("KeyError: <id>", "error", 3), LogSignature("slow", "warning", 1)))
    summary = judged(SERIES, logs=logs)
    assert "KeyError: <id>" in summary.sentence
    warned = judged(SERIES, logs=LogSample(0.0, (LogSignature("slow", "warning", 1),)))
    assert (warned.state, warned.measures["log_warnings"]) == ("PASSED", 1)


def test_what_nobody_looked_at_holds():
    assert "the logs have not been compared" in judged(SERIES, logs=None).sentence
    assert "the pods' state is not known" in judged(SERIES, slot=()).sentence
    assert "not been probed" in judged(SERIES, probes=()).sentence


def test_a_prober_that_cannot_tell_holds_and_one_failed_round_does_not():
    def rounds(state, *times):
        return [ProbeSample(float(t), state if t in times else "ok", "why") for t in range(61)]

    assert "cannot be probed" in judged(SERIES, probes=rounds("unusable", *range(61))).sentence
    assert judged(SERIES, probes=rounds("failed", 30)).state == "PASSED"
    assert "not seen to answer" in judged(SERIES, probes=rounds("failed", *range(20, 30))).sentence
    assert "the public URL fails" in judged(SERIES, probes=rounds("failed", 60)).sentence


class TestResources:
    def test_memory_at_any_moment(self):
        rules = SloRules(criteria=Criteria(memory_bytes=1_000_000))
        assert "pod-0 uses 100 MB of memory, not below 1 MB" in judged(SERIES, rules=rules).sentence

    def series(self, memory, *, cpu=0.1, seconds=61):
        pod, series = Pod(), []
        for now in range(seconds):
            pod.memory_bytes, pod.cpu_seconds = memory(now), now * cpu
            series.append(snapshot(float(now), [pod]))
            pod.answer(count=100)
        return series

    rules = SloRules(criteria=Criteria(memory_bytes=1e9, memory_growth_ratio=0.1, cpu_ratio=0.5))

    def test_a_cache_that_fills_passes_a_leak_does_not(self):
        assert judged(self.series(lambda t: 1e8 + 2e8 * min(t, 10)), rules=self.rules).state == "HOLD"  # > 1 GB
        assert judged(self.series(lambda t: 1e8 + 5e7 * min(t, 10)), rules=self.rules).state == "PASSED"
        summary = judged(self.series(lambda t: 1e8 + 2e6 * t), rules=self.rules)
        assert "the memory of pod-1 grows by 120 MB over the watch, more than 10 % of 1000 MB" in summary.sentence

    def test_a_saw_is_no_leak(self):
        assert judged(self.series(lambda t: 1e8 + 4e7 * (t % 7)), rules=self.rules).state == "PASSED"

    def test_pods_that_were_there_too_shortly_tell_nothing(self):
        old, new, series = Pod("old"), Pod("new", started_at=35.0), []
        for now in range(61):
            pod = new if now >= 36 else old
            series.append(snapshot(float(now), [pod]))
            pod.answer(count=100)
        summary = judged(series, rules=self.rules)
        assert "no pod's memory could be followed" in summary.sentence

    def test_processor_use_over_the_window(self):
        assert (
            "uses 60.0 % of its processor share"
            in judged(self.series(lambda _: 1e8, cpu=0.6), rules=self.rules).sentence
        )
        looks = [SlotSample(float(t), 1, 1, 1, cpu_cores={"pod-1": 2.0}) for t in range(61)]
        assert judged(self.series(lambda _: 1e8, cpu=0.6), rules=self.rules, slot=looks).state == "PASSED"


class TestRulesByQuery:
    rules = SloRules(criteria=Criteria(more=(NamedRule(name="queue-age", limit=30, query="q", unit="s"),)))

    def judged(self, value):
        """``value(t)``: what the query answers; None for no answer."""
        prometheus = [
            replace(
                s,
                readings=()
                if value(s.taken_at) is None
                else (Reading("criteria.more.queue-age", s.taken_at, value(s.taken_at)),),
            )
            for s in SERIES
        ]
        metrics = {"openmetrics": SERIES, "prometheus": prometheus}
        account = Account.begin({n: s[0] for n, s in metrics.items()}, at=0.0, source="openmetrics")
        for n, taken in enumerate(SERIES[1:], 1):
            seen = observed(SERIES[: n + 1], metrics={name: s[: n + 1] for name, s in metrics.items()})
            verdict = evaluate(self.rules, WATCH, seen, taken.taken_at, cutover_at=0)
            account = account.add(seen, verdict, taken.taken_at)
        return summarise(self.rules, WATCH, account, observed(SERIES, metrics=metrics), now=60.0, cutover_at=0)

    def test_it_has_to_hold_at_every_moment(self):
        assert self.judged(lambda _: 30.0).state == "PASSED"
        missed = self.judged(lambda t: 31.0 if t == 40 else 3.0)
        assert "queue-age is 31 s, limit 30 s (missed in 1 poll(s))" in missed.sentence

    def test_a_query_without_answer_holds(self):
        assert "the query has not been answered" in self.judged(lambda _: None).sentence


class TestPolls:
    def test_too_many_unknown_ones_hold(self):
        blind = [replace(s, pods=(), errors=("out",)) if 20 <= s.taken_at < 30 else s for s in SERIES]
        summary = judged(blind)
        assert summary.state == "HOLD"
        assert "% of the polls were unknown, limit 5 % (data incomplete: out" in summary.sentence

    def test_those_that_were_not_made_are_unknown(self):
        gap = [s for s in SERIES if not 10 < s.taken_at < 55]
        assert judged(gap).unknown_ratio > 0.4

    def test_a_short_watch_is_not_held_for_its_first_moments(self):
        short = Watch(seconds=12, window_seconds=10)
        assert judged(SERIES[:13], watch=short).state == "PASSED"


def test_a_trigger_that_fired_holds_even_if_all_is_well_at_the_end():
    burst = traffic(120, per_second=100, error_rate=lambda t: 0.5 if t == 5 else 0.0, seed=1)
    summary = judged(burst, rules=SloRules(triggers={"error_rate": Rule(limit=0.02)}), watch=Watch(seconds=120))
    assert "a rollback trigger was broken" in summary.sentence


@settings(max_examples=60, deadline=None)
@given(
    blind=st.sets(st.integers(0, 60), min_size=0, max_size=61),
    nan=st.sets(st.integers(0, 60), max_size=61),
    quiet=st.booleans(),
)
def test_without_data_it_never_passes(blind, nan, quiet):
    """Whatever is missing: a watch that passed saw requests, at its beginning, at its end and nearly always."""
    series = traffic(60, per_second=0 if quiet else 20, error_rate=0.0)
    seen = []
    for taken in series:
        at = int(taken.taken_at)
        if at in nan:
            taken = replace(taken, pods=tuple(replace(p, requests={"200": float("nan")}) for p in taken.pods))
        seen.append(replace(taken, pods=(), errors=("out",)) if at in blind else taken)
    summary = judged(seen)
    if summary.state == "PASSED":
        assert not quiet
        assert summary.stats.requests >= WATCH.min_requests
        assert len(blind | nan) <= 0.5 * 60
        assert (blind | nan).isdisjoint(range(55, 61)) or not set(range(55, 61)) <= (blind | nan)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["metrics", "probes", "slot", "logs"]), unique=True, min_size=1))
def test_no_source_at_all_never_passes(missing):
    empty = {"metrics": {}, "probes": (), "slot": (), "logs": None}
    assert judged(SERIES[:40], **{name: empty[name] for name in missing}).state == "HOLD"


def test_nothing_at_all_holds():
    account = Account.begin({}, at=0.0, source="openmetrics")
    summary = summarise(RULES, WATCH, account, Observed(), now=60.0, cutover_at=0.0)
    assert (summary.state, summary.unknown_ratio) == ("HOLD", 1.0)
    baseline = Account.begin({"openmetrics": Snapshot(0.0, "green")}, at=0.0, source="openmetrics")
    assert summarise(RULES, WATCH, baseline, Observed(), now=60.0, cutover_at=0.0).state == "HOLD"
