"""Owns one container inside the keeper: its process, its pipes, its log and how it ended.

Only the standard library is imported: the keeper starts in milliseconds.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

from include.sandbox.node import spawn
from include.sandbox.node.capture import LineFormatter, LogFile

_CHUNK = 1 << 16


class Container:
    """One started container: alive until ``exit`` says how it ended.

    :param request: the node program's request to start it
    :param token: marks all processes of the keeper
    :raises OSError: when the program, its folder or the log cannot be used
    """

    def __init__(self, request: dict[str, Any], token: str, selector: selectors.BaseSelector) -> None:
        self.name: str = request["container"]
        self.labels: dict[str, Any] = request["labels"]
        self.memory_limit: int | None = request["memory_limit"]
        self.out_of_memory = False
        self.exit: dict[str, Any] | None = None
        self._selector = selector
        self._log = LogFile(Path(request["log"]))
        env = {**request["env"], spawn.MARK: token, spawn.CONTAINER_MARK: self.name}
        out, err = os.pipe(), os.pipe()
        try:
            self.pid = spawn.start(request["argv"], env, request["cwd"], out[1], err[1])
        except OSError:
            self._log.close()
            os.close(out[0])
            os.close(err[0])
            raise
        finally:
            os.close(out[1])
            os.close(err[1])
        self.started_at = time.time()
        self._streams = {out[0]: LineFormatter("stdout"), err[0]: LineFormatter("stderr")}
        for descriptor in self._streams:
            os.set_blocking(descriptor, False)
            selector.register(descriptor, selectors.EVENT_READ, partial(self._capture, descriptor))

    def record(self) -> dict[str, Any]:
        """What the node program gets to know."""
        return {
            "container": self.name,
            "pid": self.pid,
            "started_at": self.started_at,
            "labels": self.labels,
            "exit": self.exit,
        }

    def signal(self, number: int) -> None:
        """Send a signal to the container's process group, if it still runs."""
        if self.exit is None:
            spawn.signal_group(self.pid, number)

    def limit_memory(self) -> None:
        """Kill the container when it has grown past its limit, as the kernel would."""
        if self.exit is None and self.memory_limit and spawn.anonymous_memory(self.pid) > self.memory_limit:
            self.out_of_memory = True
            self.signal(signal.SIGKILL)

    def ended(self, code: int) -> None:
        """Its first process ended (negative code: by that signal): so does everything else in it."""
        finished_at = time.time()
        spawn.signal_group(self.pid, signal.SIGKILL)
        spawn.kill_marked(spawn.CONTAINER_MARK, self.name)
        for descriptor in list(self._streams):
            while self._capture(descriptor):
                pass
            if descriptor in self._streams:
                self._close(descriptor)
        self._log.close()
        self.exit = {
            "code": code if code >= 0 else 128 - code,
            "signal": -code if code < 0 else 0,
            "out_of_memory": self.out_of_memory,
            "finished_at": finished_at,
        }

    def _capture(self, descriptor: int) -> bool:
        """Move one chunk from a pipe to the log; whether there may be more."""
        formatter = self._streams.get(descriptor)
        if formatter is None:
            return False
        try:
            chunk = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._close(descriptor)
            return False
        self._log.write(formatter.feed(chunk, time.time_ns()))
        return True

    def _close(self, descriptor: int) -> None:
        self._log.write(self._streams.pop(descriptor).close(time.time_ns()))
        self._selector.unregister(descriptor)
        os.close(descriptor)
