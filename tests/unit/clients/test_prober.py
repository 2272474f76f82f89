from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl

import pytest
from aiohttp import web

from include.clients.prober import check, run_smoke
from include.plan.models import SmokeCheck
from tests.unit.clients.api_server import close, hang, serving
from tests.unit.clients.certificates import self_signed

SLOT = {"X-Slot": "green", "X-Version": "3.0.0"}


def smoke(**options):
    return SmokeCheck(**{"name": "orders", "path": "/orders", "timeout_seconds": 2.0, **options})


def page(text="all orders", status=200, headers=None):
    async def handler(_):
        return web.Response(text=text, status=status, headers={**SLOT, **(headers or {})})

    return handler


async def probe(handler, expected_slot=None, **options):
    async with serving(handler) as url:
        return await check(url, smoke(**options), expected_slot=expected_slot)


async def test_a_right_answer():
    result = await probe(page(), contains="orders")
    assert result.ok
    assert (result.status, result.slot, result.version) == (200, "green", "3.0.0")
    assert 0 < result.seconds < 2
    assert result.sentence.startswith("orders: http://127.0.0.1:")
    assert "answered 200 from slot green 3.0.0 in 0." in result.sentence


async def test_a_wrong_status_shows_what_was_said():
    result = await probe(page("database is down", 503))
    assert not result.ok
    assert result.status == 503
    assert "expected 200; it says 'database is down'" in result.sentence


async def test_an_error_can_be_what_is_expected():
    assert (await probe(page("no", 404), status=404)).ok


async def test_healthy_but_wrong_content():
    result = await probe(page("no orders at all"), contains='"orders":')
    assert not result.ok
    assert "expected the text '\"orders\":'" in result.sentence


async def test_redirects_are_not_followed():
    asked = []

    async def handler(request):
        asked.append(request.path)
        return web.Response(status=302, headers={"Location": "/login"})

    result = await probe(handler)
    assert asked == ["/orders"]
    assert not result.ok
    assert "was redirected to /login" in result.sentence


async def test_the_wrong_slot():
    result = await probe(page(), expected_slot="blue")
    assert not result.ok
    assert "expected slot blue" in result.sentence
    assert (await probe(page(), expected_slot="green")).ok


async def test_a_server_that_hangs():
    result = await probe(hang, timeout_seconds=0.2)
    assert (result.ok, result.status) == (False, None)
    assert "gave no answer" in result.sentence
    assert "no answer within 0.2 s" in result.sentence


async def test_a_body_that_never_ends_has_the_same_limit():
    async def drip(request):
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        while True:
            await response.write(b".")
            await asyncio.sleep(0.05)

    result = await probe(drip, timeout_seconds=0.3)
    assert not result.ok
    assert result.seconds < 1


async def test_an_event_stream_is_judged_by_its_beginning():
    async def stream(request):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **SLOT})
        await response.prepare(request)
        await response.write(b"data: hello\n\n")
        await asyncio.sleep(30)
        return response

    assert (await probe(stream)).ok
    assert (await probe(stream, contains="hello")).ok


async def test_a_connection_that_is_closed():
    result = await probe(close)
    assert not result.ok
    assert "no HTTP answer" in result.sentence


async def test_nobody_listening():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        result = await check(f"http://127.0.0.1:{unused.getsockname()[1]}", smoke())
    assert not result.ok
    assert "no connection" in result.sentence


async def test_a_name_that_does_not_exist():
    result = await check("http://erp.invalid", smoke())
    assert not result.ok
    assert "no connection" in result.sentence


async def test_each_check_has_a_connection_of_its_own():
    peers = []

    async def handler(request):
        peers.append(request.transport.get_extra_info("peername"))
        return web.Response(text="ok")

    async with serving(handler) as url:
        results = await run_smoke(url, [smoke(name="a"), smoke(name="b")])
    assert [result.name for result in results] == ["a", "b"]
    assert len(set(peers)) == 2


async def test_a_certificate_nobody_vouches_for(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        result = await check(f"https://127.0.0.1:{port}", smoke())
    assert not result.ok
    assert "certificate not accepted: self-signed certificate" in result.sentence


async def test_plain_http_where_tls_is_expected():
    async with serving(page()) as url:
        result = await check(url.replace("http://", "https://"), smoke())
    assert not result.ok
    assert "TLS failed" in result.sentence


@pytest.mark.parametrize("encoding", ["gzip"])
async def test_a_broken_body(encoding):
    result = await probe(page("not compressed", headers={"Content-Encoding": encoding}), contains="x")
    assert not result.ok
    assert "DecodingError" in result.sentence


async def test_the_content_has_to_be_exactly_what_it_was():
    digest = hashlib.sha256(b"all orders").hexdigest()
    assert (await probe(page(), sha256=digest)).ok
    wrong = await probe(page("all 0rders"), sha256=digest)
    assert not wrong.ok
    assert wrong.usable
    assert f"expected content with SHA-256 {digest[:12]}" in wrong.sentence


async def test_text_and_content_may_both_be_asked_for():
    digest = hashlib.sha256(b"all orders").hexdigest()
    assert (await probe(page(), sha256=digest, contains="all")).ok


async def test_what_lies_between_says_nothing_of_the_application(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        certificate = await check(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", smoke())
    name = await check("http://erp.invalid", smoke())
    assert not certificate.usable
    assert not name.usable


async def test_nobody_listening_and_no_answer_are_the_applications():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refused = await check(f"http://127.0.0.1:{unused.getsockname()[1]}", smoke())
    late = await probe(hang, timeout_seconds=0.2)
    assert (refused.ok, refused.usable, late.ok, late.usable) == (False, True, False, True)


async def test_a_proxy_that_nobody_can_ask_is_a_result(monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.invalid:1080")
    result = await check("http://erp.example.com", smoke())
    assert not result.ok
    assert not result.usable
    assert "proxy.invalid" in result.sentence


async def test_a_page_is_asked_for_through_the_proxy(monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with serving(page()) as url:
        monkeypatch.setenv("HTTP_PROXY", url)
        assert (await check("http://erp.example.com", smoke())).ok
