"""What every answer has in common: identity headers, request id, metrics, log line, ``Connection: close``."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .drain import Drain
from .metrics import Metrics
from .settings import Settings

log = logging.getLogger("erp.request")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CONVERTER = re.compile(r":\w+\}")  # ``{id:int}`` is shown as ``{id}``
HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


class Observed:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics, drain: Drain) -> None:
        self._app = app
        self._identity = {"X-Slot": settings.slot, "X-Version": settings.version, "X-Pod": settings.pod}
        self._metrics = metrics
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; an exception becomes a 500 that carries the request id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(self, scope, send)
        self._drain.enter()
        try:
            await self._app(scope, receive, exchange.send)
        except Exception:
            log.exception("unhandled", extra={"fields": {"request_id": exchange.request_id}})
            if exchange.status:  # too late for another answer: the connection is cut, the client sees it
                raise
            failure = JSONResponse({"error": "internal", "request_id": exchange.request_id}, 500)
            await failure(scope, receive, exchange.send)
        finally:
            exchange.close()


class _Exchange:
    """One request and its answer."""

    def __init__(self, observed: Observed, scope: Scope, send: Send) -> None:
        self._observed = observed
        self._scope = scope
        self._send = send
        self._began = time.monotonic()
        self._open = True
        self.status = 0
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        """Pass the answer on, its head completed."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            for name, value in self._observed._identity.items():  # noqa: SLF001 - one mechanism in two classes
                headers[name] = value
            stream = headers.get("content-type", "").startswith("text/event-stream")
            if stream or self._observed._drain.draining:  # noqa: SLF001
                headers["Connection"] = "close"
            if stream:
                self.close()  # an open stream is no request in flight, and its length is no latency
        await self._send(message)

    def close(self) -> None:
        """Count and log the exchange, once."""
        if not self._open:
            return
        self._open = False
        self._observed._drain.leave()  # noqa: SLF001
        seconds = time.monotonic() - self._began
        path = template(self._scope)
        method = self._scope["method"]
        self._observed._metrics.observe(method, path, self.status, seconds)  # noqa: SLF001
        if path not in HEALTH_PATHS:
            fields: dict[str, Any] = {
                "request_id": self.request_id,
                "method": method,
                "path": self._scope["path"],
                "status": self.status,
                "seconds": round(seconds, 6),
            }
            log.info("request", extra={"fields": fields})


def template(scope: Scope) -> str:
    """The route's template as the metrics' path: bounded, whatever is requested."""
    return _CONVERTER.sub("}", str(getattr(scope.get("route"), "path", "unmatched")))
