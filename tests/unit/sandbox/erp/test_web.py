"""Every answer says who gave it, is counted once, and closes its connection while draining."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from include.sandbox.erp.app.drain import Drain
from include.sandbox.erp.app.metrics import Metrics
from include.sandbox.erp.app.settings import Settings
from include.sandbox.erp.app.web import Observed

SETTINGS = Settings(database_url="", version="3.0.0", slot="green", pod="pod-1")


async def hello(request: Request) -> Response:
    return PlainTextResponse(request.scope["request_id"])


async def broken(request: Request) -> Response:
    raise RuntimeError("a bug")


async def events(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"

    return StreamingResponse(parts(), media_type="text/event-stream")


@pytest.fixture
def drain() -> Drain:
    return Drain(0, 0)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def client(drain: Drain, metrics: Metrics) -> AsyncIterator[httpx.AsyncClient]:
    routes = [Route("/hello/{id:int}", hello), Route("/broken", broken), Route("/events", events)]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Observed, settings=SETTINGS, metrics=metrics, drain=drain)],
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://erp") as client:
        yield client


def counted(metrics: Metrics, path: str, status: str) -> float | None:
    labels = {"method": "GET", "path": path, "status": status}
    return metrics.registry.get_sample_value("http_requests_total", labels)


async def test_an_answer_names_slot_version_and_pod(client: httpx.AsyncClient) -> None:
    answer = await client.get("/hello/1")
    assert (answer.headers["X-Slot"], answer.headers["X-Version"], answer.headers["X-Pod"]) == (
        "green",
        "3.0.0",
        "pod-1",
    )
    assert answer.headers["X-Request-Id"] == answer.text
    assert "Connection" not in answer.headers


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2_3", True), ("a\tb", False), ("x" * 65, False)])
async def test_a_sane_request_id_is_kept(client: httpx.AsyncClient, given: str, kept: bool) -> None:
    answer = await client.get("/hello/1", headers={"X-Request-Id": given})
    assert (answer.text == given) is kept


async def test_requests_are_counted_by_route_not_by_path(client: httpx.AsyncClient, metrics: Metrics) -> None:
    for number in (1, 2, 3):
        await client.get(f"/hello/{number}")
    await client.get("/nowhere/1")
    assert counted(metrics, "/hello/{id}", "200") == 3
    assert counted(metrics, "unmatched", "404") == 1


async def test_a_bug_is_a_counted_500_that_names_the_request(client: httpx.AsyncClient, metrics: Metrics) -> None:
    answer = await client.get("/broken")
    assert answer.status_code == 500
    assert answer.json() == {"error": "internal", "request_id": answer.headers["X-Request-Id"]}
    assert answer.headers["X-Slot"] == "green"
    assert counted(metrics, "/broken", "500") == 1


async def test_a_draining_process_closes_every_connection(client: httpx.AsyncClient, drain: Drain) -> None:
    drain.begin()
    for path in ("/hello/1", "/broken", "/nowhere"):
        assert (await client.get(path)).headers["Connection"] == "close"


async def test_an_event_stream_is_counted_at_its_start_and_holds_nothing(
    client: httpx.AsyncClient, metrics: Metrics, drain: Drain
) -> None:
    answer = await client.get("/events")
    assert answer.headers["Connection"] == "close"
    assert counted(metrics, "/events", "200") == 1
    assert drain._in_flight == 0
