from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.plan.rules import SloRules, Triggers, Watch
from include.slo.evaluate import evaluate, retention_seconds
from include.slo.samples import LogSample, Observed, ProbeSample, SlotSample, Snapshot
from tests.unit.slo.series import Pod, observed, snapshot, traffic

RULES, WATCH = SloRules(), Watch()


def verdict_of(snapshots, now, *, rules=RULES, watch=WATCH, cutover_at=-1000.0, **more):
    return evaluate(rules, watch, observed(snapshots, **more), now, cutover_at=cutover_at)


def judged(*answers, seconds=10.0, rules=RULES, watch=WATCH, **more):
    """The verdict on one pod that gave ``answers`` (status, count, seconds) within ``seconds``."""
    pod = Pod()
    first = snapshot(0, [pod])
    for status, count, took in answers:
        pod.answer(status, count=count, seconds=took)
    pod.cpu_seconds = 1.0
    return verdict_of([first, snapshot(seconds, [pod], **more)], seconds, rules=rules, watch=watch)


class TestErrorRate:
    def test_says_what_it_saw_and_what_follows(self):
        verdict = judged((200, 288, 0.02), (500, 124, 0.02))
        assert verdict.state == "ROLLBACK"
        assert verdict.sentence == (
            "error rate 30.1 % of 412 requests in 10 s, 95 % interval 25.9–34.7 %, above 5 %: rollback"  # noqa: RUF001
        )

    def test_150_failures_of_150_are_enough(self):
        assert judged((500, 150, 0.02)).state == "ROLLBACK"

    @pytest.mark.parametrize("count", [1, 5, 9])
    def test_a_handful_of_failures_is_not(self, count):
        assert judged((500, count, 0.02)).state == "UNKNOWN"

    def test_a_rate_above_the_trigger_by_chance_is_not(self):
        assert judged((200, 188, 0.02), (500, 12, 0.02)).state == "DEGRADED"  # 6 %, interval from 3.5 %

    def test_between_criterion_and_trigger_is_degraded(self):
        verdict = judged((200, 970, 0.02), (500, 30, 0.02))
        assert verdict.state == "DEGRADED"
        assert verdict.sentence.endswith("not below 1 %")

    def test_few_requests_that_are_bad_beyond_doubt_are_degraded(self):
        assert judged((200, 140, 0.02), (500, 10, 0.02)).state == "DEGRADED"

    def test_healthy_needs_a_number_of_requests(self):
        assert judged((200, 199, 0.02)).state == "UNKNOWN"
        verdict = judged((200, 200, 0.02))
        assert verdict.state == "HEALTHY"
        assert verdict.sentence == (
            "error rate 0.0 % of 200 requests in 10 s, 95 % interval 0.0–1.9 %, below 1 %"  # noqa: RUF001
        )

    def test_client_errors_are_not_the_releases(self):
        assert judged((404, 500, 0.02)).state == "HEALTHY"


class TestLatency:
    def test_slow_beyond_doubt_is_rolled_back(self):
        verdict = judged((200, 350, 0.02), (200, 50, 3.0))
        assert verdict.state == "ROLLBACK"
        assert "12.5 % of 400 requests in 10 s took longer than 2000 ms" in verdict.sentence

    def test_slow_by_chance_is_not(self):
        assert judged((200, 186, 0.02), (200, 14, 3.0)).state == "DEGRADED"

    def test_beyond_the_highest_bucket(self):
        assert judged((200, 300, 60.0)).state == "ROLLBACK"

    def test_a_threshold_the_buckets_cannot_reach_proves_nothing(self):
        rules = SloRules(triggers=Triggers(p95_seconds=30.0))
        verdict = judged((200, 300, 60.0), rules=rules)
        assert verdict.state == "DEGRADED"
        assert "more than 10000 ms" in verdict.sentence

    def test_missing_the_criterion_is_degraded(self):
        verdict = judged((200, 300, 0.9))
        assert (verdict.state, "not below 500 ms" in verdict.sentence) == ("DEGRADED", True)

    def test_no_latencies_are_unknown(self):
        pod = Pod()
        snapshots = []
        for now in (0.0, 5.0):
            taken = snapshot(now, [pod])
            snapshots.append(replace(taken, pods=(replace(taken.pods[0], latency_buckets=()),)))
            pod.answer(count=500)
        verdict = verdict_of(snapshots, 5.0)
        assert (verdict.state, "no latencies" in verdict.sentence) == ("UNKNOWN", True)


