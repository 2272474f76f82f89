"""Asking a Prometheus, from an event loop; every question is asked once, and whoever polls asks again."""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from include.clients.prober import NO_ANSWER, describe
from include.clients.prometheus.access import Access
from include.clients.prometheus.answers import Answer, read
from include.errors import MetricsUnreachable, MetricsUnusable

MOST_SERIES: Final = 20_000
_LONGEST_BYTES: Final = 16 << 20
_LONGEST_HEADER_BYTES: Final = 64 << 10


class Prometheus:
    """A Prometheus, over a pool of connections that whoever opened it closes.

    :param transport: instead of the network, for tests
    """

    def __init__(self, access: Access, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.access = access
        self._trust = access.trust()
        # The transport alone, without httpx's client: no line of log for each poll, no cookies, no redirects, and
        # no proxy or netrc of the environment. What is asked is asked of this address. Of aiohttp, because httpx's
        # own pool loses a connection for ever with each question that is given up on its way.
        self._transport = transport or AiohttpTransport(client=self._session)
        self._turns = asyncio.Semaphore(access.together)
        self.skew_seconds: float | None = None

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=self.access.together, ssl=self._trust or True, keepalive_timeout=60)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_LONGEST_HEADER_BYTES,
            max_field_size=_LONGEST_HEADER_BYTES,
        )

    async def query(
        self, promql: str, *, at: float | None = None, timeout_seconds: float | None = None,
        most_series: int = MOST_SERIES, newest: bool = False,
    ) -> Answer:  # fmt: skip
        """Evaluate a query at one moment.

        :param at: seconds since the epoch; None lets Prometheus take its own now
        :param newest: of each series the last sample alone
        :raises MetricsError: no answer, a refusal, or an answer without numbers
        """
        fields = {"query": promql} | ({} if at is None else {"time": f"{at:.3f}"})
        return await self._ask("query", fields, timeout_seconds, most_series, newest=newest)

    async def query_range(
        self, promql: str, *, since: float, until: float, step_seconds: float, most_series: int = MOST_SERIES
    ) -> Answer:
        """Evaluate a query at every step between two moments, both included.

        :raises MetricsError: no answer, a refusal, or an answer without numbers
        """
        fields = {"query": promql, "start": f"{since:.3f}", "end": f"{until:.3f}", "step": f"{step_seconds:.3f}"}
        return await self._ask("query_range", fields, None, most_series)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _ask(
        self,
        what: str,
        fields: Mapping[str, str],
        timeout_seconds: float | None,
        most_series: int,
        *,
        newest: bool = False,
    ) -> Answer:
        seconds = timeout_seconds or self.access.timeout_seconds
        fields = {**fields, "limit": str(most_series + 1)}  # one series more than we would take
        url = f"{self.access.url.rstrip('/')}/api/v1/{what}"
        try:
            async with asyncio.timeout(seconds) as limit, self._turns:
                # Prometheus gives up when we do.
                left = (limit.when() or 0.0) - asyncio.get_running_loop().time()
                timeout = f"{max(1, round(left * 1000))}ms"
                response, body = await self._exchange(url, {**fields, "timeout": timeout}, seconds)
        except TimeoutError as error:
            raise self._unreachable(f"no answer within {seconds:g} s") from error
        except NO_ANSWER as error:
            raise self._unreachable(describe(error)) from error
        if response.status_code != httpx.codes.OK:
            body = self.access.hidden(body)  # something in between may repeat what it was sent
        headers = _lower(response.headers)
        return read(response.status_code, headers, body, most_series=most_series, newest=newest)

    async def _exchange(self, url: str, fields: Mapping[str, str], seconds: float) -> tuple[httpx.Response, bytes]:
        # A form keeps queries out of the logs of what stands in between, and has no longest length.
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": "stellwerk",
            **self.access.headers,
        }
        request = httpx.Request("POST", url, headers=headers, content=urlencode(fields).encode())
        request.extensions = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), seconds)}
        sent_at = time.time()
        response = await self._transport.handle_async_request(request)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _LONGEST_BYTES:
                    raise MetricsUnusable(
                        "the answer of Prometheus is too long",
                        expected=f"at most {_LONGEST_BYTES >> 20} MiB",
                        seen="more",
                        remedy="name the series more closely (slo.metrics.labels), or add them up in the query",
                    )
        finally:
            await response.aclose()
        self._compare_clocks(response, sent_at, time.time())
        return response, bytes(body)

    def _compare_clocks(self, response: httpx.Response, sent_at: float, received_at: float) -> None:
        """How far Prometheus' clock is ahead of ours, as far as a date in whole seconds tells."""
        said = email.utils.parsedate_tz(response.headers.get("Date", ""))
        if said is None:
            return
        date = email.utils.mktime_tz(said)
        # It was some moment of that second, between sending and receiving.
        self.skew_seconds = max(0.0, date - received_at) + min(0.0, date + 1 - sent_at)

    def _unreachable(self, seen: str) -> MetricsUnreachable:
        return MetricsUnreachable(
            "Prometheus does not answer",
            expected=f"an answer of {self.access.url}",
            seen=seen,
            remedy="look whether Prometheus runs and can be reached from Airflow's workers and triggerers",
        )


def _lower(headers: httpx.Headers) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@dataclass
class _Shared:
    prometheus: Prometheus
    users: int = 0


_OPEN: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Access, _Shared]] = WeakKeyDictionary()


@asynccontextmanager
async def shared(access: Access) -> AsyncIterator[Prometheus]:
    """The event loop's one client for an address: hundreds of watches in one triggerer share its connections.

    :raises MetricsRefused: the file of certificates cannot be read
    """
    clients = _OPEN.setdefault(asyncio.get_running_loop(), {})
    entry = clients.get(access)
    if entry is None:
        entry = clients[access] = _Shared(Prometheus(access))
    entry.users += 1
    try:
        yield entry.prometheus
    finally:
        entry.users -= 1
        if entry.users == 0:
            del clients[access]
            await entry.prometheus.close()
