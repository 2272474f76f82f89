"""An address is asked within its time, and redirects are followed as far as the plan says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from include.clients.urls import MOST_REDIRECTS, ask, judge, refused
from include.plan.staging import UrlCheck
from tests.servers import serving


@asynccontextmanager
async def server() -> AsyncIterator[str]:
    released = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    async def moved(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/there")

    async def away(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://127.0.0.1:1/login?token=geheim")

    async def round_and_round(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/round")

    async def there(request: web.Request) -> web.StreamResponse:
        return web.Response(text='{"issuer": "x"}')

    app = web.Application()
    routes: dict[str, Any] = {
        "/hang": hang, "/moved": moved, "/away": away, "/round": round_and_round, "/there": there,
    }  # fmt: skip
    for path, handler in routes.items():
        app.router.add_get(path, handler)
    async with serving(app) as port:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            released.set()


async def asked(path: str, **check: Any) -> Any:
    async with server() as url:
        return await ask("it", UrlCheck(url=url, path=path, **check))


async def test_a_query_that_may_be_secret_is_never_told() -> None:
    found = await asked("/away", redirects="any")
    assert "at http://127.0.0.1:1/login in" in found.sentence
    assert "geheim" not in found.sentence


async def test_what_answers_as_it_has_to() -> None:
    found = await asked("/there", contains="issuer")
    assert (found.ok, found.status) == (True, 200)
    assert "answered 200 in" in found.sentence


@pytest.mark.parametrize(
    ("path", "check", "why"),
    [
        ("/there", {"contains": "other"}, "expected the text 'other'"),
        ("/there", {"status": 204}, "expected 204; it says"),
        ("/nowhere", {}, "expected 200"),
        ("/hang", {"timeout_seconds": 0.2}, "no answer within 0.2 s"),
        ("/moved", {}, "expected 200, and it redirects to http"),
        ("/away", {"redirects": "same-host"}, "to another host, http://127.0.0.1:1/login, and"),
        ("/away", {"redirects": "any"}, "no connection"),
        ("/round", {"redirects": "same-host"}, f"more than {MOST_REDIRECTS} times"),
    ],
)
async def test_what_is_wrong_is_said(path: str, check: dict[str, Any], why: str) -> None:
    found = await asked(path, **check)
    assert not found.ok
    assert why in found.problem
    assert "geheim" not in found.problem


async def test_redirects_on_the_same_host_are_followed_where_the_plan_says_so() -> None:
    found = await asked("/moved", redirects="same-host", contains="issuer")
    assert found.ok
    assert found.at.endswith("/there")
    assert "at http" in found.sentence


async def test_a_redirect_can_be_what_is_expected() -> None:
    assert (await asked("/moved", status=302, redirects="same-host")).ok


async def test_nobody_there_is_a_result() -> None:
    found = await ask("it", UrlCheck(url="http://127.0.0.1:1"))
    assert (found.status, found.ok) == (None, False)
    assert "gave no answer" in found.sentence


def test_no_redirect_leads_away_from_encryption_or_to_what_is_no_page() -> None:
    check = UrlCheck(url="https://a.example", redirects="any")
    assert "from https" in refused(check, "https://a.example/", "http://a.example/", 0)
    assert "no http(s) URL" in refused(check, "https://a.example/", "file:///etc/passwd", 0)
    assert refused(check, "https://a.example/", "https://b.example/", 0) == ""
    assert judge(check, 200, "", "") == ""