class TestCrashLoop:
    def found(self, counts, *, probes=("failed",), rules=RULES, now=None, wanted=2):
        """The finding after one look a second at the restarts of two pods; the probes are of the last seconds."""
        looks = [
            SlotSample(float(t), ready_endpoints=1, ready=1, wanted=wanted, restarts={"a": n, "b": n})
            for t, n in enumerate(counts)
        ]
        end = len(counts) - 1.0 if now is None else now
        probed = [ProbeSample(end - n, state, "no answer") for n, state in enumerate(reversed(probes))]
        verdict = evaluate(rules, WATCH, Observed(slot=looks, probes=probed), end, cutover_at=0)
        return next((f for f in verdict.findings if f.rule == "triggers.crash_restarts"), None)

    def test_two_restarts_a_pod_while_users_notice_are_rolled_back(self):
        finding = self.found([0, 0, 1, 1, 2])
        lookback = f"{WATCH.lookback_seconds:.0f}"
        assert (finding.state, finding.sentence) == (
            "ROLLBACK",
            f"4 container restarts of 2 pod(s) in {lookback} s, and the public URL fails: rollback",
        )

    def test_fewer_are_not(self):
        assert self.found([0, 0, 1, 1, 1]) is None

    def test_what_users_do_not_notice_is_not(self):
        assert self.found([0, 1, 2], probes=("ok", "unusable", "ok")) is None

    def test_a_failure_between_two_answers_is_noticed(self):
        assert self.found([0, 1, 2], probes=("ok", "failed", "ok")) is not None

    def test_what_was_before_the_watch_does_not_count(self):
        assert self.found([5, 5, 6]) is None

    def test_what_is_long_ago_does_not_count(self):
        quiet = int(WATCH.lookback_seconds) + 5
        assert self.found([0, 1, 2] + [2] * quiet) is None

    def test_what_is_not_known_fires_nothing(self):
        assert self.found([0, 1, 2], now=500.0) is None
        assert self.found([]) is None

    def test_it_is_not_judged_where_the_plan_says_so(self):
        triggers = RULES.triggers.model_copy(update={"crash_restarts": None})
        assert self.found([0, 1, 2], rules=RULES.model_copy(update={"triggers": triggers})) is None


class TestDown:
    def down(self, states, *, metrics=(), **more):
        """The verdict a second after one look for each of ``states``: ready endpoints, None for not known."""
        looks = [SlotSample(float(t), ready_endpoints=n, ready=n) for t, n in enumerate(states)]
        seen = Observed({"openmetrics": metrics}, slot=looks, **more)
        return evaluate(RULES, WATCH, seen, len(states) - 1.0, cutover_at=0)

    def test_no_ready_endpoint_for_long_enough_is_rolled_back(self):
        early = self.down([0] * 300)
        assert (early.state, early.sentence[:39]) == ("DEGRADED", "no ready endpoint for 299 s of at most ")
        verdict = self.down([0] * 301)
        assert verdict.state == "ROLLBACK"
        assert verdict.sentence == "no ready endpoint for 300 s, limit 300 s: rollback"

    def test_an_endpoint_in_between_starts_it_anew(self):
        assert self.down([1 if t == 150 else 0 for t in range(302)]).state == "DEGRADED"
        assert self.down([1 if t == 150 else 0 for t in range(452)]).state == "ROLLBACK"

    def test_an_endpoint_at_the_end_ends_it(self):
        ended = self.down([0] * 400 + [1])
        assert not [f for f in ended.findings if f.rule == "triggers.down_seconds"]

    def test_not_knowing_in_between_neither_ends_nor_proves_it(self):
        assert self.down([None if t % 2 else 0 for t in range(301)]).state == "ROLLBACK"
        # 100 s of outage, 200 s of nothing of which a tenth of the limit counts, 170 s of outage
        looks = [0] * 101 + [None] * 199 + [0] * 171
        assert self.down(looks[:-1]).state == "DEGRADED"
        assert self.down(looks).state == "ROLLBACK"

    def test_not_knowing_at_all_is_unknown(self):
        assert self.down([None] * 301).state == "UNKNOWN"
        assert self.down([0] * 400 + [None] * 31).state == "UNKNOWN"  # an outage of half a minute ago

    def test_a_public_url_that_fails_for_long_enough_is_rolled_back(self):
        def verdict(seconds, state="failed"):
            rounds = [ProbeSample(float(t), state, "503") for t in range(seconds + 1)]
            good = [snapshot(float(t), [Pod()]) for t in range(seconds + 1)]
            return verdict_of(good, float(seconds), probes=rounds)

        assert verdict(299).state == "DEGRADED"
        assert verdict(300).sentence == "the public URL fails (503) for 300 s, limit 300 s: rollback"
        unusable = verdict(400, "unusable")
        assert (unusable.state, "says nothing of the version" in unusable.sentence) == ("UNKNOWN", True)

    def test_what_is_unusable_does_not_end_what_failed_before(self):
        def rounds(unusable):
            states = ["failed"] * 200 + ["unusable"] * unusable + ["failed"] * 101
            return [ProbeSample(float(t), state) for t, state in enumerate(states)]

        for unusable, state in ((0, "ROLLBACK"), (20, "ROLLBACK"), (100, "ROLLBACK")):
            probes = rounds(unusable)
            assert verdict_of([], probes[-1].at, probes=probes).state == state

    def test_metrics_that_are_out_leave_it_to_the_prober(self):
        def verdict(seconds, state):
            blind = [Snapshot(float(t), "green", errors=("no answer",)) for t in range(seconds + 1)]
            rounds = [ProbeSample(float(t), state) for t in range(seconds + 1)]
            return verdict_of(blind, float(seconds), probes=rounds, cutover_at=0.0)

        assert verdict(300, "failed").state == "ROLLBACK"
        healthy = verdict(300, "ok")
        assert healthy.state == "UNKNOWN"
        assert "no answer; the public URL answers, so nothing is rolled back" in healthy.sentence
        assert healthy.page.startswith("nothing is known from openmetrics for 300 s")
        assert verdict(59, "ok").page == ""
        assert verdict(60, "ok").page != ""

    def test_watchers_keep_snapshots_for_long_enough(self):
        rules = SloRules(triggers=Triggers(down_seconds=5000))
        assert retention_seconds(rules, WATCH) > 5000
        assert retention_seconds(RULES, WATCH) >= 2 * WATCH.lookback_seconds


