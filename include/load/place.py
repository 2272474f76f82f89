"""Where a load test leaves its files until they are kept: a folder of its own for as long as its process lives.

The kernel gives a lock free when its process ends, however it ends. A folder that nobody holds was left by an
attempt that was killed, and goes with the next one on this machine.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

PREFIX: Final = "stellwerk-load-"


@contextmanager
def workplace() -> Iterator[Path]:
    """An empty folder, gone afterwards; what killed attempts have left is removed first.

    :raises OSError: there is no room for it
    """
    clear_abandoned()
    with _held() as folder:
        yield folder


def clear_abandoned() -> tuple[Path, ...]:
    """Remove this user's folders that nobody holds.

    :return: which were removed
    """
    found = (one for one in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")) if _abandoned(one))
    return tuple(found)


@contextmanager
def _held() -> Iterator[Path]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # another attempt took it for abandoned before it could be held
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is(folder, handle):
                continue
            yield folder
            return
        finally:
            # Removed while it is held: nobody else looks into it meanwhile.
            with suppress(OSError):
                if _is(folder, handle):
                    shutil.rmtree(folder)
            os.close(handle)


def _abandoned(folder: Path) -> bool:
    """Remove a folder that nobody holds; whether it is gone because of that."""
    try:
        # Somebody else's folder, or a link to anywhere, is none of ours.
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if os.fstat(handle).st_uid != os.geteuid():
            return False
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is(folder, handle):
            return False
        log.warning("%s was left by a load test that was killed: it is removed", folder)
        shutil.rmtree(folder)
    except OSError as error:
        log.info("%s is left alone: %s", folder, error)
        return False
    finally:
        os.close(handle)
    return True


def _is(folder: Path, handle: int) -> bool:
    """Whether the folder of this name is the one that is open."""
    try:
        named = folder.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(handle))
