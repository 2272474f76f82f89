"""What the stand-ins for Slack and mail received, as files people can read, and the faults they shall show."""

from __future__ import annotations

import json
import re
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

Kind = Literal["slack", "mail"]
Mode = Literal["error", "busy", "refuse", "hang", "drop", "mute", "cut"]


AFTERWARDS: Final[tuple[Mode, ...]] = ("mute", "cut")
"""The faults that show when the message is taken already."""


@dataclass(frozen=True)
class Fault:
    """How a stand-in fails.

    :param mode: ``error``: an internal error (HTTP 500, SMTP 554); ``busy``: come again later (HTTP 429, SMTP
        451); ``refuse``: understood and declined (``ok: false``, SMTP 550); ``hang``: no answer; ``drop``: the
        connection is cut; ``mute``: the message is taken, and there is no answer; ``cut``: it is taken, and the
        connection is cut
    :param reason: Slack's error code, or the SMTP reply's text
    :param retry_after: seconds, for ``busy``
    :param recipient: of a mail; it alone is refused (``refuse``) or put off (``busy``)
    """

    mode: Mode
    reason: str = "internal_error"
    retry_after: int = 1
    recipient: str = ""


class Inbox:
    """One stand-in's messages: ``<folder>/<kind>/0001-<name><suffix>``, numbered as they arrived."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self._folder = folder / kind
        self._folder.mkdir(parents=True, exist_ok=True)
        self._faults = fault_file(folder, kind)
        self._lock = threading.Lock()

    def put(self, name: str, suffix: str, content: str) -> Path:
        """Add a message; it appears complete or not at all."""
        with self._lock:
            numbers = [int(file.name[:4]) for file in self._folder.glob("[0-9][0-9][0-9][0-9]*")]
            target = self._folder / f"{max(numbers, default=0) + 1:04d}-{_plain(name)}{suffix}"
            with tempfile.NamedTemporaryFile("w", dir=self._folder.parent, delete=False, newline="") as partial:
                partial.write(content)
            Path(partial.name).replace(target)
        return target

    def fault(self) -> Fault | None:
        """The fault to show now."""
        try:
            return Fault(**json.loads(self._faults.read_text()))
        except FileNotFoundError:
            return None


def set_fault(folder: Path, kind: Kind, fault: Fault | None) -> None:
    """Make a running stand-in fail from now on, or work again.

    :param folder: its inbox
    """
    file = fault_file(folder, kind)
    if fault is None:
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(fault)))
    partial.replace(file)


def fault_file(folder: Path, kind: Kind) -> Path:
    """Where the fault is written: beside the inbox, not among its messages."""
    return folder.parent / f"{folder.name}-faults" / f"{kind}.json"


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60] or "message"
