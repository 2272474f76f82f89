"""A load test as a picture that can be read without seeing it, the same for the same test."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from include.load.figures import Figures, Point
from include.plan.staging import LoadThresholds
from include.report.load_plot import svg

POINTS = tuple(Point(1000.0 + n, n, 10.0 * n, 0.5, None if n == 0 else 0.1 * n) for n in range(5))
FIGURES = Figures(100, 2, 0.4, 20.0, points=POINTS)


def test_it_shows_the_test_and_says_it_in_words() -> None:
    drawn = svg(FIGURES, LoadThresholds(), title="Load <3.0.0>")
    assert drawn is not None
    assert drawn == svg(FIGURES, LoadThresholds(), title="Load <3.0.0>")
    picture = ET.fromstring(drawn)
    texts = ["".join(one.itertext()) for one in picture.iter()]
    assert "Load <3.0.0>" in texts
    assert "100 requests of up to 4 users in 5 s, 2 failed. P95 400 ms, allowed are 500 ms." in texts
    assert "allowed 500" in texts


def test_a_test_without_a_second_has_no_picture() -> None:
    assert svg(Figures(0, 0, None, 0.0), LoadThresholds(), title="x") is None
