from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.slo.samples import Snapshot
from include.slo.window import WindowStats, thinned, window_stats, within
from tests.unit.slo.series import Pod, snapshot, traffic


def test_nothing_is_nothing():
    assert window_stats([]) == WindowStats()
    assert WindowStats().error_rate is None
    assert WindowStats().p95_seconds is None


def test_one_snapshot_has_counters_but_no_growth():
    pod = Pod()
    pod.answer(500, count=1000)
    stats = window_stats([snapshot(0, [pod])])
    assert (stats.requests, stats.pods) == (0, 1)


def test_counts_growth_by_status():
    pod = Pod()
    pod.answer(500, count=7)  # smoke tests before the cutover
    first = snapshot(0, [pod])
    for status, count in ((200, 90), (404, 3), (500, 5), (503, 2)):
        pod.answer(status, count=count)
    stats = window_stats([first, snapshot(10, [pod])])
    assert (stats.requests, stats.errors, stats.span_seconds) == (100, 7, 10)
    assert stats.error_rate == pytest.approx(0.07)


def test_a_pod_born_inside_counts_from_zero_and_an_older_one_from_its_first_sample():
    old, born, late = Pod("old"), Pod("born", started_at=5.0), Pod("late", started_at=-50.0)
    first = snapshot(0, [old])
    born.answer(500, count=20)
    late.answer(500, count=999)  # could not be read at first; who knows when these were
    middle = snapshot(10, [old, born, late])
    late.answer(200, count=30)
    stats = window_stats([first, middle, snapshot(11, [old, born, late])])
    assert (stats.requests, stats.errors) == (50, 20)


def test_a_pod_that_is_gone_leaves_what_it_counted():
    pod, stays = Pod("goes"), Pod("stays")
    first = snapshot(0, [pod, stays])
    pod.answer(500, count=10)
    second = snapshot(5, [pod, stays])
    stats = window_stats([first, second, snapshot(10, [stays])])
    assert (stats.requests, stats.pods) == (10, 1)


def test_a_restart_starts_at_zero_and_is_named():
    pod = Pod()
    pod.answer(count=1000)
    first = snapshot(0, [pod])
    pod.restart(at=4.0)
    pod.answer(500, count=3)
    stats = window_stats([first, snapshot(5, [pod])])
    assert (stats.requests, stats.errors, stats.restarted) == (3, 3, ("pod-1",))


def test_a_restart_that_counted_more_than_before_is_seen_by_its_start():
    pod = Pod()
    first = snapshot(0, [pod])
    pod.restart(at=4.0)
    pod.answer(count=50)
    assert window_stats([first, snapshot(5, [pod])]).requests == 50


def test_a_restart_without_a_start_time_is_seen_by_smaller_counters():
    pod = Pod()
    pod.answer(count=100)
    first = snapshot(0, [pod])
    pod.restart(at=4.0)
    pod.answer(count=5)
    blind = [
        replace(s, pods=tuple(replace(p, started_at=None) for p in s.pods)) for s in (first, snapshot(5, [pod]))
    ]
    assert window_stats(blind).requests == 5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_a_sample_that_is_no_number_is_left_out(bad):
    pod = Pod()
    first = snapshot(0, [pod])
    pod.answer(count=10)
    last = snapshot(2, [pod])
    broken = replace(last, taken_at=1.0, pods=(replace(last.pods[0], taken_at=1.0, requests={"200": bad}),))
    stats = window_stats([first, broken, last])
    assert stats.requests == 10
    assert stats.unusable == ("pod-1 reported counters that are no numbers",)


def test_a_stale_sample_is_left_out():
    pod = Pod()
    stale = replace(snapshot(20, [pod]), pods=(pod.sample(10.0),))
    assert window_stats([stale], stale_seconds=5).unusable == ("the sample of pod-1 is 10 s old",)
    assert window_stats([stale], stale_seconds=15).unusable == ()


def test_latencies_come_from_the_growth():
    pod = Pod()
    pod.answer(count=10_000, seconds=0.001)
    first = snapshot(0, [pod])
    pod.answer(count=90, seconds=0.2)
    pod.answer(count=10, seconds=2.2)
    stats = window_stats([first, snapshot(5, [pod])])
    assert stats.latency[-1] == (math.inf, 100)
    assert stats.p95_seconds == pytest.approx(2.25)


