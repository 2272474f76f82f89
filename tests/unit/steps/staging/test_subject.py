"""Those who decide about production read whether just that was rehearsed, and how it went."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from include.gate.rehearsal import Differences, Subject, differences
from include.ledger.entry import NewEntry
from include.plan.fingerprint import chart_digest
from include.plan.models import ImageRef
from include.steps.record import CUT_OVER, CUTOVER_INTENDED, DEPLOYED, OBSERVED, ROLLED_BACK, record
from include.steps.run import ReleaseRun
from include.steps.staging.complete import conclude
from include.steps.staging.entries import DEPLOYED_ALREADY, REHEARSAL_COMPLETED
from include.steps.staging.subject import rehearsal_covers, rehearsal_of, rehearsed, subject_of
from include.version import VERSION
from tests.unit.steps.staging.rehearsals import a_ledger, a_run, deployed, with_another_chart
from tests.unit.steps.staging.shown import show

DIGEST = "sha256:" + "a" * 64
TRIED = Subject("r/erp:3.0.0", (f"r/erp@{DIGEST}",), "c1", "1.0")
RELEASED = replace(TRIED, contents=(DIGEST,))


def production(**image: Any) -> ReleaseRun:
    run = a_run("production-run", name="production")
    changed = run.release.image.model_copy(update=image)
    return replace(run, release=run.release.model_copy(update={"image": changed}))


def test_what_was_rehearsed_is_what_is_released() -> None:
    assert differences(TRIED.facts(), RELEASED) == Differences()


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
    [said] = differences(TRIED.facts(), replace(RELEASED, **change)).all
    assert why in said


def test_a_chart_of_which_nobody_knows_is_not_called_another_one() -> None:
    [said] = differences(replace(TRIED, chart="").facts(), RELEASED).unknown
    assert said == "which chart was rehearsed is not known"


def test_the_subject_is_what_was_deployed_not_what_the_plan_has_at_the_end(tmp_path: Any) -> None:
    run, ledger = a_run(), a_ledger()
    assert subject_of(run, ledger)["chart"] == "", "nothing was deployed"
    show(ledger, run)
    another = with_another_chart(run, tmp_path)
    image = run.release.image.model_copy(update={"tag": "3.0.9"})
    another = replace(another, release=run.release.model_copy(update={"image": image}))
    assert subject_of(another, ledger) == subject_of(run, ledger)
    later = a_run("later")
    record(ledger, later, DEPLOYED_ALREADY, {"slot": "green", "by": run.run_id})
    assert subject_of(replace(later, chart=another.chart), ledger)["chart"] == chart_digest(run.chart)


def test_what_is_deployed_anew_from_another_chart_is_the_subject(tmp_path: Any) -> None:
    run, ledger = a_run(), a_ledger()
    another = with_another_chart(run, tmp_path)
    for one in (run, run, another, run, run):
        deployed(ledger, one)
        assert subject_of(run, ledger)["chart"] == chart_digest(one.chart)
    assert len(ledger.entries(kinds=(DEPLOYED,))) == 3, "once for what it was made from"


@pytest.mark.parametrize("told", [None, {}, {"image": "x"}])
def test_a_rehearsal_that_does_not_tell_is_no_good_news(told: dict[str, Any] | None) -> None:
    assert differences(told, RELEASED) == Differences(unknown=("the rehearsal does not tell what it was about",))


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


def test_a_go_for_production_is_for_the_rehearsal_that_was_shown(tmp_path: Any) -> None:
    run, ledger, asked = a_run(), a_ledger(), production()
    assert rehearsal_covers(asked, ledger) == {}, "what nobody demands is nothing that could be missing"
    show(ledger, run)
    told = conclude(run, ledger, tmp_path)
    shown = {"staging": f"passed, run {run.run_id}", "staging evidence": told["fingerprint"]}
    assert rehearsal_covers(asked, ledger) == shown
    assert rehearsal_covers(run, ledger) == {}, "staging itself is not held against its rehearsal"
    ledger.append(NewEntry(ROLLED_BACK, "3.0.0", "staging", "back", "bo", {}))
    covers = rehearsal_covers(asked, ledger)
    assert covers["staging"].startswith(f"passed, run {run.run_id}, taken back ")
    assert any(one.startswith("warning: staging was taken back") for one in rehearsed(asked, ledger))
    later = record(ledger, run, REHEARSAL_COMPLETED, {"result": "failed"}, number="later")
    assert rehearsal_covers(asked, ledger) == {
        "staging": f"failed, run {run.run_id}",
        "staging evidence": later.hash,
    }


@pytest.mark.parametrize(
    "kinds",
    [(OBSERVED, CUT_OVER), (CUT_OVER,)],
    ids=["a proof that failed is tried again", "whoever moved the traffic was killed before it told"],
)
def test_what_is_tried_after_the_switch_voids_no_go(tmp_path: Any, kinds: tuple[str, ...]) -> None:
    run, ledger, asked = a_run(), a_ledger(), production()
    show(ledger, run)
    conclude(run, ledger, tmp_path)
    before = rehearsal_covers(asked, ledger)
    record(ledger, asked, CUTOVER_INTENDED, {})
    for kind in kinds:
        record(ledger, asked, kind, {})
        record(ledger, run, REHEARSAL_COMPLETED, {"result": "failed"}, number=f"after {kind}")
        assert rehearsal_covers(asked, ledger) == before
    newest = rehearsal_of(asked, ledger).newest
    assert newest is not None
    assert newest.payload["result"] == "passed"
    assert rehearsal_covers(replace(asked, run_id="another"), ledger)["staging"].startswith("failed")
