"""Asking an address of the application from outside, with a policy for redirects."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx

from include.clients.prober import NO_ANSWER, describe
from include.plan.staging import UrlCheck

# It tells every URL at INFO, with the query that an identity provider has put a secret into.
logging.getLogger("httpx").setLevel(logging.WARNING)

MOST_REDIRECTS: Final = 5
_LONGEST_BODY: Final = 1 << 20
_HEADERS: Final = {"User-Agent": "stellwerk", "Accept": "*/*", "Cache-Control": "no-cache"}


@dataclass(frozen=True)
class UrlResult:
    """What one address answered.

    :param status: of the last answer; None when there was none
    :param at: the address that gave it, after redirects
    :param problem: what is wrong, in a clause; empty when nothing is
    """

    name: str
    asked: str
    status: int | None
    at: str
    seconds: float
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is as the plan says."""
        return not self.problem

    @property
    def sentence(self) -> str:
        """For log, ledger and report."""
        answer = f"answered {self.status}" if self.status is not None else "gave no answer"
        moved = f" at {_shown(self.at)}" if self.at != self.asked else ""
        problem = f": {self.problem}" if self.problem else ""
        return f"{self.name}: {self.asked} {answer}{moved} in {self.seconds:.3f} s{problem}"


@dataclass(frozen=True)
class _Answer:
    status: int
    location: str
    body: str


async def ask(name: str, check: UrlCheck) -> UrlResult:
    """Ask one address. Whatever goes wrong is a result, not an exception."""
    asked = at = check.url + check.path
    status: int | None = None
    started = time.monotonic()
    try:
        async with asyncio.timeout(check.timeout_seconds), httpx.AsyncClient(headers=_HEADERS) as client:
            for hop in range(MOST_REDIRECTS + 1):
                answer = await _fetch(client, at)
                status = answer.status
                onward = urljoin(at, answer.location) if answer.location else ""
                if not onward or check.redirects == "none" or status == check.status:
                    problem = judge(check, answer.status, answer.body, onward)
                    break
                if problem := refused(check, at, onward, hop):
                    break
                at = onward
    except TimeoutError:
        problem = f"no answer within {check.timeout_seconds:g} s"
    except NO_ANSWER as error:
        problem = describe(error)
    return UrlResult(name, asked, status, at, time.monotonic() - started, problem)


def judge(check: UrlCheck, status: int, body: str, onward: str) -> str:
    """What is wrong with a last answer; empty when nothing is. Pure.

    :param onward: where it redirects to; empty when it does not
    """
    if status != check.status:
        if onward:
            return f"expected {check.status}, and it redirects to {_shown(onward)}"
        return f"expected {check.status}; it says {' '.join(body.split())[:120]!r}"
    if check.contains is not None and check.contains not in body:
        return f"expected the text {check.contains!r}; it says {' '.join(body.split())[:120]!r}"
    return ""


def refused(check: UrlCheck, at: str, onward: str, hop: int) -> str:
    """Why a redirect is not followed; empty when it is. Pure.

    :param hop: how many have been followed
    """
    here, there = urlsplit(at), urlsplit(onward)
    if there.scheme not in ("http", "https") or not there.hostname:
        return f"it redirects to {_shown(onward)}, which is no http(s) URL"
    if here.scheme == "https" and there.scheme == "http":
        return f"it redirects from https to {_shown(onward)}"
    if check.redirects == "same-host" and (here.hostname, here.port) != (there.hostname, there.port):
        return f"it redirects to another host, {_shown(onward)}, and the plan says same-host"
    if hop >= MOST_REDIRECTS:
        return f"it redirects more than {MOST_REDIRECTS} times"
    return ""


def _shown(url: str) -> str:
    """A URL without what may be a secret: its query, and credentials."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:200]


async def _fetch(client: httpx.AsyncClient, url: str) -> _Answer:
    body = b""
    async with client.stream("GET", url, follow_redirects=False, timeout=None) as response:
        if not response.is_redirect:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _LONGEST_BODY:
                    break
        text = body.decode(response.charset_encoding or "utf-8", "replace")
        return _Answer(
            response.status_code, response.headers.get("Location", "") if response.is_redirect else "", text
        )
