"""The process in which the application's Alembic runs: started, listened to, ended."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote, quote_plus

from include.errors import TreeUnusable
from include.migration.tree import Tree

log = logging.getLogger(__name__)

MAIN: Final = Path(__file__).with_name("runner") / "__main__.py"
_END_SECONDS: Final = 5.0
_LAST_LINES: Final = 40
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH")

Event = Mapping[str, Any]


class Runner:
    """One runner process. It ends when this one ends, however that happens: its standard input closes.

    :param environment: its whole environment; without a password in it
    :param hidden: a password that the application may print all the same; it is taken out of whatever is said
    """

    def __init__(self, tree: Tree, environment: Mapping[str, str], *, hidden: str = "") -> None:
        self._tree = tree
        self._hidden = hidden
        self.tail: list[str] = []
        self._said_all = threading.Event()
        self._events: queue.Queue[Event | None] = queue.Queue()
        argv = [*tree.interpreter, str(MAIN)]
        try:
            self._process = subprocess.Popen(
                argv,
                cwd=tree.folder,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise TreeUnusable(
                "the tree's Python does not start",
                expected=f"a program at {argv[0]}, and the folder {tree.folder}",
                seen=str(error),
            ) from error
        self._readers = [
            threading.Thread(target=reader, args=(stream,), daemon=True)
            for reader, stream in ((self._listen, self._process.stdout), (self._log, self._process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ask(self, request: Mapping[str, Any]) -> None:
        """Say what it is to do; more than once, but for a request that runs revisions.

        One that has ended answers nothing more: see :meth:`next`.
        """
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            return
        with contextlib.suppress(BrokenPipeError):  # it says itself why it ended
            self._process.stdin.write(json.dumps({**request, "tree": self._tree.request()}).encode() + b"\n")
            self._process.stdin.flush()

    def next(self, timeout: float) -> Event | None:
        """The next event, or None when there was none within ``timeout`` seconds.

        :raises EOFError: the runner has said everything
        """
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        if event is None:
            self._events.put(None)
            raise EOFError
        return event

    def events(self, *, seconds: float) -> Iterator[Event]:
        """All events, up to the end.

        :param seconds: the longest that it may stay silent
        :raises TreeUnusable: it stayed silent for longer
        """
        while True:
            try:
                event = self.next(seconds)
            except EOFError:
                return
            if event is None:
                raise TreeUnusable("the tree's process gives no answer", expected=f"one within {seconds:g} s")
            yield event

    def end(self) -> int:
        """End it, at once where it still runs; returns its exit code. May be called again."""
        try:
            self._process.wait(_END_SECONDS if self._said_all.is_set() else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
        code = self._process.wait(_END_SECONDS)
        for reader in self._readers:
            reader.join(_END_SECONDS)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        return code

    def kill(self) -> None:
        """SIGKILL, and nothing else: safe in a signal handler."""
        self._process.kill()

    def _listen(self, stream: IO[bytes]) -> None:
        for line in stream:
            try:
                event = json.loads(line)
                event |= {name: self._cleaned(event[name]) for name in ("message", "statement") if name in event}
                assert isinstance(event["event"], str)
            except (ValueError, KeyError, TypeError, AssertionError):
                event = {"event": "nonsense"}
            self._events.put(event)
        self._said_all.set()
        self._events.put(None)

    def _log(self, stream: IO[bytes]) -> None:
        for line in stream:
            text = self._cleaned(line.decode(errors="replace").rstrip())
            log.info("alembic: %s", text)
            self.tail = [*self.tail[-_LAST_LINES:], text]

    def _cleaned(self, text: str) -> str:
        for form in _forms(self._hidden):
            text = text.replace(form, "***")
        return text


def quiet_environment() -> dict[str, str]:
    """The environment for work that needs no database."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def _forms(password: str) -> tuple[str, ...]:
    """How a password may be written: as it is, in a URL, in JSON; longest first."""
    if not password:
        return ()
    written = {password, quote(password, safe=""), quote_plus(password), json.dumps(password)[1:-1]}
    return tuple(sorted(written, key=len, reverse=True))
