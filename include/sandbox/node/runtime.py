"""Owns the node program's side of the keeper: start it or adopt it, ask it, hear how containers end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from include.errors import SandboxError
from include.sandbox.node.keeper import SOCKET

_ROOT = Path(__file__).resolve().parents[3]
_ANSWER_SECONDS = 10.0


class KeeperLost(SandboxError):
    """The keeper ended or cannot be started; with it, all containers have ended."""

    retryable = True


class StartRefused(SandboxError):
    """The operating system cannot run what a container asks for."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended.

    :param code: exit code as a shell counts it (128 + signal when a signal ended it)
    :param finished_at: epoch seconds
    """

    code: int
    signal: int
    out_of_memory: bool
    finished_at: float


@dataclass(frozen=True, slots=True)
class Running:
    """A container the keeper knows; ``exit`` is None while it lives. Times in epoch seconds."""

    container: str
    pid: int
    started_at: float
    labels: Mapping[str, Any]
    exit: Exit | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Running:
        """Read the keeper's record."""
        ended = record["exit"]
        return cls(
            container=record["container"],
            pid=record["pid"],
            started_at=record["started_at"],
            labels=record["labels"],
            exit=Exit(**ended) if ended else None,
        )


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: everything the operating system needs, nothing of Kubernetes."""

    container: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    cwd: str
    log: str
    labels: Mapping[str, Any]
    memory_limit: int | None = None


@dataclass
class Runtime:
    """A connection to the keeper of one state folder.

    :param on_exit: called, in the event loop, for every container that ends
    :param on_lost: called once when the keeper is gone
    """

    state: Path
    on_exit: Callable[[Running], None]
    on_lost: Callable[[], None]
    owner_pid: int = 0
    absence_seconds: float = 10.0
    subnet: int = 1
    supervised: bool = False
    _writer: asyncio.StreamWriter | None = None
    _reading: asyncio.Task[None] | None = None
    _keepers: list[asyncio.subprocess.Process] = field(default_factory=list)
    _waiting: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def connect(self, *, deadline_seconds: float = 20.0) -> list[Running]:
        """Adopt the keeper that runs, or start one; returns the containers it has.

        :raises KeeperLost: when none answers before the deadline
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + deadline_seconds
        starting: asyncio.subprocess.Process | None = None
        while True:
            try:
                return await self._open()
            except (OSError, KeeperLost):
                if starting is None or starting.returncode is not None:
                    starting = await self._start()
                    self._keepers.append(starting)
            if loop.time() > deadline:
                raise KeeperLost(
                    "the keeper of the containers does not answer", remedy=f"see {self.state / 'keeper.log'}"
                )
            await asyncio.sleep(0.01)

    async def _start(self) -> asyncio.subprocess.Process:
        with (self.state / "keeper.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-S", "-m", "include.sandbox.node.keeper"),
                *("--state", str(self.state.resolve()), "--owner-pid", str(self.owner_pid)),
                *("--absence-seconds", str(self.absence_seconds), "--subnet", str(self.subnet)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=_ROOT,
                env={"PATH": os.defpath, "PYTHONPATH": str(_ROOT)},
                start_new_session=True,
            )

    async def _open(self) -> list[Running]:
        folder = os.open(self.state, os.O_PATH)
        try:  # the path of a socket is short, that of a state folder need not be
            reader, self._writer = await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{SOCKET}")
        finally:
            os.close(folder)
        self._reading = asyncio.create_task(self._read(reader), name="keeper")
        answer = await self._ask({"op": "list"})
        self.subnet = answer["subnet"]
        self.supervised = answer["supervised"]
        return [Running.of(record) for record in answer["containers"]]

    async def _read(self, reader: asyncio.StreamReader) -> None:
        buffer = b""
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self._receive(json.loads(line))
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(KeeperLost("the keeper of the containers ended"))
        self._close()
        self.on_lost()

    def _receive(self, message: dict[str, Any]) -> None:
        if "event" in message:
            self.on_exit(Running.of(message))
            return
        future = self._waiting.pop(message["id"], None)
        if future is not None and not future.done():
            future.set_result(message)

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._writer is None:
            raise KeeperLost("no keeper is connected")
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._writer.write(json.dumps({"id": number, **request}).encode() + b"\n")
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await future
        except (TimeoutError, OSError) as problem:
            raise KeeperLost("the keeper of the containers does not answer") from problem
        finally:
            self._waiting.pop(number, None)

    async def start(self, command: Command) -> Running:
        """Start a container's process.

        :raises StartRefused: with the operating system's reason
        """
        answer = await self._ask(
            {
                "op": "start",
                "container": command.container,
                "argv": list(command.argv),
                "env": dict(command.env),
                "cwd": command.cwd,
                "log": command.log,
                "labels": dict(command.labels),
                "memory_limit": command.memory_limit,
            }
        )
        if "error" in answer:
            raise StartRefused(answer["error"])
        return Running.of(answer)

    async def signal(self, container: str, number: int) -> None:
        """Send a signal to a container's process group; nothing happens when it has ended."""
        await self._ask({"op": "signal", "container": container, "signal": int(number)})

    async def remove(self, container: str) -> None:
        """Let the keeper forget an ended container."""
        await self._ask({"op": "remove", "container": container})

    async def shutdown(self, grace_seconds: float) -> None:
        """End all containers, then the keeper itself; returns when it is gone."""
        self.on_lost = lambda: None
        await self._ask({"op": "shutdown", "grace": grace_seconds})
        if self._reading is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds + 3.0):
                    await self._reading
                    await self.collected()
        self._close()

    async def collected(self) -> None:
        """Wait until the keepers that were started from here have ended and the event loop knows."""
        for keeper in self._keepers:
            await keeper.wait()

    async def leave(self) -> None:
        """Disconnect; the containers stay for the next node program."""
        self.on_lost = lambda: None
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
