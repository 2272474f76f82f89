"""Owns the processes of all containers of one node, so that the node program itself may be restarted.

What containerd is to a kubelet: a small process between the node program and the containers. It starts them,
writes their logs, reaps them and remembers how they ended. The node program talks to it over a Unix socket with
one JSON object a line; a restarted node program connects, lists what runs and adopts it.

Nothing outlives the sandbox:

- with ``--supervised``, whoever started the keeper ends it, and it ends everything;
- else the node program started it, and it ends everything at once when the *owner* (the process that started the
  node program) is gone, and when no node program has been connected for ``--absence-seconds``;
- a container's first process dies with the keeper (PDEATHSIG), whatever kills it;
- a watchdog, forked from the keeper, kills what such a process leaves behind, found by its environment.

The lock on ``keeper.lock`` is held by keeper and watchdog together: a new keeper starts only when no process of
the old one can be alive. Only the standard library is imported: it starts in milliseconds and stays small.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from include.sandbox.node import spawn
from include.sandbox.node.claims import claim_subnet, take_lock
from include.sandbox.node.contained import Container

SOCKET = "keeper.sock"
_END_SECONDS = 5.0
_MEMORY_EVERY_SECONDS = 0.5


@dataclass
class Keeper:
    """The event loop: a listening socket, at most one client, the containers' pipes, the owner's end."""

    listener: socket.socket
    subnet: int
    absence_seconds: float
    owner: int | None
    supervised: bool
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    containers: dict[str, Container] = field(default_factory=dict)
    selector: selectors.DefaultSelector = field(default_factory=selectors.DefaultSelector)
    client: socket.socket | None = None
    received: bytes = b""
    alone_since: float = field(default_factory=time.monotonic)
    ending_at: float | None = None
    watchdog: int = 0
    _memory_at: float = 0.0

    def run(self) -> None:
        """Serve until the owner is gone, nobody asks any more, or the node program says so."""
        self._fork_watchdog()
        wake_read, wake_write = socket.socketpair()
        wake_read.setblocking(False)
        wake_write.setblocking(False)
        signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)
        self.selector.register(wake_read, selectors.EVENT_READ, lambda: wake_read.recv(4096))
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        if self.owner is not None:
            self.selector.register(self.owner, selectors.EVENT_READ, self._owner_gone)
        while not self._finished():
            for key, _ in self.selector.select(timeout=0.25):
                key.data()
            self._reap()
            self._watch_memory()
        for container in self.containers.values():
            container.signal(signal.SIGKILL)
        spawn.kill_marked(spawn.MARK, self.token)

    def _signalled(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD and self.ending_at is None:
            self._end(_END_SECONDS)

    def _end(self, seconds: float) -> None:
        self.ending_at = time.monotonic() + seconds
        for container in self.containers.values():
            container.signal(signal.SIGTERM)

    def _owner_gone(self) -> None:
        self.ending_at = time.monotonic()

    def _finished(self) -> bool:
        now = time.monotonic()
        if self.client is None and now - self.alone_since > self.absence_seconds:
            return True
        if self.ending_at is None:
            return False
        return now >= self.ending_at or all(container.exit for container in self.containers.values())

    def _fork_watchdog(self) -> None:
        stay, watch = os.pipe()
        pid = os.fork()
        if pid:
            os.close(stay)
            self._alive_pipe = watch  # closes when this process ends, however it ends
            self.watchdog = pid
            return
        os.close(watch)
        os.setsid()
        self.listener.close()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.read(stay, 1)
        for _ in range(100):
            if not spawn.kill_marked(spawn.MARK, self.token):
                break
            time.sleep(0.02)
        os._exit(0)

    # -- the node program's requests ---------------------------------------------------------------

    def _accept(self) -> None:
        connection, _ = self.listener.accept()
        self._drop_client()
        connection.setblocking(False)
        self.client, self.received = connection, b""
        self.selector.register(connection, selectors.EVENT_READ, self._read)

    def _drop_client(self) -> None:
        if self.client is None:
            return
        self.selector.unregister(self.client)
        self.client.close()
        self.client = None
        self.alone_since = time.monotonic()

    def _read(self) -> None:
        if self.client is None:
            return
        try:
            data = self.client.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop_client()
            return
        *lines, self.received = (self.received + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            try:
                answer = self._answer(request)
            except (OSError, KeyError, ValueError) as problem:
                answer = {"error": f"{type(problem).__name__}: {problem}"}
            self._send({"id": request["id"], **answer})

    def _send(self, message: dict[str, Any]) -> None:
        if self.client is None:
            return
        try:
            self.client.sendall(json.dumps(message).encode() + b"\n")
        except OSError:  # also a node program that does not read: it reconnects and lists
            self._drop_client()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request["op"]:
            case "start":
                container = Container(request, self.token, self.selector)
                self.containers[container.name] = container
                return container.record()
            case "signal":
                self.containers[request["container"]].signal(request["signal"])
            case "list":
                records = [container.record() for container in self.containers.values()]
                return {"subnet": self.subnet, "supervised": self.supervised, "containers": records}
            case "remove":
                if self.containers[request["container"]].exit is not None:
                    del self.containers[request["container"]]
            case "shutdown":
                self._end(request["grace"])
        return {}

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.watchdog:
                self._fork_watchdog()
            for container in list(self.containers.values()):
                if container.pid == pid and container.exit is None:
                    container.ended(os.waitstatus_to_exitcode(status))
                    self._send({"event": "exited", **container.record()})

    def _watch_memory(self) -> None:
        now = time.monotonic()
        if now - self._memory_at < _MEMORY_EVERY_SECONDS:
            return
        self._memory_at = now
        for container in self.containers.values():
            container.limit_memory()


def main() -> None:
    """Run the keeper of one state folder."""
    parser = argparse.ArgumentParser(prog="python -m include.sandbox.node.keeper")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--owner-pid", type=int, default=0, help="end when this process does; 0: nobody")
    parser.add_argument(
        "--supervised", action="store_true", help="somebody else ends this keeper: node programs come and go"
    )
    parser.add_argument("--absence-seconds", type=float, default=10.0)
    parser.add_argument("--subnet", type=int, default=1, help="the pod subnet to try first")
    options = parser.parse_args()
    os.umask(0o077)
    options.state.mkdir(parents=True, exist_ok=True)
    take_lock(options.state / "keeper.lock", seconds=10.0)
    spawn.become_subreaper()
    owner = None
    if options.owner_pid > 1:
        with contextlib.suppress(ProcessLookupError):
            owner = os.pidfd_open(options.owner_pid)
        if owner is None:
            sys.exit("the owner is gone")
    subnet, _claim = claim_subnet(options.subnet)
    os.chdir(options.state)  # the path of a socket is short, that of a state folder need not be
    Path(SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(SOCKET)
    listener.listen(4)
    listener.setblocking(False)
    absence = float("inf") if options.supervised else options.absence_seconds
    Keeper(listener, subnet, absence, owner, supervised=options.supervised).run()


if __name__ == "__main__":
    main()
