"""Carrying out probes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from include.sandbox.addresses import local_address
from include.sandbox.node.listening import listeners, until_listening
from include.sandbox.node.probes import HttpGet, Kind, Outcome, Probe, ProbeState, TcpSocket
from include.sandbox.node.probing import Prober, probe_for_ever
from tests.servers import serving

POD = "10.244.253.77"


@pytest.fixture
async def app() -> AsyncIterator[tuple[int, list[web.Request]]]:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        if request.path == "/slow":
            await asyncio.sleep(5)
        return web.Response(status=int(request.query.get("status", "200")), text="not now")

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    async with serving(application, local_address(POD)) as port:
        yield port, seen


@pytest.fixture
async def prober() -> AsyncIterator[Prober]:
    one = Prober()
    yield one
    await one.close()


def get(port: int, path: str = "/") -> HttpGet:
    return HttpGet("http", None, port, path, (("User-Agent", "kube-probe/1.34"),))


async def test_a_probe_goes_to_the_pods_own_address(app: tuple[int, list[web.Request]], prober: Prober) -> None:
    port, seen = app
    assert await prober.attempt(get(port, "/ready?x=1"), POD, 5) == Outcome(ok=True)
    assert seen[0].path_qs == "/ready?x=1"
    assert seen[0].headers["Host"] == f"{POD}:{port}"
    assert seen[0].headers["User-Agent"] == "kube-probe/1.34"


@pytest.mark.parametrize(("status", "ok"), [(200, True), (302, True), (399, True), (400, False), (503, False)])
async def test_success_is_200_to_399(
    app: tuple[int, list[web.Request]], prober: Prober, status: int, ok: bool
) -> None:
    outcome = await prober.attempt(get(app[0], f"/?status={status}"), POD, 5)
    assert outcome.ok is ok
    if not ok:
        assert outcome.message == f"HTTP probe failed with statuscode: {status}: not now"


async def test_a_slow_answer_is_a_failure(app: tuple[int, list[web.Request]], prober: Prober) -> None:
    outcome = await prober.attempt(get(app[0], "/slow"), POD, 0.1)
    assert outcome == Outcome(ok=False, message="context deadline exceeded")


async def test_nobody_listens(prober: Prober) -> None:
    with socket.socket() as unused:
        unused.bind((local_address(POD), 0))
        port = unused.getsockname()[1]
        http = await prober.attempt(get(port), POD, 5)
        tcp = await prober.attempt(TcpSocket(None, port), POD, 5)
    assert http.message == f'Get "http://{POD}:{port}/": connection refused'
    assert tcp.message == f"dial tcp {POD}:{port}: connect: connection refused"


async def test_a_tcp_probe_only_connects(app: tuple[int, list[web.Request]], prober: Prober) -> None:
    port, seen = app
    assert (await prober.attempt(TcpSocket(None, port), POD, 5)).ok
    assert seen == []


def test_the_kernel_names_its_listeners() -> None:
    with socket.socket() as one:
        one.bind((local_address(POD), 0))
        address = one.getsockname()
        assert address not in listeners()
        one.listen()
        assert address in listeners()
    assert address not in listeners()


async def test_waiting_for_a_listener_ends_when_it_is_there_or_when_time_is_up() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as one:
        one.bind((local_address(POD), 0))
        host, port = one.getsockname()
        began = loop.time()
        await until_listening(host, port, 0.2)
        assert loop.time() - began >= 0.2
        loop.call_later(0.1, one.listen)
        async with asyncio.timeout(5):
            await until_listening(host, port, 60)


async def test_a_probe_repeats_every_period_until_it_is_told_to_end(
    app: tuple[int, list[web.Request]], prober: Prober
) -> None:
    port, _ = app
    probe = Probe(Kind.READINESS, get(port), 0, 0.1, 1, 1, 3, None)
    states: list[ProbeState] = []

    async def report(state: ProbeState, _outcome: Outcome) -> bool:
        states.append(state)
        return len(states) == 3

    loop = asyncio.get_running_loop()
    began = loop.time()
    await probe_for_ever(probe, prober, POD, wait_seconds=0.1, passing=None, report=report)
    assert loop.time() - began >= 0.3
    assert [state.passing for state in states] == [True, True, True]
    assert states[-1].run == 3
