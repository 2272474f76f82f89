"""Those who decide about production read whether just that was rehearsed, and how it went."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from include.plan.fingerprint import chart_digest
from include.plan.models import ImageRef
from include.steps.record import record
from include.steps.run import ReleaseRun
from include.steps.staging.complete import conclude
from include.steps.staging.entries import REHEARSAL_COMPLETED
from include.steps.staging.subject import Subject, differences, rehearsed
from include.version import VERSION
from tests.unit.steps.staging.rehearsals import a_ledger, a_run
from tests.unit.steps.staging.shown import show

DIGEST = "sha256:" + "a" * 64
TRIED = Subject("r/erp:3.0.0", (f"r/erp@{DIGEST}",), "c1", "1.0")
RELEASED = replace(TRIED, contents=(DIGEST,))


def production(**image: Any) -> ReleaseRun:
    run = a_run("production-run", name="production")
    changed = run.release.image.model_copy(update=image)
    return replace(run, release=run.release.model_copy(update={"image": changed}))


def test_what_was_rehearsed_is_what_is_released() -> None:
    assert differences(TRIED.facts(), RELEASED) == ()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"image": "r/erp:3.0.1"}, "rehearsed was the image r/erp:3.0.0, released is r/erp:3.0.1"),
        ({"contents": ("sha256:b",)}, "released is sha256:b"),
        ({"contents": ()}, "is not known"),
        ({"chart": "c2"}, "the chart has changed"),
        ({"stellwerk": "1.1"}, "Stellwerk 1.0, this is 1.1"),
    ],
)
def test_what_differs_is_said(change: dict[str, Any], why: str) -> None:
    [said] = differences(TRIED.facts(), replace(RELEASED, **change))
    assert why in said


@pytest.mark.parametrize("told", [None, {}, {"image": "x"}])
def test_a_rehearsal_that_does_not_tell_is_no_good_news(told: dict[str, Any] | None) -> None:
    assert differences(told, RELEASED) == ("the rehearsal does not tell what it was about",)


def test_people_read_the_newest_result_with_its_evidence_and_findings(tmp_path: Any) -> None:
    run, ledger = a_run(), a_ledger()
    assert "was not rehearsed in staging" in rehearsed(production(), ledger)[0]
    found = [{"severity": "minor", "text": "klein (bo)"}]
    show(ledger, run, uat_concluded={"findings": found})
    told = conclude(run, ledger, tmp_path)
    assert told["subject"] == {
        "image": run.release.image.reference,
        "contents": ["sha256:a"],
        "chart": chart_digest(run.chart),
        "stellwerk": VERSION,
        "revisions": ["c"],
    }
    digest = ImageRef(repository="r", tag="t", digest=DIGEST).digest
    passed, finding, warning = rehearsed(production(digest=digest), ledger)
    assert passed.startswith("rehearsal in staging passed at ")
    assert passed.endswith(f"evidence {told['fingerprint'][:16]}")
    assert finding == "found in the rehearsal: minor: klein (bo)"
    assert warning.startswith("warning: rehearsed was the image's content sha256:a, released is")
    record(ledger, run, REHEARSAL_COMPLETED, {"result": "failed", "findings": []}, number="later")
    assert rehearsed(production(), ledger)[0].startswith("warning: rehearsal in staging failed at")
