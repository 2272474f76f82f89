"""The process: puts the parts together, serves, and leaves in an orderly way on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from .api import Api
from .database import Database
from .drain import Drain
from .events import Hub
from .faults import Injector
from .logs import configure
from .metrics import Metrics
from .settings import Settings
from .web import Observed

# Longer than clients keep idle connections: the side that closes first must be the client, because a
# request sent while the server closes is lost.
_KEEP_ALIVE_SECONDS = 75


def create_app(settings: Settings, drain: Drain) -> Starlette:
    """The ASGI application with its background work in its lifespan."""
    metrics = Metrics()
    database = Database(settings)
    injector = Injector(settings.faults)
    hub = Hub(metrics, drain)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await database.open()
        work = [
            asyncio.create_task(hub.run()),
            asyncio.create_task(injector.run()),
            asyncio.create_task(database.listen(lambda order: hub.publish("order", order))),
        ]
        try:
            yield
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await database.close()

    return Starlette(
        routes=[*Api(settings, database, hub, drain, injector, metrics).routes()],
        middleware=[Middleware(Observed, settings=settings, metrics=metrics, drain=drain)],
        lifespan=lifespan,
    )


class DrainingServer(uvicorn.Server):
    """uvicorn, except that the first signal drains and only the end of draining (or a second one) stops."""

    def __init__(self, config: uvicorn.Config, drain: Drain) -> None:
        super().__init__(config)
        self._drain = drain
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[Any] | None = None) -> None:
        """Begin to listen; from now on a signal drains."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._leaving = asyncio.create_task(self._leave())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT."""
        if self._loop is None or (self._drain.draining and sig == signal.SIGINT):
            self.should_exit = True
        else:
            self._loop.call_soon_threadsafe(self._drain.begin)

    async def _leave(self) -> None:
        await self._drain.wait()
        self.should_exit = True


def serve() -> None:
    """Run until told to leave.

    :raises ValueError: the environment is incomplete or malformed
    """
    settings = Settings.from_environment()
    configure(settings)
    drain = Drain(settings.drain_seconds, settings.drain_limit_seconds)
    config = uvicorn.Config(
        create_app(settings, drain),
        host=settings.address,
        port=settings.port,
        http="httptools",
        ws="none",
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=2,
    )
    DrainingServer(config, drain).run()
