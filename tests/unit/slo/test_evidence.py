from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.slo.evidence import Quantile, quantile, slower_than, wilson

INF = math.inf


class TestWilson:
    @pytest.mark.parametrize(
        ("hits", "total", "low", "high"),
        [  # computed independently, e.g. statsmodels proportion_confint(method="wilson")
            (150, 150, 0.9750, 1.0),
            (0, 200, 0.0, 0.0188),
            (124, 412, 0.2587, 0.3469),
            (5, 10, 0.2366, 0.7634),
            (1, 1, 0.2065, 1.0),
        ],
    )
    def test_known_intervals(self, hits, total, low, high):
        interval = wilson(hits, total)
        assert interval.low == pytest.approx(low, abs=5e-4)
        assert interval.high == pytest.approx(high, abs=5e-4)

    @settings(deadline=None)
    @given(st.integers(1, 10**6).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
    def test_holds_the_share_and_stays_a_share(self, counted):
        hits, total = counted
        interval = wilson(hits, total)
        assert 0 <= interval.low <= hits / total + 1e-12
        assert hits / total - 1e-12 <= interval.high <= 1

    @settings(deadline=None)
    @given(st.integers(1, 1000), st.integers(0, 1000), st.integers(2, 50))
    def test_more_of_the_same_is_better_evidence(self, total, hits, factor):
        hits = min(hits, total)
        few, many = wilson(hits, total), wilson(hits * factor, total * factor)
        assert few.low <= many.low + 1e-12
        assert many.high <= few.high + 1e-12

    def test_nothing_proves_nothing(self):
        assert (wilson(0, 0).low, wilson(0, 0).high) == (0, 1)

    @pytest.mark.parametrize(("hits", "total"), [(2, 1), (-1, 1), (1, 0)])
    def test_impossible_counts_are_refused(self, hits, total):
        with pytest.raises(ValueError, match="is no share"):
            wilson(hits, total)

    def test_reads_well(self):
        assert str(wilson(124, 412)) == "25.9–34.7 %"  # noqa: RUF001


class TestQuantile:
    def test_interpolates_inside_its_bucket(self):
        assert quantile([(0.1, 50), (0.5, 100), (INF, 100)], 0.95) == Quantile(pytest.approx(0.46))
        assert quantile([(0.1, 100), (INF, 100)], 0.5) == Quantile(pytest.approx(0.05))

    def test_skips_empty_buckets(self):
        assert quantile([(0.1, 0), (0.2, 0), (0.4, 10), (INF, 10)], 0.5) == Quantile(pytest.approx(0.3))

    def test_beyond_the_highest_bucket_is_a_lower_bound(self):
        beyond = quantile([(1.0, 10), (10.0, 10), (INF, 100)], 0.95)
        assert beyond == Quantile(10.0, at_least=True)
        assert str(beyond) == "more than 10000 ms"

    @pytest.mark.parametrize("buckets", [[], [(1.0, 0), (INF, 0)], [(INF, 5)]])
    def test_of_nothing_is_nothing(self, buckets):
        assert quantile(buckets, 0.95) is None

    @settings(deadline=None)
    @given(st.lists(st.floats(0.001, 9.9), min_size=1, max_size=200))
    def test_is_at_most_one_bucket_off(self, values):
        bounds = [0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, INF]
        buckets = [(bound, float(sum(v <= bound for v in values))) for bound in bounds]
        found = quantile(buckets, 0.95)
        exact = sorted(values)[math.ceil(0.95 * len(values)) - 1]
        at = next(n for n, bound in enumerate(bounds) if exact <= bound)
        assert (bounds[at - 1] if at else 0) <= found.seconds <= bounds[at]


class TestSlowerThan:
    def test_at_a_bound_is_exact(self):
        assert slower_than([(0.5, 80), (2.0, 90), (INF, 100)], 2.0) == 10

    def test_between_bounds_is_interpolated(self):
        assert slower_than([(1.0, 80), (3.0, 100), (INF, 100)], 2.0) == pytest.approx(10)

    def test_beyond_the_highest_bound_nothing_is_claimed(self):
        assert slower_than([(1.0, 80), (INF, 100)], 2.0) == 0
        assert slower_than([(1.0, 80), (INF, 100)], 1.0) == 20

    @pytest.mark.parametrize("buckets", [[], [(1.0, 0), (INF, 0)]])
    def test_of_nothing_is_unknown(self, buckets):
        assert slower_than(buckets, 1.0) is None

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.floats(0.001, 12))
    def test_agrees_with_the_quantile(self, counts, seconds):
        cumulative, buckets = 0.0, []
        for bound, count in zip((0.1, 1.0, 10.0, INF), counts, strict=True):
            cumulative += count
            buckets.append((bound, cumulative))
        slow = slower_than(buckets, seconds)
        if slow is None:
            return
        assert 0 <= slow <= cumulative
        p95 = quantile(buckets, 0.95)
        if p95 and not p95.at_least and abs(p95.seconds - seconds) > 1e-6:
            assert (slow > 0.05 * cumulative + 1e-9) <= (p95.seconds > seconds)