class TestMissingData:
    healthy = traffic(20, per_second=100, error_rate=0.0)

    def verdict(self, snapshots, now, **more):
        more = {"probes": [ProbeSample(now, "ok")], "slot": [SlotSample(now, 3, 3, 3)], **more}
        return verdict_of(snapshots, now, logs=LogSample(now), **more)

    def test_is_healthy_to_begin_with(self):
        assert self.verdict(self.healthy, 20).state == "HEALTHY"

    def test_no_poll(self):
        assert self.verdict([], 20).sentence.startswith(
            "no data yet: no poll has been made; the public URL answers"
        )

    def test_old_data_say_nothing_about_now(self):
        assert self.verdict(self.healthy, 25).state == "HEALTHY"
        verdict = self.verdict(self.healthy, 26)
        assert verdict.state == "UNKNOWN"
        assert verdict.sentence.startswith("no data: the newest sample is 6 s old")

    def test_a_pod_that_cannot_be_read_may_be_the_bad_one(self):
        def seen(errors):
            return [
                replace(s, pods=s.pods[:2], errors=("pod-2: timeout",)) if s.taken_at > 20 - errors else s
                for s in self.healthy
            ]

        assert self.verdict(seen(5), 20).state == "HEALTHY"  # the last whole look is 5 s old
        verdict = self.verdict(seen(6), 20)
        assert verdict.state == "UNKNOWN"
        assert verdict.sentence.startswith("data incomplete: pod-2: timeout")

    def test_no_pods(self):
        blind = [replace(s, pods=()) for s in self.healthy]
        assert self.verdict(blind, 20).sentence.startswith("no data: no pod of green could be read")

    def test_counters_that_are_no_numbers(self):
        broken = [
            replace(s, pods=tuple(replace(p, requests={"200": math.nan}) for p in s.pods)) for s in self.healthy
        ]
        verdict = self.verdict(broken, 20)
        assert (verdict.state, "are no numbers" in verdict.sentence) == ("UNKNOWN", True)

    def test_counters_that_stand_still(self):
        last = self.healthy[-1]
        still = [replace(last, taken_at=float(t)) for t in range(20, 400)]
        still = [replace(s, pods=tuple(replace(p, taken_at=s.taken_at) for p in s.pods)) for s in still]
        verdict = self.verdict(still, 399)
        assert (verdict.state, "too little traffic" in verdict.sentence) == ("UNKNOWN", True)

    def test_what_is_known_to_be_bad_counts_all_the_same(self):
        bad = [replace(s, errors=("pod-9: timeout",)) for s in traffic(20, per_second=100, error_rate=0.3)]
        assert self.verdict(bad, 20).state == "ROLLBACK"

    def test_snapshots_from_the_future_are_not_looked_at(self):
        assert self.verdict(traffic(20, per_second=100, error_rate=lambda t: t > 10), 10.5).state == "HEALTHY"

    def test_series_of_both_slots_are_a_mistake_of_the_caller(self):
        with pytest.raises(ValueError, match="both slots"):
            self.verdict([self.healthy[0], replace(self.healthy[1], slot="blue")], 20)

    def test_the_first_moments_are_early_not_blind(self):
        first = self.verdict(self.healthy[:2], 1)
        assert (first.state, first.gathering) == ("UNKNOWN", True)
        assert not self.verdict(traffic(20, per_second=1, error_rate=0), 20).gathering
        assert not self.verdict([Snapshot(0.0, "green")], 1).gathering
        assert not self.verdict(self.healthy[:2], 1, probes=[ProbeSample(1, "unusable")]).gathering


