"""The newest interval: whose growth is in it, what may be concluded from it, and how often chance alone does."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.plan.rules import Metrics, Rule, SloRules, Triggers, Watch
from include.slo.evaluate import evaluate
from include.slo.evidence import Z_NEWEST, wilson
from include.slo.moment import Moment
from include.slo.newest import newest_interval
from include.slo.samples import Snapshot
from include.slo.triggers import triggers
from include.slo.window import WindowStats
from tests.unit.slo.series import Pod, observed, snapshot, traffic

RULES, WATCH = SloRules(), Watch()
ORDER = ["HEALTHY", "UNKNOWN", "DEGRADED", "ROLLBACK"]


def newest(snapshots, now=None, *, longest=6.0, stale=5.0):
    now = max(s.taken_at for s in snapshots) if now is None else now
    return newest_interval(snapshots, now=now, stale_seconds=stale, longest_seconds=longest)


def verdict_of(snapshots, *, rules=RULES, watch=WATCH, **more):
    now = snapshots[-1].taken_at
    return evaluate(rules, watch, observed(snapshots, source=rules.source, **more), now, cutover_at=-1000.0)


def burst(errors, *, of=100, status=500, seconds=0.02, before=20):
    """``before`` fine seconds of 100 requests, and one more with failures."""
    pod, snapshots = Pod(), []
    for at in range(before + 1):
        snapshots.append(snapshot(float(at), [pod]))
        pod.answer(count=100 if at < before else of - errors)
    pod.answer(status, count=errors, seconds=seconds)
    return [*snapshots, snapshot(before + 1.0, [pod])]


class TestWhoseGrowth:
    def test_is_between_the_two_newest_samples(self):
        stats = newest(burst(14))
        assert (stats.requests, stats.errors, stats.span_seconds, stats.pods) == (100, 14, 1, 1)
        assert stats.latency[-1] == (math.inf, 100)

    def test_of_nothing_and_of_one_look_is_nothing(self):
        pod = Pod()
        pod.answer(500, count=1000)
        assert newest_interval([], now=0, stale_seconds=5, longest_seconds=6) == WindowStats()
        assert newest([snapshot(0, [pod])]) == WindowStats()

    def test_a_sample_that_is_shown_again_changes_nothing(self):
        series = burst(14)
        again = [replace(series[-1], taken_at=22.0 + n) for n in range(3)]
        assert newest([*series, *again]) == newest(series)

    def test_pods_are_scraped_at_different_moments(self):
        one, two = Pod("one"), Pod("two")
        at_0, at_3 = one.sample(0.0), two.sample(3.0)
        one.answer(500, count=8)
        two.answer(500, count=9)
        at_5, at_8 = one.sample(5.0), two.sample(8.0)
        looks = [Snapshot(4, "green", (at_0, at_3)), Snapshot(6, "green", (at_5, at_3))]
        assert newest(looks, stale=10).errors == 8
        assert newest([*looks, Snapshot(9, "green", (at_5, at_8))], stale=10).errors == 17

    def test_a_pod_that_is_not_shown_adds_nothing(self):
        one, two = Pod("one"), Pod("two")
        first = snapshot(0, [one, two])
        one.answer(500, count=8)
        two.answer(500, count=9)
        second = snapshot(1, [one, two])
        two.answer(500, count=3)
        assert newest([first, second, snapshot(2, [two], errors=("one: timeout",))]).errors == 3
        assert newest([first, second, snapshot(2, [])]) == WindowStats()

    def test_a_pod_that_comes_back_adds_what_it_grew_meanwhile_unless_that_took_long(self):
        def errors(missing):
            pod = Pod()
            first = snapshot(0, [pod])
            pod.answer(500, count=20)
            lost = [snapshot(float(n), [], errors=("timeout",)) for n in range(1, missing + 1)]
            return newest([first, *lost, snapshot(missing + 1.0, [pod])]).errors

        assert [errors(missing) for missing in (0, 5, 6)] == [20, 20, 0]

    def test_a_pod_first_seen_counts_from_its_birth_or_not_at_all(self):
        def errors(started_at):
            pod = Pod(started_at=started_at)
            pod.answer(500, count=20)
            return newest([snapshot(0, [Pod("other")]), snapshot(10, [Pod("other"), pod])]).errors

        assert [errors(at) for at in (-50.0, 1.0, 5.0)] == [0, 0, 20]

    def test_a_restart_counts_from_zero(self):
        pod = Pod()
        pod.answer(500, count=1000)
        first = snapshot(0, [pod])
        pod.restart(at=0.5)
        pod.answer(500, count=12)
        assert newest([first, snapshot(1, [pod])]).errors == 12

    def test_a_series_that_was_missing_for_a_look_is_no_growth(self):
        pod = Pod()
        pod.answer(500, count=1000)
        first, gap = snapshot(0, [pod]), snapshot(1, [pod])
        gap = replace(gap, pods=(replace(gap.pods[0], requests={"200": 0.0}),))
        assert newest([first, gap, snapshot(2, [pod])]).errors == 0

    @pytest.mark.parametrize("told_at", [10.0, 27.0])
    def test_a_stale_sample_and_one_from_the_future_are_left_out(self, told_at):
        series = burst(14)
        odd = replace(series[-1], pods=(replace(series[-1].pods[0], taken_at=told_at),))
        assert newest([*series[:-1], odd]) == WindowStats()

    def test_what_is_old_by_now_is_left_out(self):
        assert newest(burst(14), 26.0).errors == 14
        assert newest(burst(14), 26.5) == WindowStats()

    def test_a_clock_that_is_set_back_tells_nothing(self):
        pod = Pod()
        first = snapshot(3, [pod])
        pod.answer(500, count=20)
        back = Snapshot(4, "green", (pod.sample(2.0),))
        assert newest([first, back]) == WindowStats()

    def test_buckets_that_do_not_fit_together_give_no_latency(self):
        one, two = Pod("one"), Pod("two")
        looks = []
        for at in (0.0, 1.0):
            taken = snapshot(at, [one, two])
            odd = replace(taken.pods[1], latency_buckets=((1.0, 10.0 * at), (math.inf, 10.0 * at)))
            looks.append(replace(taken, pods=(taken.pods[0], odd)))
            one.answer(count=10)
        assert newest(looks).latency == ()

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_growth_counts_once_however_pods_are_scraped_and_looked_at(self, data):
        """Intervals of one pod that follow one another add up to what it counted; each belongs to one sample."""
        pods = [Pod(f"pod-{n}") for n in range(3)]
        shown = {pod.name: pod.sample(0.0) for pod in pods}
        looks, counted = [Snapshot(0.0, "green", tuple(shown.values()))], 0.0
        for at in range(1, 8):
            scraped = data.draw(st.sets(st.integers(0, 2))) if at < 7 else {0, 1, 2}
            for pod in pods:
                pod.answer(500, count=data.draw(st.integers(0, 5)))
            grown = 0.0
            for n, pod in enumerate(pods):
                if n in scraped:
                    fresh = pod.sample(float(at))
                    grown += fresh.requests.get("500", 0.0) - shown[pod.name].requests.get("500", 0.0)
                    shown[pod.name] = fresh
            looks.append(Snapshot(float(at), "green", tuple(shown.values())))
            fresh_only = replace(looks[-1], pods=tuple(s for s in shown.values() if s.taken_at == at))
            assert newest([*looks[:-1], fresh_only], longest=10, stale=10).errors == grown
            counted += grown
        assert counted == sum(pod.requests.get("500", 0.0) for pod in pods)


class TestTrigger:
    def test_says_which_bound_was_used(self):
        verdict = verdict_of(burst(30))
        assert verdict.state == "ROLLBACK"
        assert verdict.sentence == (
            "error rate 30.0 % of 100 requests in 1 s, 99.99 % interval 15.5–50.0 %, above 5 %: rollback"  # noqa: RUF001
        )

    def test_fires_at_the_stricter_bound_only(self):
        assert [verdict_of(burst(errors)).state for errors in (10, 13, 14)] == ["DEGRADED", "DEGRADED", "ROLLBACK"]

    def test_slow_requests_by_the_same_bound(self):
        states = [verdict_of(burst(slow, status=200, seconds=3.0)) for slow in (13, 14)]
        assert [verdict.state for verdict in states] == ["HEALTHY", "ROLLBACK"]
        assert "14.0 % of 100 requests in 1 s took longer than 2000 ms, 99.99 % interval" in states[1].sentence

    def test_takes_min_errors_and_min_requests(self):
        assert verdict_of(burst(9, of=9)).state != "ROLLBACK"
        assert verdict_of(burst(10, of=10)).state == "ROLLBACK"
        own = SloRules(triggers=Triggers(error_rate=Rule(limit=0.05, min_requests=101)))
        assert verdict_of(burst(30), rules=own).state != "ROLLBACK"

    def test_for_seconds_forgives_a_burst(self):
        rules = SloRules(triggers=Triggers(error_rate=Rule(limit=0.05, for_seconds=3)))
        assert verdict_of(burst(30), rules=rules).state == "DEGRADED"

    def test_a_look_that_is_missing_for_long_is_not_judged(self):
        series = burst(14)
        late = replace(series[-1], taken_at=27.0, pods=(replace(series[-1].pods[0], taken_at=27.0),))
        assert verdict_of([*series[:-1], late]).state != "ROLLBACK"

    def test_never_proves_health(self):
        """The last second is fine and busy; the window is not."""
        series = burst(30, of=1000)
        last = series[-1].pods[0]
        pod = Pod(requests=dict(last.requests), buckets=[count for _, count in last.latency_buckets])
        pod.answer(count=500)
        assert verdict_of([*series, snapshot(22.0, [pod])]).state == "DEGRADED"

    def test_of_prometheus_is_between_two_scrapes(self):
        rules = SloRules(source="prometheus", metrics=Metrics(scrape_seconds=5))
        pod, looks, sample = Pod(), [], Pod().sample(0.0)
        for at in range(32):
            pod.answer(count=100)
            if at == 29:
                pod.answer(500, count=60)
            sample = pod.sample(float(at)) if at % 5 == 0 else sample
            looks.append(Snapshot(float(at), "green", (sample,)))
        assert verdict_of(looks[:30], rules=rules).state != "ROLLBACK"
        verdict = verdict_of(looks[:31], rules=rules)
        assert verdict.state == "ROLLBACK"
        assert "of 560 requests in 5 s, 99.99 % interval" in verdict.sentence

    @settings(max_examples=60, deadline=None)
    @given(errors=st.integers(0, 60), more=st.integers(1, 60), good=st.integers(0, 200))
    def test_more_failures_are_never_milder(self, errors, more, good):
        few = verdict_of(burst(errors, of=errors + good)).state
        many = verdict_of(burst(errors + more, of=errors + more + good)).state
        assert ORDER.index(many) >= ORDER.index(few)


class TestChance:
    @staticmethod
    def an_hour(requests, rate):
        """How often 3600 intervals of so many requests lie beyond the bound by chance (exact)."""
        fires = [k for k in range(10, requests + 1) if wilson(k, requests, Z_NEWEST).low > 0.05]
        least = min(fires)
        terms = (
            math.exp(
                math.lgamma(requests + 1)
                - math.lgamma(k + 1)
                - math.lgamma(requests - k + 1)
                + k * math.log(rate)
                + (requests - k) * math.log(1 - rate)
            )
            for k in range(least, requests + 1)
        )
        return 3600 * math.fsum(terms)

    @pytest.mark.parametrize(
        ("requests", "rate", "documented"),
        [
            *((50, 0.05, 0.57), (100, 0.05, 1.7), (200, 0.05, 0.69), (1000, 0.05, 0.35), (62, 0.05, 3.5)),
            *((50, 0.03, 0.007), (100, 0.03, 0.007), (200, 0.03, 0.0002)),
            *((50, 0.01, 3e-7), (100, 0.01, 7e-9), (200, 0.01, 6e-14), (62, 0.01, 2.4e-6)),
        ],
    )
    def test_calls_as_often_as_documented(self, requests, rate, documented):
        assert self.an_hour(requests, rate) == pytest.approx(documented, rel=0.15)

    @pytest.mark.parametrize("per_second", [10, 50, 200])
    @pytest.mark.parametrize("seed", range(3))
    def test_a_release_of_one_percent_errors_is_not_rolled_back_in_an_hour(self, per_second, seed):
        watch = Watch(lookback_seconds=30)
        chance, pod, series = random.Random(seed), Pod(), []
        for at in range(3601):
            series = [*series[-62:], snapshot(float(at), [pod])]
            failed = sum(chance.random() < 0.01 for _ in range(per_second))
            pod.answer(500, count=failed)
            pod.answer(count=per_second - failed)
            found = triggers(Moment(RULES, watch, observed(series), float(at), -1000.0))
            assert not [f.sentence for f in found if f.state == "ROLLBACK"]

    @pytest.mark.parametrize("seed", range(20))
    def test_a_fault_of_thirty_percent_is_called_by_the_second_look_at_the_latest(self, seed):
        series = traffic(33, per_second=100, error_rate=lambda t: 0.3 if t > 30 else 0.0, seed=seed)
        assert verdict_of(series[:32]).state == "ROLLBACK" or verdict_of(series[:33]).state == "ROLLBACK"
