"""A folder of one's own: nobody takes it away from whoever lives, and nothing is left of whoever does not."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from include.database import own_folder as module
from include.database.own_folder import own_folder

HOLDER = """
import subprocess, sys
from pathlib import Path
from include.database.own_folder import own_folder
with own_folder(Path(sys.argv[1]), "stellwerk-") as folder:
    (folder / "pgpass").write_text("secret")
    subprocess.Popen(["sleep", "30"], stdout=subprocess.DEVNULL)
    print(folder, flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(place: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    argv = [sys.executable, "-c", HOLDER, str(place)]
    group = {"start_new_session": True, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process: subprocess.Popen[str] = subprocess.Popen(argv, **group)  # type: ignore[call-overload]
    assert process.stdout is not None
    try:
        yield Path(process.stdout.readline().strip()), process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_it_is_this_accounts_alone_and_ends_with_its_lock(tmp_path: Path) -> None:
    with own_folder(tmp_path, "stellwerk-") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert list(folder.iterdir()) == []
        (folder / "file").touch()
        with own_folder(tmp_path, "stellwerk-") as another:
            assert another != folder
        assert (folder / "file").exists()
    assert list(tmp_path.iterdir()) == []


def test_whoever_lives_keeps_it_and_what_the_killed_have_left_goes(tmp_path: Path) -> None:
    with holder(tmp_path) as (folder, process):
        with own_folder(tmp_path, "stellwerk-"):
            assert (folder / "pgpass").exists(), "also where its maker's number means nothing here"
        process.kill()
        process.wait()
        assert (folder / "pgpass").exists()
        with own_folder(tmp_path, "stellwerk-") as mine:
            assert not folder.exists(), "although what it has started lives on"
            assert sorted(tmp_path.iterdir()) == [mine, mine.with_name(mine.name + ".lock")]


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "stellwerk-by-hand").mkdir()
    (tmp_path / "other.lock").touch()
    (tmp_path / "kept").mkdir()
    (tmp_path / "stellwerk-x.lock").symlink_to(tmp_path / "other.lock")
    (tmp_path / "stellwerk-x").symlink_to(tmp_path / "kept")
    before = sorted(tmp_path.iterdir())
    with own_folder(tmp_path, "stellwerk-"):
        pass
    assert sorted(tmp_path.iterdir()) == before


def test_where_nobody_can_lock_nobody_takes_anything_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(module.fcntl, "flock", none)
    with own_folder(tmp_path, "stellwerk-") as folder, own_folder(tmp_path, "stellwerk-") as another:
        assert folder.exists()
        assert another.exists()


def test_one_that_was_taken_away_before_it_was_held_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, taken = module._held, []

    def late(lock: int) -> bool:
        if not taken:
            taken.extend(tmp_path.iterdir())
            module._remove_unless_held(taken[0])
        return held(lock)

    monkeypatch.setattr(module, "_held", lambda lock: late(lock) if not taken else held(lock))
    with own_folder(tmp_path, "stellwerk-") as folder:
        assert taken
        assert sorted(tmp_path.iterdir()) == [folder, folder.with_name(folder.name + ".lock")]
