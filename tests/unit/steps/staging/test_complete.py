"""The end of a rehearsal: one entry, one file whose every byte is accounted for."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import EvidenceError, ReportError
from include.ledger.store import Ledger
from include.plan.fingerprint import chart_digest
from include.steps.record import CUT_OVER, DEPLOYED, STARTED, record
from include.steps.run import ReleaseRun
from include.steps.staging.artefacts import folder_of, keep
from include.steps.staging.bundle import zipped
from include.steps.staging.complete import complete, conclude
from include.steps.staging.entries import DEPLOYED_ALREADY, LOAD_MEASURED, REHEARSAL_COMPLETED, SERVED
from include.steps.staging.failing import conclude_failed, failed
from tests.unit.steps.staging.rehearsals import a_ledger, a_run, with_another_chart
from tests.unit.steps.staging.served import Staging
from tests.unit.steps.staging.shown import SHOWN, show


async def completed(run: ReleaseRun, ledger: Ledger, folder: Path, holder: str | None = "") -> dict[str, Any]:
    return await complete(run, ledger, cast(Any, Staging(run, holder)), folder)


def measured(run: ReleaseRun, folder: Path, text: bytes = b"<svg/>") -> dict[str, Any]:
    kept = keep(folder_of(run, folder), "load-1/load.svg", text)
    return {"staging_load_measured": {"artefacts": [kept.facts()]}}


async def test_what_was_shown_becomes_an_entry_and_a_file(tmp_path: Path) -> None:
    run, ledger = a_run(), a_ledger()
    show(ledger, run, **measured(run, tmp_path))
    told = await completed(run, ledger, tmp_path)
    assert await completed(run, ledger, tmp_path) == told, "the same evidence makes the same file, once"
    [entry] = ledger.entries(kinds=(REHEARSAL_COMPLETED,))
    assert entry.payload == told
    assert (told["result"], told["findings"], told["evidence"]["lacking"]) == ("passed", [], [])

    file = Path(told["evidence"]["bundle"]["url"].removeprefix("file://"))
    assert file.parent == tmp_path / "rehearsals" / "3.0.0-staging" / "3.0.0__staging-deploy"
    with zipfile.ZipFile(file) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert set(files) == {"ledger.json", "load-1/load.svg", "manifest.json", "summary.json"}
    assert hashlib.sha256(files["manifest.json"]).hexdigest() == told["fingerprint"]
    manifest = json.loads(files["manifest.json"])
    assert (manifest["release"], manifest["run"]) == ("3.0.0", run.run_id)
    for one in manifest["files"]:
        assert hashlib.sha256(files[one["name"]]).hexdigest() == one["sha256"]
    assert [one["kind"] for one in json.loads(files["ledger.json"])] == [*(STARTED, DEPLOYED, *SHOWN, SERVED)]
    assert [one["title"] for one in told["links"]] == ["staging", "load test", "evidence"]


async def test_a_part_that_is_missing_is_no_pass_whatever_the_tasks_say(tmp_path: Path) -> None:
    run, ledger = a_run(), a_ledger()
    show(ledger, run, without=LOAD_MEASURED)
    with pytest.raises(EvidenceError, match=r"load test: it was not run.*states set by hand prove nothing"):
        await completed(run, ledger, tmp_path)
    assert ledger.entries(kinds=(REHEARSAL_COMPLETED,)) == ()


@pytest.mark.parametrize("holder", [None, "3.1.0@staging/other"])
async def test_staging_that_somebody_took_meanwhile_was_not_tested(tmp_path: Path, holder: str | None) -> None:
    run, ledger = a_run(), a_ledger()
    show(ledger, run)
    with pytest.raises(EvidenceError, match="the traffic Service belongs to"):
        await completed(run, ledger, tmp_path, holder)
    assert "traffic: the traffic Service belongs to" in "; ".join(failed(run, ledger, ("evidence",)).lacking)


async def test_a_release_that_was_rolled_back_meanwhile_was_not_tested(tmp_path: Path) -> None:
    run, ledger, staging = a_run(), a_ledger(), Staging(a_run())
    show(ledger, run)
    staging.switched_back()
    with pytest.raises(EvidenceError, match=r"the traffic is on blue, not on green.*anna: slow"):
        await complete(run, ledger, cast(Any, staging), tmp_path)
    assert ledger.entries(kinds=(REHEARSAL_COMPLETED,)) == ()


async def test_what_an_earlier_run_brought_there_may_be_tested(tmp_path: Path) -> None:
    run, ledger = a_run(), a_ledger()
    show(ledger, run, without=CUT_OVER)
    record(ledger, run, DEPLOYED_ALREADY, {"slot": "green", "by": "earlier", "fingerprint": "f"})
    assert (await completed(run, ledger, tmp_path, "3.0.0@staging/earlier"))["result"] == "passed"


async def test_a_chart_that_nobody_has_deployed_is_not_vouched_for(tmp_path: Path) -> None:
    run, ledger = a_run(), a_ledger()
    show(ledger, run)
    another = with_another_chart(run, tmp_path)
    with pytest.raises(EvidenceError, match=r"in the chart.*rehearse again .*, or put the plan back as it was"):
        await completed(another, ledger, tmp_path)
    told = conclude_failed(another, ledger, tmp_path, failed(another, ledger, ("evidence",)))
    assert told["subject"]["chart"] == chart_digest(run.chart), "what was deployed, whatever the plan has by now"
    assert (await completed(run, ledger, tmp_path))["result"] == "passed", "put back, it goes on"


@pytest.mark.parametrize("damage", ["changed", "gone"])
async def test_a_measurement_that_is_changed_or_gone_is_no_evidence(tmp_path: Path, damage: str) -> None:
    run, ledger = a_run(), a_ledger()
    show(ledger, run, **measured(run, tmp_path))
    file = folder_of(run, tmp_path) / "load-1" / "load.svg"
    file.write_bytes(b"<svg>better</svg>") if damage == "changed" else file.unlink()
    with pytest.raises(EvidenceError, match=r"load-1/load\.svg is not what was measured"):
        await completed(run, ledger, tmp_path)


def test_nowhere_to_keep_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "rehearsals").write_text("a file")
    with pytest.raises(ReportError, match="stellwerk_reports"):
        conclude(a_run(), a_ledger(), tmp_path)


names = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"]), min_size=1, max_size=8)


@given(st.dictionaries(names, st.binary(max_size=50), max_size=5))
def test_an_archive_depends_on_its_files_alone(contents: dict[str, bytes]) -> None:
    made = zipped(contents)
    assert made == zipped(dict(reversed(contents.items())))
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents
