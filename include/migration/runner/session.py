"""Requests in, JSON lines out, and an end as soon as nobody listens any more."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import queue
import select
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Emit = Callable[[dict[str, Any]], None]

_HANDLERS = {"inspect": "inspection", "render": "rendering", "run": "execution"}
_PARENT_GONE = 75  # EX_TEMPFAIL
_LOOK_SECONDS = 0.5


class Refused(Exception):
    """The runner will not do it.

    :param kind: word for the starter: ``elsewhere``, ``busy``, ``moved``, ``tree`` …
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def main() -> int:
    """Answer requests until one fails, or was the one that runs revisions; returns the exit code."""
    emit = _private_stdout()
    requests = _requests()
    request = json.loads(requests.get())
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    sys.path[:0] = request["tree"]["search_path"]
    while True:
        try:
            module = importlib.import_module(f".{_HANDLERS[request['do']]}", __package__)
            module.answer(request, emit)
        except BaseException as error:  # noqa: BLE001 - application code may raise anything, SystemExit, too
            emit({"event": "failed", **account(error)})
            return 1
        if request["do"] == "run":
            return 0
        request = json.loads(requests.get())


def account(error: BaseException) -> dict[str, Any]:
    """What is to be told of an error: kind, SQLSTATE where the database raised it, message, place.

    Of the message only its first line: what follows may quote rows and parameters.
    """
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")
    ]
    place = frames[-1] if frames else None
    original = getattr(error, "orig", None) or error
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    return {
        "kind": error.kind if isinstance(error, Refused) else _kind(original, state),
        "sqlstate": state,
        "message": f"{type(original).__name__}: {str(original).strip().partition(chr(10))[0]}"[:4000],
        "statement": str(getattr(error, "statement", None) or "")[:4000],
        "places": [[frame.filename, frame.lineno] for frame in frames[-40:]],
        "file": place.filename if place else "",
        "line": place.lineno if place else 0,
    }


def _kind(error: BaseException, state: str | None) -> str:
    if state:
        return "sql"
    # psycopg and psycopg2 alike: without a state from the server it is the connection.
    return "connection" if type(error).__name__ == "OperationalError" else "code"


def _private_stdout() -> Emit:
    # Whatever the application prints goes to standard error: standard output speaks JSON only.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lock = threading.Lock()

    def emit(event: dict[str, Any]) -> None:
        with lock:
            channel.write(json.dumps(event) + "\n")
            channel.flush()

    return emit


def _requests() -> queue.SimpleQueue[bytes]:
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lifeline, os.getppid(), requests), daemon=True).start()
    return requests


def _listen(lifeline: int, parent: int, requests: queue.SimpleQueue[bytes]) -> None:
    """Take requests, a line each, and end at once when the starter is gone.

    Then its end of the pipe closes, or this process gets another parent. The database notices
    (``client_connection_check_interval``) and ends the backend.
    """
    received = b""
    while os.getppid() == parent:
        readable, _, _ = select.select([lifeline], [], [], _LOOK_SECONDS)
        if not readable:
            continue
        part = os.read(lifeline, 1 << 16)
        if not part:
            break
        *lines, received = (received + part).split(b"\n")
        for line in lines:
            requests.put(line)
    _forget_password()
    os._exit(_PARENT_GONE)


def _forget_password() -> None:
    """The starter was to remove the password's file, and is gone."""
    file = Path(os.environ.get("PGPASSFILE", ""))
    if file.parent.name.startswith("stellwerk-"):
        with contextlib.suppress(OSError):
            file.unlink()
            file.parent.rmdir()
