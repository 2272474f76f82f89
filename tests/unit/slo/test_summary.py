from __future__ import annotations

from dataclasses import replace

import pytest

from include.plan.rules import Criteria, SloRules, Watch
from include.slo.evaluate import evaluate
from include.slo.summary import Tally, summarise
from include.slo.verdict import Verdict
from include.slo.window import WindowStats
from tests.unit.slo.series import Pod, snapshot, traffic

RULES, WATCH = SloRules(), Watch()
SERIES = traffic(60, per_second=100, error_rate=0.002, seed=3)


def tallied(series, *, rules=RULES, watch=WATCH):
    tally = Tally()
    for n, taken in enumerate(series):
        tally = tally.count(evaluate(rules, watch, series[: n + 1], taken.taken_at), taken.taken_at)
    return tally


def verdict(state, *, gathering=False):
    return Verdict(state, "", (), WindowStats(), gathering)


def judged(series, *, tally=None, rules=RULES, watch=WATCH):
    ends = (series[0], series[-1])
    return summarise(rules, watch, snapshots=ends, tally=tally or Tally(healthy=60, first_at=0, last_at=60))


def test_a_good_watch_passes_and_says_why():
    summary = judged(SERIES, tally=tallied(SERIES))
    assert summary.state == "PASSED"
    assert "of 6000 requests in 60 s" in summary.sentence
    assert "P95" in summary.sentence
    assert summary.unknown_ratio == 0


@pytest.mark.parametrize(
    ("series", "why"),
    [
        (traffic(60, per_second=100, error_rate=0.03, seed=1), "not below 1 %"),
        (traffic(60, per_second=3, error_rate=0.0), "too little traffic: 180 requests"),
        (SERIES[:1], "no baseline"),
        (
            [SERIES[0], replace(SERIES[-1], errors=("pod-1: timeout",))],
            "final counters are incomplete: pod-1: timeout",
        ),
        ([SERIES[0], replace(SERIES[-1], pods=())], "no pod could be read"),
    ],
)
def test_otherwise_it_holds_and_says_why(series, why):
    summary = judged(series)
    assert summary.state == "HOLD"
    assert why in summary.sentence


def test_slow_answers_hold():
    pod = Pod()
    first = snapshot(0, [pod])
    pod.answer(count=1000, seconds=0.9)
    assert "not below 500 ms" in judged([first, snapshot(60, [pod])]).sentence


def test_a_restart_during_the_watch_holds():
    pod = Pod()
    first = snapshot(0, [pod])
    pod.restart(at=30)
    pod.answer(count=1000)
    summary = judged([first, snapshot(60, [pod])])
    assert (summary.state, summary.sentence) == ("HOLD", "restarted during the watch: pod-1")


def test_the_resources_of_the_plan_hold_too():
    summary = judged(SERIES, rules=SloRules(criteria=Criteria(memory_bytes=1_000_000)))
    assert "100 MB of memory" in summary.sentence


def test_checkpoints_keep_what_a_replaced_pod_counted():
    old, new = Pod("old"), Pod("new", started_at=30)
    first = snapshot(0, [old])
    old.answer(500, count=100)
    middle = snapshot(29, [old])
    new.answer(count=1000)
    tally = Tally(healthy=60, first_at=0, last_at=60)
    ends = (first, snapshot(60, [new]))
    assert summarise(RULES, WATCH, snapshots=ends, tally=tally).state == "PASSED"
    assert summarise(RULES, WATCH, snapshots=(first, middle, ends[1]), tally=tally).state == "HOLD"


class TestTally:
    def test_counts_by_state(self):
        tally = Tally()
        for n, seen in enumerate(
            [verdict("UNKNOWN", gathering=True), *map(verdict, ("HEALTHY", "DEGRADED", "ROLLBACK", "UNKNOWN"))]
        ):
            tally = tally.count(seen, float(n))
        assert tally == Tally(healthy=1, degraded=2, unknown=1, gathering=1, first_at=0.0, last_at=4.0)
        assert tally.unknown_ratio(1.0) == pytest.approx(0.2)

    def test_too_many_unknown_polls_hold(self):
        tally = Tally(healthy=90, unknown=10, first_at=0, last_at=100)
        summary = judged(SERIES, tally=tally)
        assert (summary.state, summary.sentence) == ("HOLD", "10.0 % of the polls were unknown, limit 5 %")

    def test_polls_that_were_not_made_are_unknown(self):
        assert Tally(healthy=10, first_at=0, last_at=100).unknown_ratio(1.0) > 0.5
        assert Tally(healthy=60, first_at=0, last_at=100).unknown_ratio(1.0) == 0

    def test_no_poll_at_all_is_no_knowledge(self):
        assert Tally().unknown_ratio(1.0) == 1.0
        ends = (SERIES[0], SERIES[-1])
        assert summarise(RULES, WATCH, snapshots=ends, tally=Tally()).state == "HOLD"

    def test_a_short_watch_is_not_held_for_its_first_moments(self):
        short = Watch(seconds=12, window_seconds=10)
        series = SERIES[:13]
        assert judged(series, tally=tallied(series, watch=short), watch=short).state == "PASSED"
