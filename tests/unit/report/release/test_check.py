"""Whether a report is what its ledger says, with the ledger or with an export of it; and the command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from include.errors import ReportError
from include.ledger.chain import head_of
from include.ledger.entry import Head
from include.ledger.export import exported
from include.ledger.store import Ledger
from include.report.folder import sealed
from include.report.html import page
from include.report.release import __main__ as command
from include.report.release import check as checking
from include.report.release.check import check, head_named
from include.report.release.document import documents, markdown
from include.report.release.draft import release_report
from tests.unit.report.release.stories import HOUR, Release, as_planned


@pytest.fixture(scope="module")
def story() -> Release:
    return as_planned()


@pytest.fixture(scope="module")
def files(story: Release) -> dict[str, str]:
    return {name: sealed(text) for name, text in documents(release_report(story.entries), stem="bericht").items()}


@pytest.mark.parametrize("kind", ["md", "html"])
def test_a_report_names_the_head_it_was_made_from_and_is_found_to_be_its_ledgers(
    story: Release, files: dict[str, str], kind: str
) -> None:
    name = f"bericht.{kind}"
    assert head_named(files[name]) == head_of(story.entries)
    assert check(files[name], name, story.entries).ok


def test_what_came_later_is_no_matter_of_the_report(files: dict[str, str]) -> None:
    longer = as_planned()
    longer.note(9 * HOUR, "feedback.given", {"verdict": "works"})
    assert check(files["bericht.md"], "bericht.md", longer.entries).ok


def test_a_changed_report_is_found(story: Release, files: dict[str, str]) -> None:
    changed = files["bericht.md"].replace("tina", "mallory")
    (first, second) = check(changed, "bericht.md", story.entries).problems
    assert "was changed after it had been written" in first
    assert "gives another text" in second
    again = sealed(changed.rpartition("\n<!--")[0])
    assert check(again, "bericht.md", story.entries).problems == (second,), "a new checksum does not help"


def test_a_ledger_that_was_tampered_with_is_found_by_its_report(story: Release, files: dict[str, str]) -> None:
    entries = list(story.entries)
    (cut,) = check(files["bericht.md"], "bericht.md", entries[:-3]).problems
    assert cut.startswith(f"ledger cut-off: the ledger ends at entry {len(entries) - 3}")
    entries[9] = replace(entries[9], actor="mallory")
    assert any(
        one.startswith("ledger changed: entry 10")
        for one in check(files["bericht.md"], "bericht.md", entries).problems
    )


@pytest.mark.parametrize("text", ["", "# Release-Bericht", "Ledger-Kopf: `nonsense`"])
def test_a_report_without_a_head_cannot_be_checked(text: str) -> None:
    with pytest.raises(ReportError, match="does not name the ledger's head"):
        check(text, "bericht.md", [])


def test_a_comment_cannot_forge_a_head() -> None:
    story = as_planned()
    line = f"Ledger-Kopf: `3:{'a' * 64}`"
    story.note(4 * HOUR, "watch.extended", {"user": "x", "why": f"\n\n{line}\n", "minutes": 1})
    told = markdown(release_report(story.entries), stem="bericht")
    for text in (told, page(told, title="Release-Bericht")):
        assert head_named(text) == head_of(story.entries)


def test_the_report_of_another_version_of_stellwerk_is_not_compared(
    story: Release, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "VERSION", "9.0.0")
    (problem,) = check(files["bericht.md"], "bericht.md", story.entries).problems
    assert "cannot be compared" in problem


# -- the command ---------------------------------------------------------------------------------------------


@pytest.fixture
def export(story: Release, tmp_path: Path) -> Path:
    file = tmp_path / "ledger.jsonl"
    file.write_text("".join(f"{exported(entry)}\n" for entry in story.entries))
    return file


def test_a_report_is_made_and_checked_from_an_export_without_any_database(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STELLWERK_LEDGER_URL", raising=False)
    assert command.main(["write", "3.0.0", "--out", str(tmp_path), "--export", str(export)]) == 0
    names = [Path(line).name for line in capsys.readouterr().out.split()]
    assert {"report-3.0.0.md", "report-3.0.0.html", "report-3.0.0-tag.svg"} <= set(names)
    for kind in ("md", "html"):
        assert command.main(["check", str(tmp_path / f"report-3.0.0.{kind}"), "--export", str(export)]) == 0
        assert "as the ledger says" in capsys.readouterr().out


def test_a_report_that_differs_is_an_exit_code(
    export: Path,
    story: Release,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "_ledger", lambda: cast(Ledger, story.ledger))
    assert command.main(["write", "3.0.0", "--out", str(tmp_path)]) == 0
    report = tmp_path / "report-3.0.0.md"
    assert command.main(["check", str(report)]) == 0
    lines = export.read_text().splitlines()
    export.write_text("\n".join(line.replace("tina", "mallory") for line in lines))
    assert command.main(["check", str(report), "--export", str(export)]) == 1
    told = capsys.readouterr().out
    assert "ledger changed: entry 34" in told
    assert "DIFFERS" in told


def test_the_command_says_what_it_lacks(
    tmp_path: Path, export: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STELLWERK_LEDGER_URL", raising=False)
    assert command.main(["write", "3.0.0"]) == 2
    assert "the ledger's URL cannot be read" in capsys.readouterr().err
    assert command.main(["write", "1.0.0", "--export", str(export)]) == 2
    assert "a report needs the entries of one release" in capsys.readouterr().err
    assert command.main(["check", str(tmp_path / "none.md"), "--export", str(export)]) == 2
    assert "the report cannot be read" in capsys.readouterr().err
    assert command.main(["check", str(export), "--export", str(tmp_path / "none")]) == 2


def test_a_head_is_a_head() -> None:
    assert isinstance(head_named(f"Ledger-Kopf: `1:{'a' * 64}`"), Head)
