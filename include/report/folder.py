"""Where reports are kept: drafts may be written again until a human has taken one in hand.

Each file ends with the checksum of what is above it. A file whose checksum no longer fits was changed by somebody,
and is never written over: the next draft is laid beside it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upath import UPath

from include.errors import ReportError

Folder = Path | UPath
"""A local folder or one in object storage (``s3://…``, ``gs://…``)."""

_MOST: Final = 1000
_SEAL: Final = re.compile(r"\n<!-- Stellwerk, ([0-9a-f]{64}) -->\s*\Z")


@dataclass(frozen=True)
class Written:
    """A file of a report.

    :param sha256: of the whole file, hex
    """

    name: str
    url: str
    sha256: str


def plain(name: str) -> str:
    """A name as a part of a path: letters, digits, ``.``, ``_`` and ``-``; different names stay different."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip(".")
    if safe == name and safe:
        return safe
    return f"{safe or 'ohne-namen'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def sealed(text: str) -> str:
    """The text with its checksum at the end, as a comment that neither Markdown nor HTML nor SVG shows."""
    body = text.rstrip() + "\n"
    return f"{body}\n<!-- Stellwerk, {_digest(body)} -->\n"


def untouched(text: str) -> bool:
    """Whether the text is as :func:`sealed` left it."""
    seal = _SEAL.search(text)
    return seal is not None and _digest(text[: seal.start()]) == seal.group(1)


def write_report(folder: Folder, stem: str, make: Callable[[str], Mapping[str, str]]) -> tuple[Written, ...]:
    """Write the files of one report, once: what is there already is not written again.

    :param folder: made when it is missing
    :param stem: what the files are called before their suffix, see :func:`plain`
    :param make: stem → file name → content. It is asked again with ``-2``, ``-3`` … behind the stem while a human
        has changed a file of that name
    :raises ReportError: the folder cannot be read or written
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, _MOST):
            files = {name: sealed(text) for name, text in make(f"{stem}-{number}" if number > 1 else stem).items()}
            present = {name: _text(folder / name) for name in files}
            if all(_ours(present[name], text) for name, text in files.items()):
                return tuple(_written(folder / name, text, present[name]) for name, text in files.items())
    except (OSError, ValueError) as error:
        raise ReportError(
            f"{stem} cannot be written",
            expected=f"a writable folder {folder}",
            seen=f"{type(error).__name__}: {error}",
            remedy="make the folder writable; the report can be written again at any time",
        ) from error
    raise ReportError(f"{stem} cannot be written", expected=f"fewer than {_MOST} changed drafts in {folder}")


def _text(file: Folder) -> str | None:
    """What the file holds; None when there is none."""
    try:
        return file.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return None


def _ours(present: str | None, wanted: str) -> bool:
    """Whether nobody else's work is lost: an earlier draft, or the beginning of one whose writer was killed."""
    return present is None or untouched(present) or wanted.startswith(present)


def _written(file: Folder, text: str, present: str | None) -> Written:
    content = text.encode()
    if present != text:
        file.write_bytes(content)
    return Written(file.name, file.as_uri(), hashlib.sha256(content).hexdigest())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
