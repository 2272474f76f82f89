"""The routes: pages and API for users, health and metrics for machines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import date
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from .database import Database, NoSuchArticle, NotYet, Unavailable
from .drain import Drain
from .events import Hub
from .faults import Injector
from .metrics import CONTENT_TYPE, Metrics
from .settings import Settings

_PAGE = Path(__file__).with_name("page.html")
_MOST_ORDERS = 100
_MOST_QUANTITY = 10_000
_MOST_ID = 2**31 - 1
_WRONG_FACTOR = 10

Handler = Callable[[Request], Awaitable[Response]]


class BadInput(ValueError):
    """The client's input is wrong; the message goes to the client."""


class Api:
    """The handlers over what they need."""

    def __init__(
        self, settings: Settings, database: Database, hub: Hub, drain: Drain, injector: Injector, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._database = database
        self._hub = hub
        self._drain = drain
        self._injector = injector
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """All routes of the application."""
        return [
            Route("/", self._business(self.page)),
            Route("/api/v1/articles", self._business(self.articles)),
            Route("/api/v1/orders", self._business(self.orders), methods=["GET"]),
            Route("/api/v1/orders", self._business(self.create_order), methods=["POST"]),
            Route("/api/v1/orders/{id:int}", self._business(self.order)),
            Route("/api/v1/events", self._business(self.events)),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
        ]

    async def page(self, request: Request) -> Response:
        """The front end."""
        settings = self._settings
        return HTMLResponse(_page().substitute(version=settings.version, slot=settings.slot, pod=settings.pod))

    async def articles(self, request: Request) -> Response:
        """All articles."""
        items = await self._database.articles()
        if self._injector.corrupts():
            items = [{**item, "price_cents": item["price_cents"] * _WRONG_FACTOR} for item in items]
        return _json({"articles": items, "count": len(items)})

    async def orders(self, request: Request) -> Response:
        """The newest orders, at most ``limit``."""
        limit = _number(request.query_params.get("limit", "20"), "limit", _MOST_ORDERS)
        items = [self._shown(order) for order in await self._database.orders(limit)]
        return _json({"orders": items, "count": len(items)})

    async def order(self, request: Request) -> Response:
        """One order."""
        order_id = int(request.path_params["id"])
        order = await self._database.order(order_id) if order_id <= _MOST_ID else None
        if order is None:
            return _json({"error": f"no order {order_id}"}, 404)
        return _json(self._shown(order))

    async def create_order(self, request: Request) -> Response:
        """Take an order."""
        article, quantity, delivery = self._order_input(await request.body())
        try:
            order = await self._database.create_order(article, quantity, delivery)
        except NoSuchArticle:
            raise BadInput(f"no article {article}") from None
        except NotYet as error:
            raise BadInput(f"{error} cannot be stored before the schema is migrated") from None
        return _json(self._shown(order), 201, {"Location": f"/api/v1/orders/{order['id']}"})

    async def events(self, request: Request) -> Response:
        """The stream of new orders."""
        hello = json.dumps({"version": self._settings.version, "slot": self._settings.slot})
        return StreamingResponse(
            self._hub.stream(hello), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def healthz(self, request: Request) -> Response:
        """Whether the process works; says nothing about its surroundings, which a restart would not mend."""
        return _json({"status": "ok", "version": self._settings.version, "slot": self._settings.slot})

    async def readyz(self, request: Request) -> Response:
        """Whether the process should get traffic."""
        if self._drain.draining:
            reason: str | None = "draining"
        elif self._injector.unready():
            reason = "fault: readiness flaps"
        else:
            reason = await self._database.unready()
        return _json({"status": "unready" if reason else "ready", "reason": reason}, 503 if reason else 200)

    async def metrics(self, request: Request) -> Response:
        """The Prometheus text."""
        self._metrics.connections.set(self._database.open_connections)
        return Response(self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    def _business(self, handler: Handler) -> Handler:
        """Wrap a handler users reach: faults, and errors as answers."""

        async def handle(request: Request) -> Response:
            await request.body()  # an answer before the whole request is read may be lost with the connection
            fails = self._injector.fails()
            if seconds := self._injector.latency():
                await asyncio.sleep(seconds)
            self._injector.served += 1
            if fails:
                return _json({"error": "fault: error ratio", "request_id": request.scope["request_id"]}, 500)
            try:
                return await handler(request)
            except BadInput as error:
                return _json({"error": str(error)}, 422)
            except Unavailable as error:
                return _json({"error": f"database unavailable: {type(error).__name__}"}, 503)

        return handle

    def _order_input(self, body: bytes) -> tuple[int, int, date | None]:
        try:
            document = json.loads(body)
        except ValueError:
            raise BadInput("the body is no JSON") from None
        known = {"article_id", "quantity"} | (self._settings.release.features & {"delivery_date"})
        if not isinstance(document, dict) or not set(document) <= known:
            raise BadInput(f"expected an object of {', '.join(sorted(known))}")
        article = _number(document.get("article_id"), "article_id", _MOST_ID)
        quantity = _number(document.get("quantity"), "quantity", _MOST_QUANTITY)
        delivery = document.get("delivery_date")
        try:
            return article, quantity, date.fromisoformat(delivery) if delivery is not None else None
        except (TypeError, ValueError):
            raise BadInput("delivery_date must be a date like 2026-03-31") from None

    def _shown(self, order: dict[str, Any]) -> dict[str, Any]:
        if self._injector.corrupts():
            return {**order, "total_cents": order["total_cents"] * _WRONG_FACTOR}
        return order


def _number(value: object, name: str, most: int) -> int:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or not 1 <= int(text[:12]) <= most:
        raise BadInput(f"{name} must be a whole number from 1 to {most}")
    return int(text)


def _json(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(content, default=date.isoformat, separators=(",", ":")).encode()
    return Response(body, status, headers, media_type="application/json")


@cache
def _page() -> Template:
    return Template(_PAGE.read_text(encoding="utf-8"))