class TestSpeed:
    """One poll a second; how many polls until the fault is called."""

    def polls(self, snapshots, fault_at, *, watch=WATCH):
        for n in range(fault_at + 1, len(snapshots)):
            now = snapshots[n].taken_at
            if verdict_of(snapshots[: n + 1], now, watch=watch).state == "ROLLBACK":
                return n - fault_at
        return None

    @pytest.mark.parametrize("seed", range(20))
    def test_a_fault_since_the_cutover_is_called_by_the_first_poll(self, seed):
        assert self.polls(traffic(5, per_second=100, error_rate=0.3, seed=seed), 0) == 1

    @pytest.mark.parametrize("seed", range(20))
    def test_a_fault_in_the_middle_is_called_within_four(self, seed):
        series = traffic(40, per_second=100, error_rate=lambda t: 0.3 if t > 30 else 0.0, seed=seed)
        assert self.polls(series, 30) <= 4

    def test_a_fault_in_thin_traffic_is_called_by_the_lookback(self):
        series = traffic(200, per_second=1, error_rate=0.3, seed=1)
        assert self.polls(series, 0) <= 60

    @pytest.mark.parametrize("per_second", [2, 100])
    def test_one_percent_of_errors_never_rolls_back(self, per_second):
        series = traffic(600, per_second=per_second, error_rate=0.01, seed=5)
        assert all(
            verdict_of(series[max(0, n - 330) : n + 1], series[n].taken_at).state != "ROLLBACK"
            for n in range(0, 600, 3)
        )


counts = st.integers(0, 400)


@settings(deadline=None)
@given(good=counts, bad=counts, slow=counts, seconds=st.floats(0.5, 10))
def test_what_every_verdict_owes(good, bad, slow, seconds):
    verdict = judged((200, good, 0.02), (500, bad, 0.02), (200, slow, 3.0), seconds=seconds)
    total = good + bad + slow
    assert verdict.sentence
    assert verdict.stats.requests == total
    if verdict.state == "HEALTHY":
        assert total >= WATCH.min_requests
        assert bad / total < RULES.criteria.error_rate.limit
        assert slow / total <= 0.05
    if verdict.state == "ROLLBACK":
        assert bad / total > RULES.triggers.error_rate.limit or slow / total > 0.05
    if bad >= 150 and bad >= 0.2 * total:
        assert verdict.state == "ROLLBACK"


@settings(deadline=None)
@given(good=counts, bad=counts, more=st.integers(1, 100))
def test_more_failures_never_make_it_better(good, bad, more):
    weight = ["HEALTHY", "UNKNOWN", "DEGRADED", "ROLLBACK"].index
    before = judged((200, good, 0.02), (500, bad, 0.02)).state
    after = judged((200, good, 0.02), (500, bad + more, 0.02)).state
    assert weight(after) >= weight(before) or (before == "UNKNOWN" and good + bad < WATCH.min_requests)


@settings(deadline=None)
@given(bad=st.integers(0, 300), hidden=st.booleans())
def test_without_whole_data_never_healthy(bad, hidden):
    pod = Pod()
    first = snapshot(0, [pod])
    pod.answer(200, count=1000)
    pod.answer(500, count=bad)
    last = snapshot(8, [pod], errors=("pod-2: connection refused",))
    last = replace(last, pods=()) if hidden else last
    assert verdict_of([first, last], 8).state != "HEALTHY"
