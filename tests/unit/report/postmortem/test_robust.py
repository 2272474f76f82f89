"""Whatever an older, newer or damaged record holds, there is a draft: it is needed most when things went wrong."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from include.report.postmortem.document import markdown
from include.report.postmortem.draft import post_mortem
from include.report.postmortem.plot import svg
from include.report.release import document
from include.report.release.draft import release_report
from tests.unit.report.postmortem.records import Story, at

NEAR = at(0).timestamp()
MOMENTS = st.floats(NEAR - 100, NEAR + 100) | st.integers(-100, 100).map(lambda second: at(second).isoformat())
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
JSON = st.recursive(
    SCALARS | MOMENTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
POINT = st.fixed_dictionaries(
    {},
    optional={
        "at": MOMENTS | JSON,
        "seconds": st.floats(0.1, 10) | JSON,
        "requests": st.integers(0, 50) | JSON,
        "errors": st.integers(0, 50) | JSON,
        "p95_seconds": st.floats(0, 9) | JSON,
        "state": st.sampled_from(["HEALTHY", "UNKNOWN", "ROLLBACK"]) | JSON,
        "probe_ok": JSON,
    },
)
RULE = st.fixed_dictionaries({}, optional={"error_rate": JSON, "p95_seconds": st.floats(0.1, 3) | JSON})
CONFIG = st.fixed_dictionaries(
    {},
    optional={
        "cutover_at": MOMENTS | JSON,
        "target": JSON,
        "environment": st.fixed_dictionaries(
            {},
            optional={
                "slo": st.fixed_dictionaries({"triggers": RULE | JSON}) | JSON,
                "watch": JSON,
                "messages": JSON,
            },
        )
        | JSON,
    },
)
NAMES = (
    *(
        "at",
        "from",
        "to",
        "by",
        "reason",
        "result",
        "sentence",
        "detected_at",
        "switched_at",
        "number",
        "release_id",
    ),
    *("observation", "sent", "lost", "slot", "policy", "verdict", "checks", "choice", "user", "why", "measures"),
    *("message", "via", "recipients", "duty", "due", "what", "minutes", "switched_by", "account", "role", "text"),
)
KINDS = (
    *(
        "release.started",
        "gate.decision",
        "cutover.done",
        "cutover.observed",
        "watch.baseline",
        "watch.checkpoint",
    ),
    *("watch.ended", "switch.back", "drain.done", "rollback.verified", "rollback.done", "rollback.blocked"),
    *("message.sent", "message.failed", "feedback.given", "feedback.decided", "watch.rollback-ordered"),
    *("watch.extended", "deadline.missed", "something.new"),
)
PAYLOAD = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(NAMES, MOMENTS | JSON)
    | {
        "points": st.lists(POINT, max_size=5) | JSON,
        "config": CONFIG | JSON,
        "result": st.sampled_from(["ROLLED_BACK", "HELD"]),
    },
)
ENTRY = st.tuples(st.integers(-60, 120), st.sampled_from(KINDS), PAYLOAD, st.sampled_from(["", "manual__2"]))


def written(facts: list[tuple[int, str, dict[str, Any], str]]) -> Story:
    story = Story()
    for number, (second, kind, payload, run) in enumerate(facts):
        story.note(second, kind, payload, run=story.rollback_run(run) if run else None, number=number)
    return story


@settings(max_examples=50)
@given(facts=st.lists(ENTRY, min_size=1, max_size=8))
def test_any_record_makes_a_draft(facts: list[tuple[int, str, dict[str, Any], str]]) -> None:
    entries = written(facts).entries
    found = post_mortem(entries, now=at(7200), timezone="Europe/Berlin")
    assert found.questions
    assert all(span.length.total_seconds() >= 0 for span in found.spans)
    assert all(gap.end > gap.start for gap in found.series.gaps)
    assert markdown(found, picture=None, timezone="Europe/Berlin").startswith("# Post-Mortem (Entwurf): 3.0.0")
    report = release_report(entries)
    assert document.markdown(report, stem="bericht").startswith("# Release-Bericht: 3.0.0")
    assert report.short


@settings(max_examples=10)
@given(recorded=st.lists(POINT, min_size=1, max_size=6), config=CONFIG)
def test_any_series_is_drawn_or_none(recorded: list[dict[str, Any]], config: dict[str, Any]) -> None:
    story = Story().until_cutover().note(3, "watch.baseline", {"config": config})
    story.ended(8, "ROLLED_BACK", points=recorded)
    found = post_mortem(story.entries, now=at(60), timezone="UTC")
    picture = svg(found, timezone="UTC")
    assert (picture is None) == (not found.series.points)
