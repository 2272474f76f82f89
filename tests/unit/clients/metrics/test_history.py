"""What Prometheus remembers: bounded in size whatever the span, and no error of a process that ended is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.clients.metrics.history import MOST_TICKS, ticks
from include.clients.metrics.prometheus import PrometheusSource
from include.plan.rules import NamedRule, SloRules, Triggers
from include.slo.samples import Snapshot
from include.slo.window import window_stats
from tests.unit.clients.metrics.scraping import FakePrometheus, Pods, environment, page

START = 1000.0


async def history(fake: FakePrometheus, seconds: float, slo: SloRules | None = None) -> tuple[Snapshot, ...]:
    env = environment() if slo is None else environment().model_copy(update={"slo": slo})
    return await PrometheusSource(env, Pods(), fake.client()).history("green", START, START + seconds)


@pytest.mark.parametrize("seconds", [1.0, 10.0, 179.0, 3600.0, 86400.0])
def test_ticks_go_from_end_to_end_and_are_never_too_many(seconds):
    found = ticks(START, START + seconds, 1.0)
    assert (found[0], found[-1]) == (START, pytest.approx(START + seconds))
    assert len(found) <= MOST_TICKS
    *gaps, last = (b - a for a, b in pairwise(found))
    assert all(gap == pytest.approx(gaps[0]) and gap >= 1.0 for gap in gaps)
    assert last > 0


def test_no_time_at_all_is_one_tick():
    assert ticks(START, START, 1.0) == [START]


async def test_samples_carry_the_times_of_their_scrapes():
    fake = FakePrometheus()
    for second in range(-10, 21, 5):
        fake.scrape("p1", START + second - 0.3, page("p1", {"200": 100 + second}))
    found = await history(fake, 20)
    assert [s.taken_at for s in found[-1].pods] == [START + 19.7]
    assert all(sample.taken_at <= one.taken_at for one in found for sample in one.pods)
    assert window_stats(found).requests == 20, "from the scrape before the beginning to the last one"


async def test_an_hour_of_scrapes_stays_small():
    fake = FakePrometheus()
    for second in range(-5, 3601, 5):
        fake.scrape("p1", START + second, page("p1", {"200": 100 + second}))
    found = await history(fake, 3600)
    assert len(found) <= MOST_TICKS + 1
    assert window_stats(found).requests == 3600
    assert len(fake.asked) <= 2 * 8


async def test_what_a_process_counted_until_its_end_between_two_ticks_is_there():
    """1 h has a tick every 20 s: the crash at 30 s, with its 40 errors, would fall between two of them."""
    fake = FakePrometheus()
    for second in range(-5, 3601, 5):
        if second < 30:
            errors = 40.0 if second >= 25 else 0.0
            fake.scrape("p1", START + second, page("p1", {"200": 100 + second, "500": errors}))
        else:
            fake.scrape("p1", START + second, page("p1", {"200": second - 30}, started=START + 29.5))
    stats = window_stats(await history(fake, 3600))
    assert (stats.errors, stats.restarted) == (40, ("p1",))
    assert stats.requests == pytest.approx(30 + 40 + 3570, abs=5)


async def test_a_pod_that_was_removed_between_two_ticks_keeps_its_last_counts():
    fake = FakePrometheus()
    for second in range(-5, 31, 5):
        fake.scrape("p1", START + second, page("p1", {"200": 100 + second}))
    fake.forget("p1", START + 30.5)
    for second in range(-5, 3601, 5):
        fake.scrape("p2", START + second, page("p2", {"200": 7}))
    assert window_stats(await history(fake, 3600)).requests == 30


async def test_readings_are_one_for_each_tick_and_a_gap_is_no_value():
    fake = FakePrometheus()
    fake.readings["queue"] = lambda moment: "4" if moment < START + 5 else None
    rule = NamedRule(name="queue", query="queue", limit=1)
    found = await history(fake, 10, SloRules(triggers=Triggers(more=(rule,))))
    values = [one.readings[0].value for one in found]
    assert values == [4.0] * 5 + [None] * 6
    assert found[-1].readings[0].problem == "the query gives nothing"
    assert all(one.pods == () and one.errors == () for one in found)


async def test_warnings_are_errors_of_the_snapshots():
    fake = FakePrometheus(warnings=("a store is out",))
    fake.scrape("p1", START, page("p1", {"200": 1}))
    assert {one.errors for one in await history(fake, 5)} == {("Prometheus warns: a store is out",)}


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.booleans()), min_size=5, max_size=40),
)
async def test_history_counts_what_looking_at_every_scrape_counts(steps) -> None:
    """Any growth, any restarts: the summary of the past is what a watch that missed nothing would have seen."""
    fake = FakePrometheus()
    good = bad = 0.0
    started = 1.0
    scrapes = []
    for index, (more, failed, restart) in enumerate(steps):
        at = START + index * 20.0
        if restart:
            good = bad = 0.0
            started = at - 1.0
        good, bad = good + more, bad + failed
        shown = page("p1", {"200": good, "500": bad}, started=started)
        fake.scrape("p1", at, shown)
        scrapes.append(at)
    one = PrometheusSource(environment(), Pods(), fake.client())
    looks = []
    for at in scrapes:
        fake.now = at
        looks.append(await one.look("green", at))
    found = await one.history("green", scrapes[0], scrapes[-1])
    expected, seen = window_stats(looks), window_stats(found)
    assert (seen.requests, seen.errors) == (expected.requests, expected.errors)
