"""The demo ERP as processes, and a stand-in for a Service before them: what its tests have in common."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psycopg
from psycopg import sql

from include.sandbox.erp.build import build_folder
from include.sandbox.erp.versions import VERSIONS, ErpVersion
from include.sandbox.postgres import SUPERUSER, Postgres
from include.sandbox.processes import Process, free_port, wait_until

PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


class Pod:
    """One process of the ERP, started from its image folder with what a pod's environment would hold."""

    def __init__(self, version: ErpVersion, database_url: str, state: Path, **env: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = build_folder(version)
        self.name = f"{version.version}-{self.port}"
        own = {
            "PATH": PATH,
            "DATABASE_URL": database_url,
            "BIND_ADDRESS": "127.0.0.1",
            "PORT": str(self.port),
            "SLOT": "blue",
            "POD_NAME": self.name,
            "DRAIN_SECONDS": "0",  # who does not look at leaving does not wait for it
        }
        self.process = Process(
            self.name,
            [self.folder / "app" / "run"],
            env={**version.env, **own, **env},
            log=state / f"{self.name}.log",
            stop_timeout=5,
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process.start()
        wait_until(
            lambda: self.get("/healthz").status_code == 200,
            deadline_seconds=20,
            what=f"{self.name} to answer",
            process=self.process,
        )

    def get(self, path: str) -> httpx.Response:
        """One request on a connection of its own."""
        return httpx.get(f"{self.url}{path}", timeout=5)

    def ready(self) -> tuple[int, str]:
        """Status and reason of ``/readyz``."""
        answer = self.get("/readyz")
        return answer.status_code, answer.json()["reason"] or ""

    def until_ready(self) -> None:
        """Wait until it is ready."""
        wait_until(
            lambda: self.ready()[0] == 200,
            deadline_seconds=20,
            what=f"{self.name} to be ready",
            process=self.process,
        )

    def terminate(self) -> None:
        """What a kubelet sends first."""
        os.kill(self.process.pid, signal.SIGTERM)


@contextlib.contextmanager
def pod(version: str | ErpVersion, database_url: str, state: Path, **env: str) -> Iterator[Pod]:
    """A pod that answers."""
    running = Pod(VERSIONS[version] if isinstance(version, str) else version, database_url, state, **env)
    try:
        running.start()
        yield running
    finally:
        running.process.stop()


def new_database(postgres: Postgres, name: str) -> str:
    """Make an empty database of the ERP's role; returns its URL."""
    with psycopg.connect(postgres.url("postgres", SUPERUSER), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier("valeo_erp"))
        )
    return postgres.url(name, "valeo_erp")


class Service:
    """Forwards whole TCP connections to its endpoints, as kube-proxy does; established ones do not move."""

    def __init__(self, *endpoints: int) -> None:
        self.endpoints = set(endpoints)
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Service]:
        """Forward while in this context."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0.1)  # transports close in later rounds of the loop

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            port = random.choice(sorted(self.endpoints))
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except BaseException as error:
            writer.transport.abort()
            if isinstance(error, (OSError, IndexError)):
                return
            raise
        copies = [asyncio.ensure_future(_copy(reader, back)), asyncio.ensure_future(_copy(there, writer))]
        try:
            await asyncio.wait(copies)
        finally:
            for task in copies:
                task.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
            for end in (writer, back):
                end.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.write_eof()
