"""Asking the application what users ask it: over HTTP, from outside, on a connection of its own each time."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeVar

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from include.clients.proxies import proxy_for
from include.plan.models import SmokeCheck

_LONGEST_BODY: Final = 1 << 20
_HEADERS: Final = {
    "User-Agent": "stellwerk-prober",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "close",
    "Cache-Control": "no-cache",
}
_CUT_OFF: Final[tuple[type[Exception], ...]] = (
    httpx.RemoteProtocolError,
    aiohttp.ClientOSError,
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientPayloadError,
    aiohttp.ClientResponseError,
)


NO_ANSWER: Final = (
    httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, aiohttp.ClientError, OSError, ValueError,
)  # fmt: skip
"""Of httpx's types (TLS's are OSErrors), of aiohttp's, and of an address or a proxy that nobody could ask."""


@dataclass(frozen=True)
class ProbeResult:
    """What one check saw.

    :param status: the HTTP status; None when there was no answer
    :param slot: what the application's ``X-Slot`` header says; None when it says nothing
    :param version: the same of ``X-Version``
    :param seconds: from opening the connection to the end of what was read
    :param sentence: the result in words, for log and report
    :param usable: whether it says anything about the application; not so where what lies between is broken (a
        certificate that is not accepted, a name that does not resolve)
    """

    name: str
    ok: bool
    status: int | None
    slot: str | None
    version: str | None
    seconds: float
    sentence: str
    usable: bool = True


async def check(base_url: str, smoke: SmokeCheck, *, expected_slot: str | None = None) -> ProbeResult:
    """Make one check. Whatever goes wrong is a result, not an exception; redirects are not followed.

    :param base_url: for example ``https://erp.example.com``
    :param expected_slot: the slot that has to answer; an application that does not name its slot passes
    """
    url = base_url.rstrip("/") + smoke.path
    started = time.monotonic()
    response: httpx.Response | None = None
    usable = True
    try:
        async with asyncio.timeout(smoke.timeout_seconds):
            response, body = await _fetch(url, smoke)
        problem = _judge(response, body, smoke, expected_slot)
    except TimeoutError:
        problem = f"no answer within {smoke.timeout_seconds:g} s"
    except NO_ANSWER as error:
        problem = describe(error)
        usable = not _between(error)
    return _result(smoke, url, response, problem, time.monotonic() - started, usable=usable)


async def run_smoke(
    base_url: str, checks: Sequence[SmokeCheck], *, expected_slot: str | None = None
) -> tuple[ProbeResult, ...]:
    """Make all checks, one after the other and in their order, so that each is timed alone."""
    return tuple([await check(base_url, smoke, expected_slot=expected_slot) for smoke in checks])


def describe(error: BaseException) -> str:
    """Why there was no answer, in words: a certificate is told from a refused connection and a slow server."""
    # aiohttp's own errors of TLS are called ssl's as well and know less than those that they stand for.
    causes = [cause for cause in _causes(error) if not isinstance(cause, aiohttp.ClientSSLError)]
    if distrust := _first(causes, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {distrust.verify_message or distrust.reason}"
    if failure := _first(causes, ssl.SSLError):
        return f"TLS failed: {failure.reason or failure}"
    # These before the timeouts: httpx-aiohttp makes timeouts of them.
    if nobody := _first(causes, aiohttp.ClientConnectorError, httpx.ConnectError):
        return f"no connection: {nobody}"
    if cut_off := _first(causes, *_CUT_OFF):
        return f"no HTTP answer: {cut_off}"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return f"{type(error).__name__}: {error}"


E = TypeVar("E", bound=BaseException)


def _first(causes: Sequence[BaseException], *kinds: type[E]) -> E | None:
    return next((cause for cause in causes if isinstance(cause, kinds)), None)


def _between(error: BaseException) -> bool:
    """Whether what lies between the prober and the application is broken: its certificate, or its name."""
    return any(isinstance(cause, ssl.SSLError | socket.gaierror) for cause in _causes(error))


async def _fetch(url: str, smoke: SmokeCheck) -> tuple[httpx.Response, bytes]:
    # How long it may take is the caller's limit for everything, which also covers DNS and slow bodies. The
    # transport alone: of httpx's client, which is as much work again, only the proxy would be of use.
    request = httpx.Request("GET", url, headers=_HEADERS)
    proxy = proxy_for(url, any_scheme=True)
    transport = AiohttpTransport(verify=_trust(), client=_session, proxy=httpx.Proxy(proxy) if proxy else None)
    async with transport, contextlib.aclosing(await transport.handle_async_request(request)) as response:
        body = b""
        endless = response.headers.get("Content-Type", "").startswith("text/event-stream")
        if endless and smoke.contains is None and smoke.sha256 is None:
            return response, b""
        wanted = None if smoke.contains is None else smoke.contains.encode()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _LONGEST_BODY:
                break
            if wanted is not None and wanted in body and smoke.sha256 is None:
                break
            if response.status_code != smoke.status and len(body) >= 200:
                break
        return response, body


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(ssl=_trust(), force_close=True)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def _judge(response: httpx.Response, content: bytes, smoke: SmokeCheck, expected_slot: str | None) -> str:
    """What is wrong with an answer; empty when nothing is."""
    body = content.decode(response.charset_encoding or "utf-8", "replace")
    if response.status_code != smoke.status:
        if response.is_redirect:
            return f"expected {smoke.status}, was redirected to {response.headers.get('Location', 'nowhere')}"
        return f"expected {smoke.status}; it says {' '.join(body.split())[:120]!r}"
    slot = response.headers.get("X-Slot")
    if expected_slot is not None and slot is not None and slot != expected_slot:
        return f"expected slot {expected_slot}"
    if smoke.contains is not None and smoke.contains not in body:
        return f"expected the text {smoke.contains!r}; it says {' '.join(body.split())[:120]!r}"
    if smoke.sha256 is not None and (seen := hashlib.sha256(content).hexdigest()) != smoke.sha256:
        return f"expected content with SHA-256 {smoke.sha256[:12]}…, it has {seen[:12]}… ({len(content)} bytes)"
    return ""


def _result(
    smoke: SmokeCheck, url: str, response: httpx.Response | None, problem: str, seconds: float, *, usable: bool
) -> ProbeResult:
    slot = response.headers.get("X-Slot") if response is not None else None
    version = response.headers.get("X-Version") if response is not None else None
    who = " ".join(filter(None, (slot and f"slot {slot}", version)))
    answer = f"answered {response.status_code}" if response is not None else "gave no answer"
    sentence = f"{smoke.name}: {url} {answer}{f' from {who}' if who else ''} in {seconds:.3f} s"
    if problem:
        sentence += f": {problem}"
    status = response.status_code if response is not None else None
    return ProbeResult(smoke.name, not problem, status, slot, version, seconds, sentence, usable)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


@cache
def _trust() -> ssl.SSLContext:
    """Loading the certificates takes longer than a request; they are loaded once."""
    return httpx.create_ssl_context()
