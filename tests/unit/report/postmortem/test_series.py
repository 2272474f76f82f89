"""The recorded series: nothing measured is a gap and never zero; limits as the watch recorded them."""

from __future__ import annotations

from typing import Any

import pytest

from include.report.postmortem.incident import incidents
from include.report.postmortem.model import Limits, Point, Series, Stretch
from include.report.postmortem.series import first_bad, limits, over, series
from tests.unit.report.postmortem.records import Story, at, automatic, points


def read(*windows: list[Any]) -> Series:
    story = Story().until_cutover().watching()
    for number, window in enumerate(windows):
        story.ended(10 + number, "HELD", points=window, number=number)
    return series(incidents(story.entries)[0])


def point(second: float, requests: float = 40, errors: float = 0, **more: Any) -> dict[str, Any]:
    return {"at": second, "seconds": 1.0, "requests": requests, "errors": errors, "state": "HEALTHY", **more}


def test_an_unknown_stretch_is_a_gap_and_has_no_rate() -> None:
    story = automatic()
    found = read(points(story, missing=(2, 4)))
    assert [(gap.start, gap.end) for gap in found.gaps] == [(at(2).timestamp(), at(4).timestamp())]
    assert [p.error_rate for p in found.points if p.state == "UNKNOWN"] == [None, None]
    assert [p.p95_seconds for p in found.points if p.state == "UNKNOWN"] == [None, None]


def test_a_hole_between_points_is_a_gap() -> None:
    assert read([point(0), point(1), point(5)]).gaps == (Stretch(2.0, 5.0),)


def test_what_one_scrape_counted_is_spread_over_the_polls_before_it() -> None:
    polled = [point(0, 0), point(1, 0), point(2, 0), point(3, 100, 10, p95_seconds=0.3), point(4, 50)]
    found = read(polled)
    assert [(p.at, p.seconds, p.requests, p.error_rate) for p in found.points] == [(0, 4, 100, 0.1), (4, 1, 50, 0)]
    assert found.gaps == ()


def test_nothing_is_spread_over_a_time_that_is_unknown() -> None:
    found = read([point(0), point(1, 0, state="UNKNOWN"), point(2, 0, state="UNKNOWN"), point(3, 90)])
    assert [p.requests for p in found.points] == [40, 0, 0, 90]
    assert found.gaps == (Stretch(1.0, 3.0),)


def test_polls_at_the_end_without_a_count_are_a_gap() -> None:
    assert read([point(0), point(1, 0), point(2, 0)]).gaps == (Stretch(1.0, 3.0),)


def test_too_few_requests_for_a_verdict_are_shown_as_such() -> None:
    assert read([point(0, 3, state="UNKNOWN"), point(1, 4, state="UNKNOWN"), point(2)]).undecided == (
        Stretch(0.0, 2.0),
    )


def test_a_window_that_was_extended_replaces_what_it_tells_again() -> None:
    wider = [{**point(0, 80), "seconds": 2.0}, {**point(2, 80), "seconds": 2.0}]
    assert [(p.at, p.requests) for p in read([point(0), point(1)], wider).points] == [(0, 80), (2, 80)]
    assert [p.at for p in read([point(0), point(1)], [point(2), point(3)]).points] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "broken",
    [
        None,
        "point",
        {},
        [1, 2],
        point(0, -1),
        point(0, 1, 2),
        {**point(0), "seconds": 0},
        {**point(0), "at": "now"},
        {**point(0), "requests": True},
        {**point(0), "errors": "Infinity"},
    ],
)
def test_a_point_that_is_none_is_counted_and_left_out(broken: Any) -> None:
    found = read([broken, point(5)])
    assert (len(found.points), found.unreadable) == (1, 1)


def test_a_list_is_a_point_in_the_order_of_its_fields() -> None:
    assert read([[7.0, 2.0, 10, 1, 0.25, "DEGRADED", False]]).points == (
        Point(7.0, 2.0, 10, 1, 0.25, "DEGRADED", probe_ok=False),
    )


def test_a_percentile_that_is_no_number_is_unknown() -> None:
    assert [p.p95_seconds for p in read([point(0, p95_seconds="Infinity"), point(1, p95_seconds=-1)]).points] == [
        None,
        None,
    ]


def test_what_is_missing_until_the_switch_is_a_gap_too() -> None:
    found = over(read([point(at(3).timestamp()), point(at(4).timestamp())]), at(0), at(20))
    assert [(gap.start - at(0).timestamp(), gap.end - at(0).timestamp()) for gap in found.gaps] == [
        (0, 3),
        (5, 20),
    ]
    assert over(Series(), at(0), at(20)) == Series()


def test_limits_are_those_of_the_recorded_configuration() -> None:
    found = limits(incidents(Story().until_cutover().watching().entries)[0])
    assert (found.trigger_error_rate, found.criterion_error_rate) == (0.05, 0.01)
    assert (found.trigger_p95_seconds, found.criterion_p95_seconds) == (2.0, 0.5)
    assert (found.window_seconds, found.poll_seconds) == (10, 1)


def test_short_rules_of_older_entries_are_read_too() -> None:
    slo = {"triggers": {"error_rate": 0.2}, "criteria": None}
    story = Story().until_cutover().note(3, "watch.baseline", {"config": {"environment": {"slo": slo}}})
    assert limits(incidents(story.entries)[0]) == Limits(trigger_error_rate=0.2)


ALLOWED = Limits(trigger_error_rate=0.05, trigger_p95_seconds=2.0)


def seen(*errors: float, state_at: int | None = None, p95: float | None = None) -> list[Point]:
    return [
        Point(i, 1, 40, round(e), p95, "ROLLBACK" if i == state_at else "HEALTHY", probe_ok=True)
        for i, e in enumerate(errors)
    ]


def begins(found: Point | None) -> float | None:
    return found.at if found else None


def test_the_fault_begins_with_the_run_that_leads_to_the_detection() -> None:
    assert begins(first_bad(seen(0, 9, 0, 0, 9, 9, 9), ALLOWED, 6.5)) == 4
    assert begins(first_bad(seen(0, 0, 9, 9, 9, state_at=4), ALLOWED, None)) == 2
    assert begins(first_bad(seen(0, 0, 0, 0, state_at=3), ALLOWED, 3.2)) == 3


def test_without_detection_the_first_that_is_beyond_counts() -> None:
    assert begins(first_bad(seen(0, 9, 0), ALLOWED, None)) == 1
    assert begins(first_bad(seen(0, 0, p95=3.0), ALLOWED, None)) == 0


def test_a_series_that_shows_no_fault_says_so() -> None:
    assert first_bad(seen(0, 0, 0), ALLOWED, 2.5) is None
    assert first_bad(seen(0, 9, 9), Limits(), 2.5) is None
    assert first_bad([], ALLOWED, 2.5) is None
    assert first_bad([Point(0, 1, 1, 1, None, "HEALTHY", probe_ok=None)], ALLOWED, None) is None
