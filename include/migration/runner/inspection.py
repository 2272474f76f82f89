"""What the revision files say, each imported by itself so that a broken one hides no other; env.py is not run."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import alembic
from alembic.script import ScriptDirectory
from alembic.util import load_python_file

from .configuration import configuration, configured_url, scripts
from .session import Emit, account

_REVISION_FILE = re.compile(r"(?!\.#|__init__).*\.py")  # as Alembic chooses them


def answer(request: dict[str, Any], emit: Emit) -> None:
    """Tell of every revision of the tree."""
    config = configuration(request["tree"])
    url = configured_url(config)
    folder = scripts(config)
    env = Path(folder.dir) / "env.py"
    revisions, unreadable = [], []
    for file in _files(folder):
        try:
            revisions.append(_revision(file))
        except BaseException as error:  # noqa: BLE001 - a revision may raise anything, SystemExit, too
            unreadable.append(_complaint(file, error))
    emit(
        {
            "event": "inspected",
            "alembic": alembic.__version__,
            "python": platform.python_version(),
            "url": url,
            "env": str(env) if env.is_file() else "",
            "env_digest": digest(env) if env.is_file() else "",
            "data_digest": _data_digest(folder, env),
            "revisions": revisions,
            "unreadable": unreadable,
        }
    )


def digest(file: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _data_digest(folder: ScriptDirectory, env: Path) -> str:
    home, known = Path(folder.dir).resolve(), {*_files(folder), env.resolve()}
    found = hashlib.sha256()
    for file in sorted(home.rglob("*")):
        if file.is_file() and file.resolve() not in known and "__pycache__" not in file.parts:
            found.update(os.fsencode(file.relative_to(home)) + digest(file).encode())
    return found.hexdigest()


def _files(folder: ScriptDirectory) -> Iterator[Path]:
    seen: set[Path] = set()
    pattern = "**/*.py" if getattr(folder, "recursive_version_locations", False) else "*.py"
    for location in folder._version_locations:  # noqa: SLF001 - Alembic publishes no other way to name them all
        for file in sorted(Path(location).glob(pattern)):
            if _REVISION_FILE.fullmatch(file.name) and file.resolve() not in seen:
                seen.add(file.resolve())
                yield file.resolve()


def _revision(file: Path) -> dict[str, Any]:
    module = load_python_file(str(file.parent), file.name)
    name = getattr(module, "revision", None)
    if not isinstance(name, str) or not name:
        raise TypeError(f"its 'revision' is {name!r}, not a name")
    for needed in ("upgrade", "downgrade"):
        if not callable(getattr(module, needed, None)):
            raise TypeError(f"it has no function {needed}()")
    return {
        "revision": name,
        "file": str(file),
        "digest": digest(file),
        "down": _names(getattr(module, "down_revision", None)),
        "depends": _names(getattr(module, "depends_on", None)),
        "labels": _names(getattr(module, "branch_labels", None)),
        "title": ((module.__doc__ or "").strip().splitlines() or [""])[0],
    }


def _names(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(one, str) for one in value):
        return list(value)
    raise TypeError(f"{value!r} names no revisions")


def _complaint(file: Path, error: BaseException) -> dict[str, Any]:
    told = account(error)
    lines = [line for name, line in told["places"] if name == str(file)]
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else (lines[-1] if lines else None)
    return {"file": str(file), "line": line or 0, "why": told["message"]}
