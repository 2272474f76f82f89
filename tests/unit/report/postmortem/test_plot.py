"""The plot is an accessible, deterministic SVG; its gaps are gaps."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from include.report import drawing
from include.report.postmortem import plot
from include.report.postmortem.draft import post_mortem
from include.report.postmortem.model import PostMortem
from tests.unit.report.postmortem.records import Story, at, automatic, points

SVG = "{http://www.w3.org/2000/svg}"


def draft(**more: tuple[float, float]) -> PostMortem:
    story = automatic(series=False)
    gapped = Story().until_cutover().watching()
    gapped.ended(
        8.5,
        "ROLLED_BACK",
        detected_at=story.epoch(8.2),
        switched_at=story.epoch(8.3),
        points=points(story, **more),  # type: ignore[arg-type]
    )
    return post_mortem(gapped.switched_by_watch(8.3).entries, now=at(60), timezone="Europe/Berlin")


def drawn(found: PostMortem) -> str:
    text = plot.svg(found, timezone="Europe/Berlin")
    assert text is not None
    return text


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()).strip() for node in ET.fromstring(svg).iter(f"{SVG}text")]


def test_its_words_are_text_and_name_what_is_shown() -> None:
    shown = texts(drawn(draft()))
    assert {"Fehlerrate in %", "P95 in ms", "Umschaltung", "Erkennung", "Rückschaltung"} <= set(shown)
    assert {"Auslöser 5 %", "Kriterium 1 %", "Auslöser 2000 ms", "Kriterium 500 ms"} <= set(shown)
    assert "Uhrzeit (Europe/Berlin)" in shown
    assert "12:00:00" in shown


def test_it_has_a_title_and_a_description_for_those_who_cannot_see_it() -> None:
    root = ET.fromstring(drawn(draft(missing=(2, 4))))
    title, told = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert told is not None
    assert root.get("role") == "img"
    assert root.get("aria-labelledby", "").split() == [title.get("id"), told.get("id")]
    assert "3.0.0" in (title.text or "")
    assert "Höchste Fehlerrate 30,0 %" in (told.text or "")
    assert "Ohne Messwerte: 12:00:02 bis 12:00:04" in (told.text or "")


def test_the_same_series_gives_the_same_bytes_without_a_date() -> None:
    first, second = drawn(draft()), drawn(draft())
    assert first == second
    assert "<metadata" not in first
    assert "date" not in first.lower()


def test_a_gap_breaks_the_line_and_is_shaded() -> None:
    found = draft(missing=(2, 4))
    xs, ys = plot._steps(found.series.points, lambda point: point.error_rate)
    missing = [y for x, y in zip(xs, ys, strict=True) if at(2).timestamp() < x < at(4).timestamp()]
    assert missing
    assert all(math.isnan(value) for value in missing)
    assert "keine Messwerte" in texts(drawn(found))
    assert "keine Messwerte" not in texts(drawn(draft()))


def test_two_windows_are_not_joined_by_a_line() -> None:
    found = draft()
    first = found.series.points[0]
    later = replace(first, at=first.at + 100)
    _, ys = plot._steps([first, later], lambda point: point.error_rate)
    assert [math.isnan(value) for value in ys] == [False, False, True, False, False]


def test_without_a_series_there_is_no_plot() -> None:
    found = post_mortem(automatic(series=False).entries, now=at(60), timezone="UTC")
    assert plot.svg(found, timezone="UTC") is None


def test_a_series_that_knows_nothing_is_drawn_as_unknown() -> None:
    shown = texts(drawn(draft(missing=(0, 99))))
    assert shown.count("keine Messwerte") == 3


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, 8, 1), (0, 60, 10), (0, 3600, 600), (0, 86400 * 3, 28800), (0.5, 1.2, 1)],
)
def test_ticks_are_round_and_few(start: float, end: float, expected: int) -> None:
    ticks = drawing.ticks(start, end)
    assert all(tick % expected == 0 and start <= tick <= end for tick in ticks)
    assert 1 <= len(ticks) <= 10


def test_the_domain_imports_no_matplotlib_until_it_draws() -> None:
    import subprocess

    code = "import sys, include.steps.postmortem; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
