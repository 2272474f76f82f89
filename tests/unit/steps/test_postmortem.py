"""Reports are written once for each content, recorded with their checksums, and never over a human's work."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from upath import UPath

from include.errors import LedgerError, ReportError
from include.ledger.chain import head_of
from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.report.postmortem import __main__ as command
from include.report.release.check import check
from include.steps.postmortem import DRAFTED, REPORTED, write_postmortem, write_release_report
from tests.unit.report.postmortem.records import Story, TimedLedger, at, automatic, by_hand, release_run

RUN = "manual__2026-07-01T09-30-00-00-00-"


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_the_draft_lies_below_its_release_and_is_recorded_with_its_checksums(tmp_path: Path) -> None:
    story = automatic()
    back = story.rollback_run()
    done = write_postmortem(back, story.ledger, UPath(tmp_path.as_uri()), at(60))
    entry = story.entries[-1]
    assert (entry.kind, entry.run_id, entry.at) == (DRAFTED, back.run_id, at(60))
    assert dict(entry.payload) == done
    assert done["about"] == story.run.run_id
    assert done["questions"] == 4
    assert [file["name"].rpartition(".")[2] for file in done["files"]] == ["md", "html", "svg"]
    for file in done["files"]:
        path = tmp_path / "3.0.0" / "production" / file["name"]
        assert file["name"].startswith(f"postmortem-{RUN}")
        assert UPath(file["url"]).read_bytes() == path.read_bytes()
        assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_step_that_runs_again_changes_nothing(tmp_path: Path) -> None:
    story = automatic()
    first = write_postmortem(story.rollback_run(), story.ledger, tmp_path, at(60))
    length = len(story.entries)
    assert write_postmortem(story.rollback_run(), story.ledger, tmp_path, at(70)) == first
    assert len(story.entries) == length


def test_what_happened_meanwhile_is_in_the_next_draft(tmp_path: Path) -> None:
    story = by_hand()
    back = story.rollback_run(f"manual__{story.iso(90)}", by="rita")
    first = write_postmortem(back, story.ledger, tmp_path, at(120))
    story.told(130, "rollback-mail", "mail")
    second = write_postmortem(back, story.ledger, tmp_path, at(140))
    assert [file["url"] for file in second["files"]] == [file["url"] for file in first["files"]]
    assert second["files"] != first["files"]
    assert [entry.kind for entry in story.entries].count(DRAFTED) == 2


def test_a_draft_that_a_human_changed_stays(tmp_path: Path) -> None:
    story = automatic()
    done = write_postmortem(story.rollback_run(), story.ledger, tmp_path, at(60))
    mine = tmp_path / "3.0.0" / "production" / done["files"][0]["name"]
    mine.write_text(mine.read_text().replace("| 1 | | | | | |", "| 1 | raise the limit | erkennen | otto | | |"))
    again = write_postmortem(story.rollback_run(), story.ledger, tmp_path, at(90))
    assert again["files"][0]["name"] == mine.name.replace(".md", "-2.md")
    assert "raise the limit" in mine.read_text()
    assert again["files"][2]["name"] in (tmp_path / "3.0.0" / "production" / again["files"][0]["name"]).read_text()


def test_a_rollback_that_could_record_nothing_is_found_by_the_run_it_was_started_for(tmp_path: Path) -> None:
    ledger = TimedLedger()
    first = automatic(release_run("manual__first"), ledger=ledger)
    automatic(release_run("manual__second"), ledger=ledger, later=86400)
    ledger.written = [entry for entry in ledger.written if entry.run_id != "after__manual__first"]
    done = write_postmortem(first.rollback_run(), first.ledger, tmp_path, at(90_000))
    assert done["about"] == "manual__first"
    unknown = write_postmortem(first.rollback_run("manual__silent"), first.ledger, tmp_path, at(90_000))
    assert unknown["about"] == "manual__second"


def test_the_release_report_is_written_the_same_way(tmp_path: Path) -> None:
    story = automatic()
    first = write_release_report(story.run, story.ledger, tmp_path, at(60))
    write_postmortem(story.rollback_run(), story.ledger, tmp_path, at(61))
    assert write_release_report(story.run, story.ledger, tmp_path, at(70)) == first
    assert story.entries[-2].kind == REPORTED
    assert first["outcome"].startswith("Zurückgerollt")
    report, page, _ = (tmp_path / "3.0.0" / "production" / file["name"] for file in first["files"])
    assert report.name.startswith(f"report-{RUN}")
    assert report.read_text().startswith("# Release-Bericht: 3.0.0\n\n**Zurückgerollt: ")
    assert "<h1>Release-Bericht: 3.0.0</h1>" in page.read_text()
    assert first["head"] == head_of(story.entries[:-2]).short
    for file in (report, page):
        assert check(file.read_text(), file.name, story.entries).problems == ()


def test_the_release_report_covers_every_environment(tmp_path: Path) -> None:
    story = automatic()
    staging = replace(story.run, environment=load_plan(plan_folder()).environment("staging"), run_id="rehearsal")
    story.note(-90_000, "release.verified", {"slot": "green"}, run=staging)
    done = write_release_report(story.run, story.ledger, tmp_path, at(60))
    report = (tmp_path / "3.0.0" / "production" / done["files"][0]["name"]).read_text()
    assert "| staging | Release abschließend geprüft |" in report
    assert done["outcome"].startswith("Zurückgerollt"), "what happened in production is what a release came to"


def test_a_release_that_left_nothing_has_no_report(tmp_path: Path) -> None:
    story = Story()
    for write in (write_release_report, write_postmortem):
        with pytest.raises(LedgerError, match="none"):
            write(story.run, story.ledger, tmp_path, at(0))
    assert files(tmp_path) == []


def test_a_rollback_that_was_refused_has_no_draft(tmp_path: Path) -> None:
    story = Story().until_cutover().watching().ended(3600, "PASSED", "every criterion held")
    refused = story.rollback_run("manual__refused", by="rita")
    story.note(4000, "rollback.refused", {"what": "nothing to roll back"}, run=refused)
    with pytest.raises(LedgerError, match="not rolled back"):
        write_postmortem(refused, story.ledger, tmp_path, at(4001))
    assert files(tmp_path) == []


def test_a_rollback_that_was_blocked_has_one(tmp_path: Path) -> None:
    story = Story().until_cutover().watching()
    back = story.rollback_run()
    story.note(20, "rollback.blocked", {"what": "blue has no pods"}, run=back)
    assert "nicht möglich" in write_postmortem(back, story.ledger, tmp_path, at(60))["outcome"]


def test_a_folder_that_cannot_be_written_records_nothing(tmp_path: Path) -> None:
    story = automatic()
    (tmp_path / "3.0.0").write_text("a file")
    with pytest.raises(ReportError):
        write_postmortem(story.rollback_run(), story.ledger, tmp_path, at(60))
    assert story.entries[-1].kind != DRAFTED


def test_the_command_writes_the_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = TimedLedger()
    automatic(release_run("manual__first"), ledger=ledger)
    automatic(release_run("manual__second"), ledger=ledger, later=86400)
    monkeypatch.setattr(command, "Ledger", lambda url: cast(Ledger, ledger))
    assert command.main(["3.0.0", "production", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert files(tmp_path) == [f"postmortem-manual__second.{kind}" for kind in ("html", "md", "svg")]
    assert sorted(told.out.split()) == [str(tmp_path / name) for name in files(tmp_path)]
    assert "--run manual__first" in told.err
    assert command.main(["3.0.0", "production", "--out", str(tmp_path), "--run", "manual__first"]) == 0
    assert len(files(tmp_path)) == 6


def test_the_command_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STELLWERK_LEDGER_URL", raising=False)
    assert command.main(["3.0.0", "production"]) == 2
    assert "the ledger's URL cannot be read" in capsys.readouterr().err
