"""Owns carrying out probes and HTTP hooks: requests and connections to a pod's own address."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp

from include.sandbox.addresses import is_cluster_address, local_address
from include.sandbox.node.listening import until_listening
from include.sandbox.node.probes import HttpGet, Outcome, Probe, ProbeState, TcpSocket, initial, observe
from include.sandbox.node.splice import dial

_BODY: Final = 10 * 1024


class Prober:
    """Sends probes; one fresh connection each, as kubelet does."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()

    async def attempt(self, action: HttpGet | TcpSocket, pod_ip: str, timeout_seconds: float) -> Outcome:
        """One attempt against the pod; never raises."""
        try:
            async with asyncio.timeout(timeout_seconds):
                if isinstance(action, HttpGet):
                    return await self._get(action, pod_ip)
                (await dial(_target(action.host, pod_ip), action.port)).close()
                return Outcome(ok=True)
        except TimeoutError:
            return Outcome(ok=False, message="context deadline exceeded")
        except (OSError, aiohttp.ClientError, ValueError) as problem:
            return Outcome(ok=False, message=_words(action, pod_ip, problem))

    async def _get(self, action: HttpGet, pod_ip: str) -> Outcome:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=False, force_close=True, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        shown = action.host or pod_ip
        url = f"{action.scheme}://{_target(action.host, pod_ip)}:{action.port}{action.path}"
        headers = {"Host": f"{shown}:{action.port}", **dict(action.headers)}
        async with self._session.get(url, headers=headers, allow_redirects=False) as response:
            body = await response.content.read(_BODY)
            if 200 <= response.status < 400:
                return Outcome(ok=True)
            text = body.decode(errors="replace").strip()[:200]
            what = f"HTTP probe failed with statuscode: {response.status}"
            return Outcome(ok=False, message=f"{what}: {text}" if text else what)


def _target(host: str | None, pod_ip: str) -> str:
    if host is None:
        return local_address(pod_ip)
    return local_address(host) if is_cluster_address(host) else host


def _words(action: HttpGet | TcpSocket, pod_ip: str, problem: Exception) -> str:
    cause = problem.os_error if isinstance(problem, aiohttp.ClientConnectorError) else problem
    errno = cause.errno if isinstance(cause, OSError) and cause.errno else 0
    text = os.strerror(errno).lower() if errno else str(problem) or type(problem).__name__
    where = f"{action.host or pod_ip}:{action.port}"
    if isinstance(action, TcpSocket):
        return f"dial tcp {where}: connect: {text}"
    return f'Get "{action.scheme}://{where}{action.path}": {text}'


async def probe_for_ever(
    probe: Probe,
    prober: Prober,
    pod_ip: str,
    *,
    wait_seconds: float,
    passing: bool | None,
    report: Callable[[ProbeState, Outcome], Awaitable[bool]],
) -> None:
    """Probe on a fixed schedule, beginning after ``wait_seconds``, until ``report`` says that it is enough.

    When within a container's first period the schedule begins is chance with kubelet. Here it begins when the
    container listens, at the latest one period later: most pods are ready as soon as their program is.

    :param passing: the verdict to begin with when the container was adopted; None: the kind's own
    :param report: gets each new state with what led to it; true ends the probe
    """
    state = initial(probe) if passing is None else ProbeState(passing=passing)
    loop = asyncio.get_running_loop()
    await asyncio.sleep(wait_seconds)
    if wait_seconds > -probe.period:
        await until_listening(_target(probe.action.host, pod_ip), probe.action.port, probe.period)
    due = loop.time()
    while True:
        await asyncio.sleep(due - loop.time())
        outcome = await prober.attempt(probe.action, pod_ip, probe.timeout)
        state = observe(probe, state, ok=outcome.ok)
        if await report(state, outcome):
            return
        due += probe.period
        while due <= loop.time():  # a probe slower than its period skips what it missed
            due += probe.period
