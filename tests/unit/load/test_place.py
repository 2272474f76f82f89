"""A load test that was killed leaves a folder; the next one removes it, and nobody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from include.load import place
from include.load.place import PREFIX, clear_abandoned, workplace

ROOT = Path(__file__).resolve().parents[3]
WORKS = """
import time
from include.load.place import workplace
with workplace() as folder:
    (folder / "load_stats.csv").write_text("1")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def another(temporary: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that measures, and its folder."""
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", WORKS], env=environment, stdout=subprocess.PIPE, text=True
    ) as one:
        assert one.stdout is not None
        try:
            yield one, Path(one.stdout.readline().strip())
        finally:
            one.kill()


def _breaks() -> None:
    with workplace() as folder:
        (folder / "load_stats.csv").write_text("1")
        raise ValueError("broken")


def test_it_is_gone_afterwards_whatever_happens(temporary: Path) -> None:
    with pytest.raises(ValueError, match="broken"):
        _breaks()
    assert list(temporary.iterdir()) == []


def test_what_a_killed_attempt_has_left_goes_with_the_next(temporary: Path) -> None:
    with another(temporary) as (process, left):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (left / "load_stats.csv").is_file()
        with workplace() as folder:
            assert list(temporary.iterdir()) == [folder]


def test_what_another_one_works_with_stays(temporary: Path) -> None:
    with another(temporary) as (_, other), workplace() as folder:
        assert clear_abandoned() == ()
        assert sorted(temporary.iterdir()) == sorted([other, folder])
        assert (other / "load_stats.csv").is_file()


def test_links_files_and_other_folders_stay(temporary: Path) -> None:
    precious = temporary / "precious"
    precious.mkdir()
    (precious / "kept").write_text("1")
    (temporary / f"{PREFIX}link").symlink_to(precious)
    (temporary / f"{PREFIX}file").write_text("1")
    (temporary / "other-x").mkdir()
    assert clear_abandoned() == ()
    assert (precious / "kept").is_file()
    assert len(list(temporary.iterdir())) == 4


def test_what_belongs_to_somebody_else_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (temporary / f"{PREFIX}theirs").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert clear_abandoned() == ()
    monkeypatch.undo()


def test_a_folder_that_was_taken_for_abandoned_before_it_was_held_is_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []
    mkdtemp, flock = tempfile.mkdtemp, place.fcntl.flock

    def noted(prefix: str) -> str:
        made.append(mkdtemp(prefix=prefix))
        if len(made) == 1:
            Path(made[0]).rmdir()  # before it is opened
        return made[-1]

    def late(handle: int, how: int) -> None:
        flock(handle, how)
        if len(made) == 2 and Path(made[1]).exists():
            Path(made[1]).rmdir()  # between its opening and its lock

    monkeypatch.setattr(tempfile, "mkdtemp", noted)
    monkeypatch.setattr(place.fcntl, "flock", late)
    with workplace() as folder:
        assert str(folder) == made[2]
        assert folder.is_dir()
