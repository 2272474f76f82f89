"""A rehearsal that has failed is recorded as that, whatever it had shown before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from include.steps.record import RELEASED, record
from include.steps.staging.complete import conclude
from include.steps.staging.entries import LOAD_MEASURED, REHEARSAL_COMPLETED
from include.steps.staging.failing import conclude_failed, failed, failure, final_failure
from tests.unit.steps.staging.rehearsals import a_ledger, a_run
from tests.unit.steps.staging.shown import SHOWN, show


@pytest.mark.parametrize(
    ("steps", "why"), [((), "a step has failed"), (("smoke_tests",), "smoke_tests has failed")]
)
def test_a_step_that_failed_after_everything_was_shown_is_no_pass(
    tmp_path: Path, steps: tuple[str, ...], why: str
) -> None:
    run, ledger = a_run(), a_ledger()
    show(ledger, run)
    found = failed(run, ledger, steps)
    told = conclude_failed(run, ledger, tmp_path, found)
    assert (told["result"], told["evidence"]["lacking"]) == ("failed", [why])
    assert told["findings"] == [{"severity": "blocker", "text": why}]
    assert f"blocker: {why}" in failure(run, ledger, found).seen


def test_what_was_shown_until_then_is_recorded_and_a_later_pass_counts(tmp_path: Path) -> None:
    run, ledger = a_run(), a_ledger()
    show(ledger, run, without=RELEASED)
    found = failed(run, ledger, ("smoke_tests",))
    matter = failure(run, ledger, found)
    told = conclude_failed(run, ledger, tmp_path, found)
    assert told["evidence"]["lacking"] == ["smoke_tests has failed", "smoke tests: they have not passed"]
    assert told["fingerprint"]
    assert matter.key == failure(run, ledger, found).key, "people are called once for it"
    record(ledger, run, RELEASED, SHOWN[RELEASED])
    assert matter.key != failure(run, ledger, found).key, "what fails later is another matter"
    assert conclude(run, ledger, tmp_path)["result"] == "passed"
    results = [entry.payload["result"] for entry in ledger.entries(kinds=(REHEARSAL_COMPLETED,))]
    assert results == ["failed", "passed"]


def test_a_failure_before_anything_was_shown_is_recorded(tmp_path: Path) -> None:
    run, ledger = a_run(), a_ledger()
    told = conclude_failed(run, ledger, tmp_path, failed(run, ledger, ()))
    assert (told["result"], len(told["findings"])) == ("failed", 10)


@pytest.mark.parametrize("trouble", ["nowhere", "unwritable", "changed"])
def test_a_failure_is_recorded_without_a_file_where_none_can_be_kept(tmp_path: Path, trouble: str) -> None:
    run, ledger = a_run(), a_ledger()
    gone: dict[str, Any] = {"name": "load-1/load.svg", "url": "file:///x", "sha256": "0" * 64, "bytes": 1}
    show(ledger, run, staging_load_measured={"artefacts": [gone] if trouble == "changed" else []})
    assert ledger.entries(kinds=(LOAD_MEASURED,))
    if trouble == "unwritable":
        (tmp_path / "rehearsals").write_text("a file")
    folder = None if trouble == "nowhere" else tmp_path
    told = conclude_failed(run, ledger, folder, failed(run, ledger, ("load_test",)))
    assert (told["result"], told["fingerprint"], told["evidence"]["bundle"]) == ("failed", None, None)
    [entry] = ledger.entries(kinds=(REHEARSAL_COMPLETED,))
    assert entry.payload["links"] == [{"title": "staging", "url": "http://localhost:8001"}]


def test_the_final_test_is_told_apart() -> None:
    run, ledger = a_run(), a_ledger()
    matter = final_failure(run, ledger, ("smoke_tests",))
    assert (matter.seen, matter.key) == (
        "smoke_tests has failed",
        final_failure(run, ledger, ("smoke_tests",)).key,
    )
    assert "the final test of 3.0.0 in staging has failed" in matter.what
