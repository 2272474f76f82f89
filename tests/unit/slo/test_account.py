from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.plan.rules import SloRules, Watch
from include.slo.account import Account
from include.slo.evaluate import evaluate
from include.slo.samples import Observed, ProbeSample, Snapshot
from include.slo.timeline import MOST_POINTS, Point, extended, thinned_series
from include.slo.verdict import Verdict
from include.slo.window import WindowStats
from tests.unit.slo.series import Pod, accounted, observed, snapshot, traffic

RULES, WATCH = SloRules(), Watch()
BLIND = Verdict("UNKNOWN", "", (), WindowStats())


def counted(series, *, baseline=True, at=0.0):
    """The account of a series, whatever the verdicts were."""
    first = {"openmetrics": series[0]} if baseline else {}
    account = Account.begin(first, at=at, source="openmetrics")
    for taken in series if not baseline else series[1:]:
        account = account.add(Observed({"openmetrics": [taken]}), BLIND, taken.taken_at)
    return account


def test_it_adds_up_what_the_pods_counted_since_the_baseline():
    series = traffic(30, per_second=40, error_rate=0.1, seed=2)
    stats = counted(series).stats("openmetrics")
    assert (stats.requests, stats.span_seconds) == (1200, 30)
    assert stats.errors == sum(p.requests.get("500", 0) for p in series[-1].pods)
    assert stats.latency[-1] == (math.inf, 1200)


def test_it_travels_as_json():
    account, _ = accounted(traffic(30, per_second=40, error_rate=0.1), RULES, WATCH)
    assert Account.load(json.loads(json.dumps(account.dump(), allow_nan=False))) == account


def test_it_goes_on_where_another_process_stopped():
    series = traffic(30, per_second=40, error_rate=0.1)
    half = counted(series[:15])
    # The other one begins with what it observes itself; what lies between is in the counters.
    later = half.add(Observed({"openmetrics": series[20:]}), BLIND, 30.0)
    assert later.stats("openmetrics").requests == 1200
    again = later.add(Observed({"openmetrics": series}), BLIND, 31.0)
    assert again.stats("openmetrics") == later.stats("openmetrics")


def test_a_series_that_is_missing_for_a_moment_counts_once():
    pod = Pod()
    series = [snapshot(0, [pod])]
    pod.answer(200, count=100)
    pod.answer(500, count=10)
    whole = snapshot(1, [pod])
    series += [whole, replace(whole, taken_at=2.0, pods=(replace(whole.pods[0], requests={"200": 100.0}),))]
    pod.answer(500, count=1)
    series.append(snapshot(3, [pod]))
    stats = counted(series).stats("openmetrics")
    assert (stats.requests, stats.errors, stats.restarted) == (111, 11, ())


def test_a_clock_that_was_corrected_is_no_restart():
    pod = Pod(started_at=-100.0)
    pod.answer(count=500)
    series = [snapshot(0, [pod])]
    pod.started_at, _ = -99.0, pod.answer(count=5)
    series.append(snapshot(1, [pod]))
    stats = counted(series).stats("openmetrics")
    assert (stats.requests, stats.restarted) == (5, ())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_counters_that_are_no_numbers_add_nothing(bad):
    pod = Pod()
    series = [snapshot(0, [pod])]
    pod.answer(count=10)
    broken = snapshot(1, [pod])
    series += [replace(broken, pods=(replace(broken.pods[0], requests={"200": bad}),)), snapshot(2, [pod])]
    assert counted(series).stats("openmetrics").requests == 10


def test_without_a_baseline_the_first_look_is_one():
    series = traffic(10, per_second=10, error_rate=0.0)
    account = counted(series[4:], baseline=False)
    assert account.stats("openmetrics").requests == 60
    assert account.sources["openmetrics"].baseline_at == 4.0


def test_the_tally_knows_since_when():
    account, verdict = accounted(traffic(100, per_second=40, error_rate=0.03, seed=1), RULES, WATCH)
    assert account.tally.state == "DEGRADED"
    assert account.page(verdict, WATCH, 100.0).startswith("DEGRADED for ")
    assert account.page(verdict, Watch(page_after_seconds=500), 100.0) == ""


def test_what_the_verdict_pages_is_paged():
    blind = [Snapshot(float(t), "green", errors=("out",)) for t in range(70)]
    account, verdict = accounted(blind, RULES, WATCH)
    assert account.page(verdict, WATCH, 69.0).startswith("nothing is known from openmetrics for 69 s")


