"""Whatever an older, newer or damaged record holds, there is a report."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from include.report.html import page
from include.report.release import decisions, evidence, recorded
from include.report.release.document import markdown
from include.report.release.draft import release_report
from tests.unit.report.postmortem.records import Story
from tests.unit.report.postmortem.test_document import rows
from tests.unit.report.postmortem.test_robust import JSON, MOMENTS

KINDS = sorted(
    {*decisions._TOLD, *evidence._FOUND, *recorded._TOLD}
    | {"plan.recorded", "cutover.done", "cutover.observed", "watch.baseline", "switch.back", "backup.taken"}
    | {"message.sent", "message.failed", "deploy.done", "cleanup.done", "release.started", "something.new"}
)
NAMES = (
    *("at", "from", "to", "by", "reason", "result", "sentence", "number", "role", "user", "choice", "comment"),
    *("why", "minutes", "overruled", "phase", "attempt", "points", "checklist", "cases", "findings", "figures"),
    *(
        "reasons",
        "silent",
        "lists",
        "checks",
        "results",
        "people",
        "fingerprint",
        "old_version",
        "way_back",
        "steps",
    ),
    *("size", "restore_seconds", "level", "backup", "purpose", "tables", "revisions", "message", "recipients"),
    *("date", "timezone", "status", "mails", "checklists", "observation", "because", "duty", "sha256", "what"),
)
INNER = st.dictionaries(
    st.sampled_from(["cutover", "text", "role", "severity", "proven"]), MOMENTS | JSON, max_size=3
)
PAYLOAD = st.dictionaries(st.sampled_from(NAMES), MOMENTS | JSON | INNER | st.lists(INNER, max_size=2), max_size=8)
ENTRY = st.tuples(st.integers(-60, 120), st.sampled_from(KINDS), PAYLOAD, st.booleans())


@settings(max_examples=150, deadline=None)
@given(facts=st.lists(ENTRY, min_size=1, max_size=8))
def test_any_record_makes_a_report(facts: list[tuple[int, str, dict[str, Any], bool]]) -> None:
    story = Story()
    for number, (second, kind, payload, other) in enumerate(facts):
        story.note(second, kind, payload, run=story.rollback_run("other") if other else None, number=number)
    text = markdown(release_report(story.entries), stem="bericht")
    assert text.startswith("# Release-Bericht: 3.0.0")
    assert "## Kurzfassung" in page(text, title="t") or "Kurzfassung</h2>" in page(text, title="t")
    assert all(len({row.count("|") for row in table}) == 1 for table in rows(text))
