"""A folder for as long as a process works with it; what a killed process has left goes with the next one's.

A lock tells who is alive, since processes of other pods, which may share the place, are seen by nobody: the kernel
gives it back in whatever way its holder ends, and a program that the holder starts does not inherit it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_LOCK: Final = ".lock"


@contextmanager
def own_folder(place: Path, prefix: str) -> Iterator[Path]:
    """An empty folder for this account only, removed when the context ends.

    Those of the same prefix and account whose makers are gone are removed before.

    :param place: the folder in which it is made
    """
    for left in place.glob(f"{prefix}*{_LOCK}"):
        _remove_unless_held(left)
    lock, folder = _locked(place, prefix)
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def _locked(place: Path, prefix: str) -> tuple[int, Path]:
    while True:
        lock, name = tempfile.mkstemp(prefix=prefix, suffix=_LOCK, dir=place)
        try:
            # Whoever has found it before it was held removes it.
            ours = _held(lock) and _is(lock, Path(name))
        except OSError:
            ours = True  # a place that knows no locks: there nobody removes another one's
        if ours:
            return lock, Path(name.removesuffix(_LOCK))
        os.close(lock)


def _remove_unless_held(left: Path) -> None:
    with suppress(OSError):
        lock = os.open(left, os.O_RDWR | os.O_NOFOLLOW)
        try:
            if os.fstat(lock).st_uid == os.geteuid() and _held(lock) and _is(lock, left):
                _remove(left.with_name(left.name.removesuffix(_LOCK)))
        finally:
            os.close(lock)


def _remove(folder: Path) -> None:
    """The folder first: its lock is what it is found by."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name(folder.name + _LOCK).unlink(missing_ok=True)


def _held(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(lock: int, name: Path) -> bool:
    """Whether a file that is open still has its name."""
    try:
        return os.path.samestat(os.fstat(lock), name.stat())
    except FileNotFoundError:
        return False
