"""The keeper of the containers' processes: what it starts, sees and never leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from include.sandbox.node import spawn
from include.sandbox.node.runtime import Command, Running, Runtime, StartRefused

ENV = {"PATH": "/usr/bin:/bin"}


class Kept:
    """A runtime whose events are collected."""

    def __init__(self, state: Path, **options: float) -> None:
        self.state = state
        self.ended: asyncio.Queue[Running] = asyncio.Queue()
        self.lost = asyncio.Event()
        self.runtime = Runtime(state, self.ended.put_nowait, self.lost.set, owner_pid=os.getpid(), **options)  # type: ignore[arg-type]

    async def run(self, name: str, script: str, memory: int | None = None) -> Running:
        log = str(self.state / f"{name}.log")
        command = Command(name, ["/bin/sh", "-c", script], ENV, "/", log, {"name": name}, memory)
        return await self.runtime.start(command)

    async def end_of(self) -> Running:
        async with asyncio.timeout(10):
            return await self.ended.get()

    def keeper(self) -> int:
        return min(spawn_pids(str(self.state)))


def spawn_pids(state: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes()
                if b"node.keeper" in line and state.encode() in line:
                    found.append(int(entry.name))
    return found


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    """Ended; a zombie that nobody has collected yet counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    one = Kept(tmp_path)
    first = one.runtime
    assert await first.connect() == []
    yield one
    if not one.lost.is_set():
        await one.runtime.shutdown(1.0)
    await until(lambda: not spawn_pids(str(tmp_path)))
    async with asyncio.timeout(5):
        await first.collected()


async def test_a_container_runs_writes_its_log_and_ends(kept: Kept) -> None:
    started = await kept.run("one", "echo out; echo err >&2; exit 3")
    assert started.exit is None
    ended = await kept.end_of()
    assert ended.exit is not None
    assert (ended.container, ended.exit.code, ended.exit.signal) == ("one", 3, 0)
    lines = (kept.state / "one.log").read_text().splitlines()
    assert sorted(line.split(" ", 1)[1] for line in lines) == ["stderr F err", "stdout F out"]


async def test_a_signal_ends_the_whole_group(kept: Kept) -> None:
    await kept.run("group", "sleep 60 & echo $!; wait")
    await until(lambda: (kept.state / "group.log").read_text() != "")
    child = int((kept.state / "group.log").read_text().split()[-1])
    await kept.runtime.signal("group", signal.SIGTERM)
    ended = await kept.end_of()
    assert ended.exit is not None
    assert (ended.exit.code, ended.exit.signal) == (143, signal.SIGTERM)
    await until(lambda: gone(child))


async def test_nothing_of_a_container_outlives_its_first_process(kept: Kept) -> None:
    await kept.run("escape", "setsid sleep 60 & echo $!; sleep 0.2")
    await kept.end_of()
    escaped = int((kept.state / "escape.log").read_text().split()[-1])
    await until(lambda: gone(escaped))


async def test_a_program_that_does_not_exist_is_refused_with_the_systems_reason(kept: Kept) -> None:
    log = str(kept.state / "x.log")
    with pytest.raises(StartRefused, match="No such file"):
        await kept.runtime.start(Command("x", ["/does/not/exist"], ENV, "/", log, {}))
    with pytest.raises(StartRefused, match="/nowhere"):
        await kept.runtime.start(Command("y", ["/bin/true"], ENV, "/nowhere", log, {}))


async def test_a_container_past_its_memory_limit_is_killed_and_says_so(kept: Kept) -> None:
    hungry = f"exec {sys.executable} -S -c 'x = bytearray(200 << 20)\nimport time; time.sleep(60)'"
    await kept.run("hungry", hungry, memory=64 << 20)
    ended = await kept.end_of()
    assert ended.exit is not None
    assert ended.exit.out_of_memory
    assert ended.exit.code == 137


async def test_a_new_node_program_adopts_what_runs(kept: Kept) -> None:
    before = await kept.run("kept", "sleep 60")
    await kept.run("done", "exit 7")
    await kept.end_of()
    await kept.runtime.leave()
    again = Kept(kept.state)
    records = {record.container: record for record in await again.runtime.connect()}
    assert records["kept"] == before
    assert records["done"].exit is not None
    assert records["done"].exit.code == 7
    await again.runtime.remove("done")
    await again.runtime.signal("kept", signal.SIGKILL)
    assert (await again.end_of()).container == "kept"
    kept.runtime, kept.lost = again.runtime, again.lost


async def test_without_a_node_program_everything_ends_after_a_while(tmp_path: Path) -> None:
    alone = Kept(tmp_path, absence_seconds=0.5)
    await alone.runtime.connect()
    started = await alone.run("one", "sleep 60")
    await alone.runtime.leave()
    await until(lambda: gone(started.pid) and not spawn_pids(str(tmp_path)))
    await alone.runtime.collected()


async def test_a_killed_keeper_leaves_nothing_behind(kept: Kept) -> None:
    started = await kept.run("tree", "setsid sleep 60 & echo $!; sleep 60")
    await until(lambda: (kept.state / "tree.log").read_text() != "")
    escaped = int((kept.state / "tree.log").read_text().split()[-1])
    os.kill(kept.keeper(), signal.SIGKILL)
    await until(lambda: gone(started.pid) and gone(escaped))
    async with asyncio.timeout(5):
        await kept.lost.wait()
    assert await kept.runtime.connect() == []
    kept.lost.clear()


async def test_shutdown_asks_first(kept: Kept) -> None:
    await kept.run("polite", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    await until(lambda: "up" in (kept.state / "polite.log").read_text())
    await kept.runtime.shutdown(5.0)
    assert "bye" in (kept.state / "polite.log").read_text()
    kept.lost.set()


async def test_two_sandboxes_hold_different_subnets(kept: Kept, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = Kept(folder)
    await other.runtime.connect()
    assert other.runtime.subnet != kept.runtime.subnet
    await other.runtime.shutdown(1.0)


def test_a_process_is_known_by_its_start() -> None:
    assert spawn.start_time(os.getpid()) > 0
    assert spawn.start_time(2**22 + 1) == 0
