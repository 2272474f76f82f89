"""Drafts are written again until a human has taken one in hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from upath import UPath

from include.errors import ReportError
from include.report.folder import Folder, Written, plain, sealed, untouched, write_report


def write(folder: Folder, text: str, stem: str = "draft") -> tuple[Written, ...]:
    def make(name: str) -> Mapping[str, str]:
        return {f"{name}.md": f"{text} of {name}", f"{name}.html": f"<p>{text}</p>"}

    return write_report(folder, stem, make)


def names(folder: Folder) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "local":
        return tmp_path / "reports" / "3.0.0"
    return UPath(f"memory://{tmp_path.name}/reports")


def test_a_seal_notices_every_change() -> None:
    text = sealed("one\ntwo\n")
    assert untouched(text)
    assert untouched(text + "\n")
    assert not untouched(text.replace("two", "three"))
    assert not untouched("one\ntwo\n")
    assert not untouched(f"{text}an addition\n")
    assert untouched(sealed(sealed("nested")))


def test_a_draft_is_written_over_and_the_same_one_is_not_written_again(folder: Folder) -> None:
    first = write(folder, "first")
    assert write(folder, "first") == first
    second = write(folder, "second")
    assert [file.url for file in second] == [file.url for file in first]
    assert [file.sha256 for file in second] != [file.sha256 for file in first]
    assert names(folder) == ["draft.html", "draft.md"]
    assert "second of draft" in (folder / "draft.md").read_text()


def test_the_same_draft_does_not_touch_its_files(tmp_path: Path) -> None:
    write(tmp_path, "first")
    before = (tmp_path / "draft.md").stat().st_mtime_ns
    (tmp_path / "draft.md").chmod(0o400)
    write(tmp_path, "first")
    assert (tmp_path / "draft.md").stat().st_mtime_ns == before


def test_what_a_human_changed_stays_and_the_next_draft_lies_beside_it(folder: Folder) -> None:
    write(folder, "first")
    (folder / "draft.md").write_text("# Our post-mortem\n")
    assert [file.name for file in write(folder, "second")] == ["draft-2.md", "draft-2.html"]
    assert (folder / "draft.md").read_text() == "# Our post-mortem\n"
    assert "second of draft-2" in (folder / "draft-2.md").read_text()
    assert [file.name for file in write(folder, "third")] == ["draft-2.md", "draft-2.html"]
    (folder / "draft-2.html").write_bytes(b"\xff\xfe not UTF-8")
    assert [file.name for file in write(folder, "third")] == ["draft-3.md", "draft-3.html"]
    assert (folder / "draft-2.html").read_bytes() == b"\xff\xfe not UTF-8"


@pytest.mark.parametrize("left", ["", "fir"])
def test_a_draft_whose_writer_was_killed_is_written_again(folder: Folder, left: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "draft.md").write_text(left)
    assert [file.name for file in write(folder, "first")] == ["draft.md", "draft.html"]
    assert untouched((folder / "draft.md").read_text())


def test_a_folder_that_cannot_be_written_is_an_error_that_a_retry_may_help(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(ReportError, match="writable") as caught:
        write(tmp_path / "reports", "first")
    assert caught.value.retryable


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..", ".", "", "a/b", "x y", "läuft", "manual__1+00:00", "\n"]
)
def test_any_name_becomes_one_part_of_a_path(name: str) -> None:
    safe = plain(name)
    assert "/" not in safe
    assert safe not in ("", ".", "..")
    assert safe.isascii()
    assert safe == plain(name)


def test_names_that_differ_stay_different() -> None:
    told = ["a:b", "a+b", "a b", "a-b", ".a-b", "a/b"]
    assert len({plain(name) for name in told}) == len(told)
    assert plain("3.0.0-rc.1") == "3.0.0-rc.1"
