"""Steps of the database in a process of their own that dies by SIGKILL where it is told to.

A step names the points that it passes: each statement of its own by its first words, each ledger entry before and
after it is written, each event of the process that migrates, ``pg_restore`` at work, the old version's tests at
work. Of points with one name the first is meant. As a worker's task does, the process has a process group of its
own; what dies is the process alone, or the whole group.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from include.backup import copies
from include.backup.verify import verify
from include.database.clients import Running, running
from include.ledger import migrate as ledger_schema
from include.ledger.entry import Entry, NewEntry
from include.ledger.store import Ledger
from include.migration.process import Runner
from include.sandbox.postgres import SUPERUSER, Postgres
from include.steps.database.apply import migrate, verify_migrated
from include.steps.database.backup import prove, take
from include.steps.database.full_restore import restore_fully, state_restore
from include.steps.database.look import look
from include.steps.database.old_version import program_suite
from include.steps.database.rehearse import Trying, rehearse
from include.steps.database.restore_outcome import settle_restores
from include.steps.database.site import Site
from include.steps.database.way_back import state_way_back, take_back
from include.steps.run import ReleaseRun
from include.steps.stopping import resume_application, stop_application
from tests.contract.databases import child_environment
from tests.unit.steps.applications import Application

ROOT = Path(__file__).resolve().parents[2]
APPENDING = "stellwerk_append"
PATIENCE_SECONDS = 120.0
CHILD = "import sys; from tests.contract.deaths import main; main(sys.argv[1:])"


@dataclass(frozen=True)
class Work:
    """What a process needs to do a step of a run.

    :param ledger: its URL
    :param cluster: the file that holds the sizes of both slots
    """

    run: ReleaseRun
    site: Site
    ledger: str
    cluster: Path


class StandIn(Application):
    """An application whose sizes are in a file, so that what one process has scaled another one finds."""

    def __init__(self, run: ReleaseRun, file: Path) -> None:
        super().__init__(run)
        self.file = file
        if file.exists():
            self.sizes = json.loads(file.read_text())

    async def scale(self, name: str, replicas: int) -> None:
        reached(f"before scaling {self._slot(name)}")
        await super().scale(name, replicas)
        self.file.write_text(json.dumps(self.sizes))
        reached(f"after scaling {self._slot(name)}")


# -- the steps -----------------------------------------------------------------------------------------------


def _rehearse(work: Work, ledger: Ledger) -> Any:
    planned = work.site.plan.rehearsal.old_version
    assert planned is not None
    return rehearse(work.run, work.site, ledger, Trying(program_suite(planned, work.run.release.previous)))


def _before_the_gate(work: Work, ledger: Ledger) -> Any:
    take(work.run, work.site, ledger, "rehearsal")
    prove(work.run, work.site, ledger, "rehearsal")
    look(work.run, work.site, ledger)
    return _rehearse(work, ledger)


def _behind_the_gate(work: Work, ledger: Ledger) -> Any:
    take(work.run, work.site, ledger, "safety")
    prove(work.run, work.site, ledger, "safety")
    migrate(work.run, work.site, ledger)
    return verify_migrated(work.run, work.site, ledger)


def _scratch(work: Work, _: Ledger) -> Any:
    found = verify("one", work.site.workshop, now=datetime.now(UTC), scratch=work.site.database)
    return [found.verdict, found.level]


def _over(_: str) -> bool:
    """No run but this one goes on."""
    return True


def _stop(work: Work, ledger: Ledger) -> Any:
    cluster: Any = StandIn(work.run, work.cluster)
    return asyncio.run(stop_application(work.run, cluster, ledger, over=_over))


def _resume(work: Work, ledger: Ledger) -> Any:
    cluster: Any = StandIn(work.run, work.cluster)
    settle_restores(work.run, ledger, lambda: work.site)
    return asyncio.run(resume_application(work.run, cluster, ledger, over=_over))


def _restore(work: Work, ledger: Ledger) -> Any:
    _stop(work, ledger)
    return restore_fully(work.run, work.site, ledger)


STEPS: dict[str, Callable[[Work, Ledger], Any]] = {
    "before the gate": _before_the_gate,
    "behind the gate": _behind_the_gate,
    "scratch restore": _scratch,
    "rehearse": _rehearse,
    "migrate": lambda work, ledger: migrate(work.run, work.site, ledger),
    "state the way back": lambda work, ledger: state_way_back(work.run, work.site, ledger),
    "take back": lambda work, ledger: take_back(work.run, work.site, ledger),
    "state the restore": lambda work, ledger: state_restore(work.run, work.site, ledger),
    "stop": _stop,
    "restore": _restore,
    "resume": _resume,
}


# -- inside of the process -----------------------------------------------------------------------------------

_EVENTS = {"revision": "begins", "ran": "ran"}

_wanted = ""
_group = False
_passed: list[str] = []


def reached(point: str) -> None:
    """The process is at a point; it may be its last one."""
    if point in _passed:
        return
    _passed.append(point)
    if point == _wanted:
        os.killpg(0, signal.SIGKILL) if _group else os.kill(os.getpid(), signal.SIGKILL)


def _name_of(query: Any) -> str:
    text = query.decode() if isinstance(query, bytes) else query
    text = text if isinstance(text, str) else text.as_string(None)
    return " ".join(text.split()[:2])


def _instrument() -> None:
    """Let everything that has an effect tell the point before it."""
    execute, wait, following, append = psycopg.Connection.execute, Running.wait, Runner.next, Ledger.append

    def executed(self: Any, query: Any, *given: Any, **more: Any) -> Any:
        reached(f"statement {_name_of(query)}")
        return execute(self, query, *given, **more)

    def waited(self: Running, watch: Callable[[], None], **_: Any) -> None:
        def watched() -> None:
            reached("old version at work")
            watch()

        wait(self, watched, every_seconds=0.2)

    def next_event(self: Runner, timeout: float) -> Any:
        event = following(self, timeout)
        if event is not None and "up" in event:  # of one that renders nothing is told
            way = "up to" if event["up"] else "down from"
            reached(f"{_EVENTS[event['event']]} {way} {event['revision']}")
        return event

    def appended(self: Ledger, new: NewEntry) -> Entry:
        reached(f"before {new.kind}")
        entry = append(self, new)
        reached(f"after {new.kind}")
        return entry

    @contextlib.contextmanager
    def restoring(*given: Any, **more: Any) -> Iterator[Running]:
        with running(*given, **more) as program:
            yield replace(program, feed=_Fed(program.feed))
        reached("pg_restore has ended")

    psycopg.Connection.execute = executed  # type: ignore[method-assign]
    Running.wait = waited  # type: ignore[method-assign]
    Runner.next = next_event  # type: ignore[method-assign]
    Ledger.append = appended  # type: ignore[method-assign]
    copies.running = restoring


class _Fed:
    """What is handed to ``pg_restore``."""

    def __init__(self, feed: Any) -> None:
        self.feed = feed

    def write(self, chunk: bytes) -> int:
        half = len(chunk) // 2
        self.feed.write(chunk[:half])
        self.feed.flush()
        reached("pg_restore at work")
        return half + int(self.feed.write(chunk[half:]))


def main(argv: list[str]) -> None:
    """Do the step and print what it has returned, with the points that it has passed."""
    global _wanted, _group
    file, step, _wanted, group = argv
    _group = group == "group"
    _instrument()
    work: Work = pickle.loads(Path(file).read_bytes())
    ledger = Ledger(work.ledger)
    try:
        told = STEPS[step](work, ledger)
    except Exception as error:
        told = {"error": type(error).__name__, "said": str(error)}
    print(json.dumps({"told": told, "points": _passed}, default=str))


# -- outside of it -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deaths:
    """Starts the processes, and looks at what those that died have left."""

    work: Work
    folder: Path
    admin: str

    def start(self, step: str, point: str = "", *, group: bool = False) -> subprocess.Popen[str]:
        file = self.folder / "work"
        file.write_bytes(pickle.dumps(self.work))
        argv = [sys.executable, "-c", CHILD, str(file), step, point, "group" if group else "alone"]
        return subprocess.Popen(
            argv,
            cwd=ROOT,
            env=child_environment(TMPDIR=str(self.folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def done(self, step: str) -> Any:
        """What a process that nobody kills returns.

        The server may take a moment to see that a killed one is gone: its locks are waited for.
        """
        for _ in range(20):
            told, _points = answered(self.start(step))
            if not (isinstance(told, dict) and str(told.get("error", "")).endswith("Busy")):
                break
        return told

    def killed(self, step: str, point: str, *, group: bool = False) -> None:
        """Start it and let it die at the point; nothing of it lives on, neither here nor on the server."""
        for _ in range(20):
            process = self.start(step, point, group=group)
            said, complaints = process.communicate(timeout=PATIENCE_SECONDS)
            if process.returncode == -signal.SIGKILL:
                break
            assert "Busy" in said, f"{step}: {point!r} was not reached\n{said}\n{complaints}"
        else:
            raise AssertionError(f"{step}: it is busy for ever\n{said}")
        until(f"{step}, {point}: its processes are gone", lambda: not members(process.pid), seconds=10)
        until(f"{step}, {point}: its backends are gone", lambda: not self.backends(), seconds=10)

    def backends(self) -> list[tuple[Any, ...]]:
        """What works on the server for Stellwerk, but for those who write the ledger."""
        with psycopg.connect(self.admin, autocommit=True, application_name="somebody") as opened:
            return opened.execute(
                "SELECT datname, application_name, state, left(query, 60) FROM pg_stat_activity "
                "WHERE application_name LIKE 'stellwerk%' AND application_name <> 'stellwerk-ledger'"
            ).fetchall()


def answered(process: subprocess.Popen[str]) -> tuple[Any, list[str]]:
    """What a process has returned, and the points that it has passed."""
    said, complaints = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, complaints
    found = json.loads(said.splitlines()[-1])
    return found["told"], found["points"]


def until(what: str, holds: Callable[[], Any], *, seconds: float) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)


def members(session: int) -> set[int]:
    """The processes of a session, with what they have started in sessions of their own."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            above = {process.pid, *(parent.pid for parent in process.parents())}
            if os.getsid(process.pid) == session or session in above:
                found.add(process.pid)
    return found


def new_ledger(server: Postgres, name: str = "deaths") -> str:
    """The URL of a ledger of its own, empty."""
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as opened:
        opened.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        opened.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    ledger_schema.migrate(server.url(name, SUPERUSER), role=APPENDING, password=server.password(APPENDING))
    return server.url(name, APPENDING)
