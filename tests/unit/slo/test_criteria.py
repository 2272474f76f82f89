"""Criteria beside error rate and latency, rules by query, durations, Prometheus' ways: each with its UNKNOWN."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from include.plan.rules import Criteria, Metrics, NamedRule, Rule, SloRules, Triggers, Watch
from include.slo.evaluate import evaluate
from include.slo.lasting import Lasting, lasting
from include.slo.resources import grown_bytes, trend
from include.slo.samples import LogSample, LogSignature, ProbeSample, Reading, SlotSample
from tests.unit.slo.series import Pod, observed, snapshot, traffic

WATCH = Watch()


def verdict_of(snapshots, now, *, rules, watch=WATCH, cutover_at=-1000.0, source="openmetrics", **more):
    return evaluate(rules, watch, observed(snapshots, source=source, **more), now, cutover_at=cutover_at)


def finding(verdict, rule):
    return next(f for f in verdict.findings if f.rule == rule)


class TestResources:
    def verdict(self, rules, **more):
        pod = Pod()
        first = snapshot(0, [pod])
        pod.answer(count=500)
        pod.cpu_seconds = 6.0
        return verdict_of([first, snapshot(10, [pod])], 10, rules=rules, **more)

    def test_memory_and_processor_limits(self):
        verdict = self.verdict(SloRules(criteria=Criteria(memory_bytes=50_000_000, cpu_ratio=0.5)))
        assert verdict.state == "DEGRADED"
        assert verdict.sentence == (
            "pod-1 uses 100 MB of memory, not below 50 MB; "
            "pod-1 uses 60.0 % of its processor share, not below 50 %"
        )

    def test_the_processor_share_is_what_the_pod_may_use(self):
        looks = [SlotSample(10, 1, 1, 1, cpu_cores={"pod-1": 2.0})]
        assert self.verdict(SloRules(criteria=Criteria(cpu_ratio=0.5)), slot=looks).state == "HEALTHY"

    def test_a_limit_without_a_measure_is_unknown(self):
        rules = SloRules(criteria=Criteria(memory_bytes=50_000_000, cpu_ratio=0.5))
        bare = [
            replace(s, pods=tuple(replace(p, memory_bytes=math.nan, cpu_seconds=None) for p in s.pods))
            for s in traffic(5, per_second=100, error_rate=0)
        ]
        verdict = verdict_of(bare, 5, rules=rules)
        assert verdict.sentence == "3 pods did not report their memory; no pod reported its processor use"

    def test_one_pod_that_does_not_tell_is_unknown_one_above_is_known(self):
        series = traffic(5, per_second=100, error_rate=0)
        rules = SloRules(criteria=Criteria(memory_bytes=2e8))

        def told(*sizes):
            return [
                replace(s, pods=tuple(replace(p, memory_bytes=m) for p, m in zip(s.pods, sizes, strict=True)))
                for s in series
            ]

        assert verdict_of(told(1e8, 1e8, None), 5, rules=rules).state == "UNKNOWN"
        assert verdict_of(told(1e8, 3e8, None), 5, rules=rules).state == "DEGRADED"


class TestTrend:
    def test_a_spike_does_not_move_it(self):
        points = [(float(t), 100.0 + 2 * t + (1e6 if t == 30 else 0)) for t in range(60)]
        assert trend(points) == pytest.approx(2.0)

    def test_the_warm_up_and_too_short_a_span_do_not_count(self):
        filling = [(float(t), 1e8 + 1e7 * min(t, 20)) for t in range(100)]
        assert grown_bytes(filling, since=0, seconds=100) == 0
        assert grown_bytes(filling[:59], since=0, seconds=100) is None
        assert grown_bytes(filling[::13], since=0, seconds=100) is None


class TestStreams:
    rules = SloRules(criteria=Criteria(sse_connections=100, sse_reconnect_ratio=0.3))

    def verdict(self, *counts, beside=None, cutover_at=-1000.0):
        pod, series = Pod(), []
        for at, count in enumerate(counts):
            pod.sse = count
            series.append(snapshot(float(at), [pod]))
            pod.answer(count=500)
        seen = observed(series, beside=beside)
        return evaluate(self.rules, WATCH, seen, len(counts) - 1.0, cutover_at=cutover_at)

    def test_too_few_are_degraded(self):
        assert self.verdict(100, 100).state == "HEALTHY"
        verdict = self.verdict(99, 99)
        assert (verdict.state, "99 event streams are open" in verdict.sentence) == ("DEGRADED", True)

    def test_those_on_the_other_slot_count(self):
        assert self.verdict(60, 60, beside=snapshot(1, [Pod("old", sse=40)])).state == "HEALTHY"
        assert self.verdict(60, 60, beside=snapshot(1, [Pod("old", sse=39)])).state == "DEGRADED"

    def test_a_pod_that_does_not_tell_makes_them_unknown(self):
        assert self.verdict(100, math.nan).state == "UNKNOWN"

    def test_reconnecting_is_forgiven_for_a_while(self):
        assert self.verdict(0, 0, cutover_at=0).state == "HEALTHY"
        assert self.verdict(0, 0, cutover_at=1 - WATCH.sse_grace_seconds).state == "DEGRADED"

    def test_a_wave_is_lost_and_comes_back(self):
        assert self.verdict(200, 200, 140, 200).state == "HEALTHY"
        verdict = self.verdict(200, 200, 130, 200)
        assert "70 of 200 event streams (35.0 %) were lost and came back" in verdict.sentence
        assert self.verdict(200, 130, 130).state == "HEALTHY"  # they stay away: not a wave
        assert self.verdict(200, 130, 165, 198).state == "DEGRADED"

    def test_a_wave_within_the_grace_is_not_counted_after_it(self):
        wave = (200, 200, 100, 200, 200, 200)
        assert self.verdict(*wave, cutover_at=4 - WATCH.sse_grace_seconds).state == "HEALTHY"
        assert self.verdict(*wave, cutover_at=1 - WATCH.sse_grace_seconds).state == "DEGRADED"


class TestPodsAndLogs:
    series = traffic(20, per_second=100, error_rate=0.0)

    def verdict(self, **more):
        return verdict_of(self.series, 20, rules=SloRules(), **more)

    def looks(self, **more):
        return [SlotSample(float(t), 3, 3, 3) for t in range(20)] + [replace(SlotSample(20, 3, 3, 3), **more)]

    def test_pods_that_are_not_ready_are_named(self):
        verdict = self.verdict(slot=self.looks(ready=2, not_ready=("pod-2: CrashLoopBackOff",)))
        assert (verdict.state, verdict.sentence) == ("DEGRADED", "2 of 3 pods are ready: pod-2: CrashLoopBackOff")

    def test_restarts_since_the_beginning_count_those_before_do_not(self):
        before = [replace(s, restarts={"a": 2}) for s in self.looks()]
        assert self.verdict(slot=before).state == "HEALTHY"
        assert self.verdict(slot=[*before, SlotSample(20, 3, 3, 3, {"a": 3})]).state == "DEGRADED"
        assert self.verdict(slot=[*before, SlotSample(20, 3, 3, 3, {"a": 2, "new": 1})]).state == "DEGRADED"

    def test_an_api_server_that_does_not_answer_is_unknown(self):
        verdict = self.verdict(slot=[SlotSample(20, problem="timeout")])
        assert (verdict.state, verdict.sentence) == ("UNKNOWN", "the pods' state is not known: timeout")

    def test_new_errors_in_the_logs_are_degraded_with_their_text(self):
        new = (LogSignature("KeyError: <id>", "error", 3), LogSignature("slow query", "warning", 7))
        verdict = self.verdict(logs=LogSample(15, new))
        assert verdict.sentence.endswith("the old version does not have: 'KeyError: <id>' (3 times)")
        assert verdict.measures["log_warnings"] == 1
        assert self.verdict(logs=LogSample(15, new[1:])).state == "HEALTHY"

    def test_logs_that_cannot_be_compared_are_unknown(self):
        assert self.verdict(logs=LogSample(15, problem="no permission")).state == "UNKNOWN"
        assert self.verdict(logs=LogSample(-41)).state == "UNKNOWN"
        assert self.verdict(logs=None).state == "UNKNOWN"

    def test_fewer_pods_than_are_ready_are_not_the_whole(self):
        verdict = self.verdict(slot=[SlotSample(float(t), 4, 4, 4) for t in range(21)])
        assert (verdict.state, "3 pods were read, 4 are ready" in verdict.sentence) == ("UNKNOWN", True)
        just_now = self.looks(ready_endpoints=4, wanted=4, ready=4)
        assert self.verdict(slot=just_now).state == "HEALTHY"

    def test_open_database_connections_are_shown(self):
        assert self.verdict().measures["db_connections"] == 15


class TestByQuery:
    series = traffic(20, per_second=100, error_rate=0.0)
    criterion = NamedRule(name="queue-age", limit=30, query="q", unit="s")

    def verdict(self, *values, rule=criterion, group="triggers", now=20.0):
        """One reading a second until ``now``; None is no reading at all."""
        rules = SloRules(**{group: {"more": (rule,)}})
        name = f"{group}.more.{rule.name}"
        start = 21 - len(values)
        answers = [
            replace(s, readings=tuple(Reading(name, s.taken_at, v) for v in self.of(values, s, start)))
            for s in self.series
        ]
        metrics = {"openmetrics": self.series, "prometheus": answers}
        return verdict_of(self.series, now, rules=rules, metrics=metrics)

    def of(self, values, taken, start):
        index = int(taken.taken_at) - start
        value = values[index] if index >= 0 else None
        return () if value is None else value if isinstance(value, tuple) else (value,)

    def test_a_trigger_fires_beyond_its_limit(self):
        verdict = self.verdict(31.0)
        assert (verdict.state, verdict.sentence) == ("ROLLBACK", "queue-age is 31 s, limit 30 s: rollback")
        assert self.verdict(30.0).state == "HEALTHY"

    def test_a_criterion_is_degraded(self):
        assert self.verdict(31.0, group="criteria").state == "DEGRADED"

    def test_below_is_the_other_side(self):
        rule = NamedRule(name="orders", limit=5, query="q", crossed="below")
        assert self.verdict(4.0, rule=rule).state == "ROLLBACK"
        assert self.verdict(5.0, rule=rule).state == "HEALTHY"

    @pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
    def test_no_answer_is_unknown_and_never_fires(self, nothing):
        verdict = self.verdict(*[nothing] * 20)
        assert verdict.state == "UNKNOWN"
        assert "queue-age" in verdict.sentence

    def test_of_several_answers_the_worst_counts_and_one_unknown_hides_health(self):
        assert self.verdict((1.0, 31.0, 2.0)).state == "ROLLBACK"
        assert self.verdict((math.nan, 31.0)).state == "ROLLBACK"
        assert self.verdict((math.nan, 3.0)).state == "UNKNOWN"

    def test_an_old_answer_says_nothing(self):
        now = replace(self.series[-1], readings=(Reading("triggers.more.queue-age", -1.0, 99.0),))
        rules = SloRules(triggers=Triggers(more=(self.criterion,)))
        metrics = {"openmetrics": self.series, "prometheus": [*self.series[:-1], now]}
        verdict = verdict_of(self.series, 20, rules=rules, metrics=metrics)
        assert (verdict.state, "21 s old" in verdict.sentence) == ("UNKNOWN", True)

    def test_a_duration_has_to_be_covered_and_unbroken(self):
        rule = self.criterion.model_copy(update={"for_seconds": 10.0})
        assert self.verdict(*[31.0] * 10, rule=rule).state == "DEGRADED"
        assert self.verdict(*[31.0] * 11, rule=rule).state == "ROLLBACK"
        assert self.verdict(*[31.0] * 15, 29.0, *[31.0] * 5, rule=rule).state == "DEGRADED"
        assert self.verdict(*[31.0] * 5, math.nan, None, *[31.0] * 5, rule=rule).state == "ROLLBACK"
        assert self.verdict(31.0, *[math.nan] * 18, 31.0, rule=rule).state != "HEALTHY"
        # What is missing at the end proves nothing, either.
        assert self.verdict(*[31.0] * 10, math.nan, math.nan, rule=rule).state == "DEGRADED"

    def test_a_rule_of_its_own_may_want_requests(self):
        few = self.criterion.model_copy(update={"min_requests": 5000})
        assert self.verdict(31.0, rule=few).state == "UNKNOWN"

    def test_a_standard_rule_may_have_a_query(self):
        rules = SloRules(criteria=Criteria(error_rate=Rule(limit=0.01, query="q")))
        for value, state in ((0.009, "HEALTHY"), (0.01, "DEGRADED")):
            last = replace(self.series[-1], readings=(Reading("criteria.error_rate", 20.0, value),))
            metrics = {"openmetrics": self.series, "prometheus": [*self.series[:-1], last]}
            assert verdict_of(self.series, 20, rules=rules, metrics=metrics).state == state


class TestDurations:
    def test_a_trigger_waits_for_its_time(self):
        rules = SloRules(triggers=Triggers(error_rate=Rule(limit=0.05, for_seconds=30)))
        series = traffic(80, per_second=100, error_rate=lambda t: 0.3 if t > 20 else 0.0, seed=1)
        states = {n: verdict_of(series[: n + 1], float(n), rules=rules).state for n in (20, 30, 50, 60)}
        assert states == {20: "HEALTHY", 30: "DEGRADED", 50: "DEGRADED", 60: "ROLLBACK"}

    def test_a_fault_that_ends_never_fires_it(self):
        rules = SloRules(triggers=Triggers(error_rate=Rule(limit=0.05, for_seconds=60)))
        watch = Watch(lookback_seconds=20)
        series = traffic(120, per_second=100, error_rate=lambda t: 0.3 if 20 < t < 50 else 0.0, seed=1)
        states = {verdict_of(series[: n + 1], float(n), rules=rules, watch=watch).state for n in range(20, 121, 5)}
        assert "ROLLBACK" not in states

    def test_a_criterion_is_missed_only_after_its_time(self):
        rules = SloRules(criteria=Criteria(memory_bytes=Rule(limit=1e7, for_seconds=10)))
        series = traffic(20, per_second=100, error_rate=0.0)
        assert verdict_of(series[:10], 9, rules=rules).state == "HEALTHY"
        assert verdict_of(series, 20, rules=rules).state == "DEGRADED"

    def test_min_requests_of_a_rule_replaces_the_watchs(self):
        series = traffic(10, per_second=5, error_rate=0.0)
        assert verdict_of(series, 10, rules=SloRules()).state == "UNKNOWN"
        few = {"error_rate": Rule(limit=0.01, min_requests=20), "p95_seconds": Rule(limit=0.5, min_requests=20)}
        lenient = SloRules(criteria=Criteria(**few))
        assert verdict_of(series, 10, rules=lenient).state == "HEALTHY"
        failing = traffic(10, per_second=5, error_rate=1.0)
        assert verdict_of(failing, 10, rules=lenient).state == "ROLLBACK"
        strict = SloRules(triggers=Triggers(error_rate=Rule(limit=0.05, min_requests=51)))
        assert verdict_of(failing, 10, rules=strict).state == "DEGRADED"

    def test_what_lasts(self):
        assert lasting([], gap_seconds=5) is None
        assert lasting([(9, None), (8, False), (7, True)], gap_seconds=5) is None
        assert lasting([(9, None), (8, True), (7, None), (6, True), (5, False)], gap_seconds=5) == Lasting(2, 8)
        assert lasting([(90, True), (10, True)], gap_seconds=5) == Lasting(5, 90)


class TestPrometheus:
    """A sample of it is up to one scrape older than the look at it."""

    rules = SloRules(source="prometheus", metrics=Metrics(scrape_seconds=15))

    def series(self, polls, *, scrape=15, last_scrape=10**6, per_second=100, ahead=0.0):
        chance = traffic(polls, per_second=per_second, error_rate=0.0)
        shown, looks = chance[0], []
        for taken in chance:
            if taken.taken_at % scrape == 0 and taken.taken_at <= last_scrape:
                shown = taken
            pods = tuple(replace(p, taken_at=p.taken_at + ahead) for p in shown.pods)
            looks.append(replace(taken, pods=pods))
        return looks

    @pytest.mark.parametrize("now", [44, 45, 59])
    def test_a_scrape_interval_is_no_staleness(self, now):
        series = self.series(60)[: now + 1]
        assert verdict_of(series, float(now), rules=self.rules, source="prometheus").state == "HEALTHY"

    def test_a_scrape_that_no_longer_happens_is(self):
        series = self.series(90, last_scrape=45)
        assert verdict_of(series[:66], 65.0, rules=self.rules, source="prometheus").state == "HEALTHY"
        verdict = verdict_of(series[:67], 66.0, rules=self.rules, source="prometheus")
        assert (verdict.state, "is 21 s old" in verdict.sentence) == ("UNKNOWN", True)

    def test_clocks_that_differ_too_much_say_nothing(self):
        near, far = self.series(60, ahead=15.0), self.series(60, ahead=50.0)
        assert verdict_of(near, 60.0, rules=self.rules, source="prometheus").state == "HEALTHY"
        verdict = verdict_of(far, 60.0, rules=self.rules, source="prometheus")
        assert (verdict.state, "ahead of this clock" in verdict.sentence) == ("UNKNOWN", True)

    def test_each_rule_looks_where_it_reads(self):
        rules = SloRules(triggers=Triggers(error_rate=Rule(limit=0.05, source="prometheus")))
        good, bad = traffic(20, per_second=100, error_rate=0), traffic(20, per_second=100, error_rate=0.3)
        fired = verdict_of(good, 20, rules=rules, metrics={"openmetrics": good, "prometheus": bad})
        assert fired.state == "ROLLBACK"
        other = verdict_of(good, 20, rules=rules, metrics={"openmetrics": bad, "prometheus": good})
        assert other.state == "DEGRADED"  # only the criterion reads there
        out = verdict_of(good, 20, rules=rules, metrics={"openmetrics": good, "prometheus": ()})
        assert (out.state, finding(out, "data.prometheus").state) == ("UNKNOWN", "UNKNOWN")


def test_two_rules_at_once_are_both_said():
    pod = Pod()
    first = snapshot(0, [pod])
    pod.answer(500, count=300, seconds=3.0)
    rounds = [ProbeSample(float(t), "failed", "503") for t in range(-300, 11)]
    verdict = verdict_of([first, snapshot(10, [pod])], 10.0, rules=SloRules(), probes=rounds)
    assert verdict.state == "ROLLBACK"
    said = verdict.sentence.split("; ")
    assert ["public URL" in said[0], "error rate" in said[1], "took longer" in said[2]] == [True] * 3