class TestPoints:
    def test_they_add_up_to_the_whole(self):
        series = traffic(600, per_second=20, error_rate=0.1, seed=1)
        account = counted(series)
        assert len(account.points) <= MOST_POINTS
        assert sum(point.requests for point in account.points) == 12000
        assert sum(p.errors for p in account.points) == account.stats("openmetrics").errors
        assert {point.seconds for point in account.points} == {4.0}
        assert [p.at for p in account.points] == [4.0 * n for n in range(len(account.points))]

    def test_they_say_what_the_prober_saw(self):
        series, at = traffic(3, per_second=10, error_rate=0.0), 1.0
        account = Account.begin({"openmetrics": series[0]}, at=0.0, source="openmetrics")
        for state in ("ok", "failed", "unusable"):
            seen = observed(series, probes=[ProbeSample(at, state)])
            account = account.add(seen, BLIND, at)
            at += 1.0
        assert [point.probe_ok for point in account.points] == [True, False, None]

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 5), min_size=1, max_size=1500))
    def test_they_stay_few_and_in_order(self, steps):
        points, at = (), 1000.0
        for step in steps:
            at += step
            points = extended(points, Point(at, 1.0, requests=1.0), began_at=1000.0)
        assert len(points) <= MOST_POINTS
        assert sum(point.requests for point in points) == len(steps)
        assert all(one.at + one.seconds <= other.at for one, other in pairwise(points))
        assert points[-1].at <= at < points[-1].at + points[-1].seconds

    @given(st.lists(st.floats(0.1, 10), min_size=1, max_size=500))
    def test_a_series_keeps_its_span(self, steps):
        series, at = (), 0.0
        for step in steps:
            at += step
            series = thinned_series(series, at, 1.0, most=64)
        assert len(series) <= 64
        assert series[0][0] == steps[0]
        assert at - series[-1][0] <= max(10.0, (at - series[0][0]) / 16)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_becomes_of_the_pods_every_request_that_was_seen_counts_once(data):
    """Against a list of single requests: pods restart, are replaced, are born, and cannot be read for a while."""
    pods = {"pod-0": Pod("pod-0"), "pod-1": Pod("pod-1")}
    requests: list[tuple[str, float, int]] = []  # pod, start of its process, status
    shown: dict[tuple[str, float], int] = {}  # requests of a process that its last sample shows
    series = [snapshot(0.0, pods.values())]
    baseline = {(pod.name, pod.started_at): 0 for pod in pods.values()}
    for now in range(2, 2 * data.draw(st.integers(1, 15)) + 1, 2):
        name = data.draw(st.sampled_from(sorted(pods)))
        event = data.draw(st.sampled_from(["none", "none", "restart", "replace", "born"]))
        if event == "restart":
            pods[name].restart(at=now - 0.5)
        elif event in ("replace", "born"):
            if event == "replace":
                del pods[name]
            fresh = Pod(f"pod-{len(requests)}-{now}", started_at=now - 0.5)
            pods[fresh.name] = fresh
        for pod in pods.values():
            for status in data.draw(st.lists(st.sampled_from([200, 503]), max_size=6)):
                pod.answer(status)
                requests.append((pod.name, pod.started_at, status))
        readable = [pod for pod in pods.values() if data.draw(st.integers(0, 4))]
        for pod in readable:
            shown[pod.name, pod.started_at] = len(requests)
        series.append(snapshot(float(now), readable))
    stats = counted(series).stats("openmetrics")
    seen = [
        status
        for number, (name, start, status) in enumerate(requests)
        if number < shown.get((name, start), baseline.get((name, start), 0))
    ]
    assert (stats.requests, stats.errors) == (len(seen), seen.count(503))
    assert sum(count for _, count in stats.latency[-1:]) == len(seen)


@settings(max_examples=30, deadline=None)
@given(st.permutations(traffic(12, per_second=30, error_rate=0.1, seed=4)))
def test_the_order_in_which_it_is_told_changes_nothing(shuffled):
    ordered = sorted(shuffled, key=lambda s: s.taken_at)
    one, other = observed(ordered), observed(ordered, metrics={"openmetrics": shuffled})
    verdicts = [evaluate(RULES, WATCH, seen, 12.0, cutover_at=0.0) for seen in (one, other)]
    assert verdicts[0] == verdicts[1]
    begun = Account.begin({"openmetrics": ordered[0]}, at=0.0, source="openmetrics")
    assert begun.add(one, BLIND, 12.0) == begun.add(other, BLIND, 12.0)