def test_buckets_that_do_not_fit_together_give_no_latency():
    one, two = Pod("one"), Pod("two")
    first = snapshot(0, [one, two])
    one.answer(count=10)
    two.answer(count=10)
    last = snapshot(5, [one, two])
    odd = replace(last.pods[1], latency_buckets=((1.0, 10.0), (math.inf, 10.0)))
    stats = window_stats([first, replace(last, pods=(last.pods[0], odd))])
    assert (stats.requests, stats.latency, stats.p95) == (20, (), None)


def test_sizes_of_every_pod():
    small, large = Pod("small"), Pod("large", memory_bytes=5e8, sse=4)
    first = snapshot(0, [small, large])
    small.cpu_seconds, large.cpu_seconds = 1.0, 5.0
    small.sse = 3
    stats = window_stats([first, snapshot(10, [small, large])])
    assert stats.memory_bytes == {"small": 1e8, "large": 5e8}
    assert stats.cpu_cores == {"small": 0.1, "large": 0.5}
    assert (stats.sse_connections, stats.db_connections) == (7, 10)


def test_what_no_pod_told_is_none():
    bare = tuple(
        replace(Pod().sample(t), memory_bytes=None, cpu_seconds=math.nan, sse_connections=None) for t in (0.0, 1.0)
    )
    stats = window_stats([Snapshot(float(t), "green", (bare[t],), 1) for t in (0, 1)])
    assert (stats.memory_bytes, stats.cpu_cores, stats.sse_connections) == ({}, {}, None)

    one_tells = Snapshot(1.0, "green", (bare[1], Pod("other", sse=4).sample(1.0)))
    assert window_stats([one_tells]).sse_connections is None


def test_the_window_begins_with_the_snapshot_before_it():
    snapshots = [Snapshot(float(t), "green") for t in range(30)]
    assert [s.taken_at for s in within(snapshots, now=20, seconds=3)] == [17, 18, 19, 20]
    sparse = [Snapshot(float(t), "green") for t in (0, 19, 20)]
    assert [s.taken_at for s in within(sparse, now=20, seconds=3)] == [19, 20]


def test_thinning_keeps_first_and_last():
    snapshots = [Snapshot(float(t), "green") for t in range(26)]
    assert [s.taken_at for s in thinned(snapshots, apart_seconds=10)] == [0, 10, 20, 25]
    assert thinned(snapshots[:1], apart_seconds=10) == snapshots[:1]
    assert thinned([], apart_seconds=10) == []


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_request_is_lost_or_counted_twice(data):
    """Pods answer, restart right after a poll and are born: everything after the first poll is counted."""
    pods = [Pod("pod-0"), Pod("pod-1")]
    for pod in pods:
        pod.answer(count=data.draw(st.integers(0, 50)))
    snapshots, answered, failed = [snapshot(0, pods)], 0, 0
    for now in range(2, 2 * data.draw(st.integers(1, 12)) + 1, 2):
        if data.draw(st.booleans()):
            data.draw(st.sampled_from(pods)).restart(at=now - 0.5)
        if data.draw(st.integers(0, 3)) == 0:
            pods.append(Pod(f"pod-{len(pods)}", started_at=now - 0.5))
        for pod in pods:
            good, bad = data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9))
            pod.answer(200, count=good)
            pod.answer(503, count=bad)
            answered, failed = answered + good + bad, failed + bad
        snapshots.append(snapshot(now, pods))
    stats = window_stats(data.draw(st.permutations(snapshots)))
    assert (stats.requests, stats.errors) == (answered, failed)
    assert sum(count for _, count in stats.latency[-1:]) == answered


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 19), st.integers(0, 2**16))
def test_two_halves_make_a_whole(cut, seed):
    snapshots = traffic(20, per_second=20, error_rate=0.2, seed=seed)
    whole, left, right = (window_stats(s) for s in (snapshots, snapshots[: cut + 1], snapshots[cut:]))
    assert whole.requests == left.requests + right.requests
    assert whole.errors == left.errors + right.errors
