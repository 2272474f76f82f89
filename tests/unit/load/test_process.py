"""Locust runs in a process of its own: with the plan's users, without our secrets, never left behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from include.errors import LoadNotMeasured
from include.load import process
from include.load.figures import read
from include.load.process import arguments, measure
from include.load.verdict import judge
from include.plan.staging import LoadTest
from tests.servers import serving

KINDS = [
    {
        "name": "reader",
        "pause_seconds": 0.05,
        "requests": [
            {"path": "/a", "weight": 3},
            {"path": "/b", "method": "POST", "body": {"x": 1}, "status": 201, "name": "write"},
            {"path": "/moved", "weight": 2},
        ],
    }
]


def a_plan(**changes: Any) -> LoadTest:
    return LoadTest.model_validate({"users": 4, "spawn_rate": 100, "seconds": 4, "kinds": KINDS, **changes})


@asynccontextmanager
async def server() -> AsyncIterator[tuple[str, Counter[str]]]:
    seen: Counter[str] = Counter()

    async def handle(request: web.Request) -> web.StreamResponse:
        seen[f"{request.method} {request.path}"] += 1
        if request.path == "/never" or (request.path == "/dies" and seen["GET /dies"] > 3):
            await asyncio.sleep(60)
        if request.path == "/b":
            assert await request.json() == {"x": 1}
            return web.Response(status=201)
        if request.path == "/moved":
            raise web.HTTPFound("/elsewhere")
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with serving(app) as port:
        yield f"http://127.0.0.1:{port}", seen


async def test_the_plans_users_ask_what_it_says_and_follow_nobody_elsewhere(tmp_path: Path) -> None:
    async with server() as (url, seen):
        await measure(a_plan(), url, tmp_path)
    assert set(seen) == {"GET /a", "POST /b", "GET /moved"}
    found = read(tmp_path, 4)
    assert found is not None
    assert {one.name for one in found.asked} == {"GET /a", "write", "GET /moved"}
    assert found.requests == sum(seen.values())
    assert found.failures == seen["GET /moved"]
    [why] = found.why_failed
    assert why.startswith("GET /moved: status 302, expected 200")
    assert max(point.users for point in found.points) == 4


@pytest.mark.parametrize("request_seconds", [1.0, 30.0])
async def test_what_never_answers_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_seconds: float
) -> None:
    monkeypatch.setattr(process, "REQUEST_SECONDS", request_seconds)
    monkeypatch.setattr(process, "_STOP_SECONDS", 2)
    kinds = [
        {"name": "a1-b", "pause_seconds": 0.02, "requests": [{"path": "/dies"}]},
        {"name": "a1b", "pause_seconds": 0.02, "requests": [{"path": "/never"}]},
    ]
    plan = a_plan(kinds=kinds, users=8, thresholds={"min_requests": 5})
    async with server() as (url, seen):
        await measure(plan, url, tmp_path)
    found = read(tmp_path, 4)
    assert found is not None
    asked = {one.name: one for one in found.asked}
    assert set(asked) == {"GET /dies", "GET /never"}, "kinds whose names are alike are told apart"
    assert asked["GET /never"].failures == asked["GET /never"].requests == seen["GET /never"]
    assert asked["GET /dies"].failures == seen["GET /dies"] - 3
    verdict = judge(found, plan.thresholds, plan.titles)
    assert verdict.result == "FAILED"
    assert "error rate of GET /never 100.00 %" in verdict.sentence
    assert found.silence_seconds is not None
    assert found.silence_seconds >= 1


def test_the_command_line_has_no_secret_and_the_environment_is_a_short_list(tmp_path: Path) -> None:
    told = arguments(a_plan(spawn_rate=2.5, seconds=60), "https://erp.example", tmp_path)
    assert told[:5] == (sys.executable, "-P", "-m", "locust", "--headless")
    assert told[told.index("--host") + 1] == "https://erp.example"
    assert told[told.index("--spawn-rate") + 1] == "2.5"
    assert not any(name.startswith("AIRFLOW") for name in process.PASSED_ON)


async def test_a_load_test_that_is_cancelled_leaves_nobody_behind(tmp_path: Path) -> None:
    async with server() as (url, seen):
        running = asyncio.create_task(measure(a_plan(seconds=60), url, tmp_path))
        deadline = time.monotonic() + 30
        while not seen and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        assert seen, "it never began"
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert not _locusts(tmp_path)


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    described = a_plan(seconds=60).model_dump_json()
    program = (
        "import asyncio, pathlib\n"
        "from include.load.process import measure\n"
        "from include.plan.staging import LoadTest\n"
        f"plan = LoadTest.model_validate_json({described!r})\n"
        f"asyncio.run(measure(plan, 'http://127.0.0.1:1', pathlib.Path({str(tmp_path)!r})))\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", program])
    try:
        _until(lambda: bool(_locusts(tmp_path)))
    finally:
        starter.kill()
        starter.wait()
    _until(lambda: not _locusts(tmp_path))


def _locusts(folder: Path) -> list[psutil.Process]:
    found = []
    for one in psutil.process_iter(["cmdline"]):
        words = one.info["cmdline"] or ()
        if "locust" in words and any(str(folder) in word for word in words):
            found.append(one)
    return found


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


async def test_what_locust_says_when_it_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("raise ValueError('this file is broken')\n")
    monkeypatch.setattr(process, "LOCUSTFILE", wrong)
    with pytest.raises(LoadNotMeasured, match="this file is broken"):
        await measure(a_plan(), "http://127.0.0.1:1", tmp_path)


async def test_a_locust_that_does_not_start_or_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "arguments", lambda *_: ("/no/such/program",))
    with pytest.raises(LoadNotMeasured, match="cannot be started"):
        await measure(a_plan(), "http://127.0.0.1:1", tmp_path)
    monkeypatch.setattr(process, "arguments", lambda *_: ("/bin/sleep", "60"))
    monkeypatch.setattr(process, "_GRACE_SECONDS", -3.9)
    with pytest.raises(LoadNotMeasured, match="did not come to its end"):
        await measure(a_plan(), "http://127.0.0.1:1", tmp_path)
