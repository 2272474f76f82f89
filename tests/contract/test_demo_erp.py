"""The demo ERP against a real PostgreSQL: its truthfulness, its leaving without loss, each of its faults."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from sqlalchemy.engine import make_url

from include.database.connection import Database
from include.errors import SandboxError
from include.sandbox.erp.build import build_folder
from include.sandbox.erp.migrate import alembic, migrate_erp
from include.sandbox.erp.versions import ENTRYPOINT, VERSIONS, ErpVersion
from include.sandbox.images import content_digest
from include.sandbox.load.records import read
from include.sandbox.load.summary import Summary, lines, summarise
from include.sandbox.postgres import Postgres
from include.sandbox.processes import wait_until
from include.steps.database.old_version import run_suite
from include.steps.database.rehearse import SuiteResult
from tests.contract.erp import PATH, Pod, Service, new_database, pod

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> str:
    url = postgres.url("valeo_erp")
    migrate_erp(url, "head", version="3.0.0")
    return url


@pytest.fixture(scope="module")
def erp(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """3.0.0 as users have it."""
    with pod("3.0.0", database, tmp_path_factory.mktemp("erp")) as running:
        running.until_ready()
        yield running


def faulty(**faults: object) -> ErpVersion:
    return ErpVersion("3.0.9", revision=3, features=("delivery_date",), faults=faults)


class TestApi:
    def test_orders_are_taken_and_shown(self, erp: Pod) -> None:
        order = {"article_id": 1, "quantity": 3, "delivery_date": "2026-03-31"}
        answer = httpx.post(f"{erp.url}/api/v1/orders", json=order)
        assert answer.status_code == 201
        shown = erp.get(answer.headers["Location"]).json()
        assert shown == answer.json()
        article = erp.get("/api/v1/articles").json()["articles"][0]
        assert shown["total_cents"] == 3 * article["price_cents"]
        assert shown["delivery_date"] == "2026-03-31"
        assert shown in erp.get("/api/v1/orders?limit=5").json()["orders"]

    @pytest.mark.parametrize(
        ("body", "sentence"),
        [
            (b"{", "no JSON"),
            (b"[]", "expected an object"),
            (b'{"article_id": 1, "quantity": 1, "price": 1}', "expected an object"),
            (b'{"article_id": 1}', "quantity must be"),
            (b'{"article_id": 1, "quantity": 0}', "quantity must be"),
            (b'{"article_id": 1, "quantity": true}', "quantity must be"),
            (b'{"article_id": 99999, "quantity": 1}', "no article 99999"),
            (b'{"article_id": 1, "quantity": 1, "delivery_date": "soon"}', "delivery_date must be"),
            (b'{"article_id": 1, "quantity": 1, "delivery_date": 5}', "delivery_date must be"),
        ],
    )
    def test_a_wrong_order_is_the_clients_fault(self, erp: Pod, body: bytes, sentence: str) -> None:
        answer = httpx.post(f"{erp.url}/api/v1/orders", content=body)
        assert answer.status_code == 422
        assert sentence in answer.json()["error"]

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/api/v1/orders/999999999999999999", 404),
            ("/api/v1/orders/x", 404),
            ("/api/v1/orders?limit=0", 422),
            ("/api/v1/orders?limit=1000", 422),
            ("/nowhere", 404),
        ],
    )
    def test_a_wrong_request_never_is_the_servers_fault(self, erp: Pod, path: str, status: int) -> None:
        assert erp.get(path).status_code == status

    def test_the_page_shows_version_and_slot(self, erp: Pod) -> None:
        answer = erp.get("/")
        assert "VALEO NeuroERP 3.0.0" in answer.text
        assert (answer.headers["X-Slot"], answer.headers["X-Version"]) == ("blue", "3.0.0")
        assert answer.headers["X-Pod"] == erp.name

    def test_metrics_have_the_agreed_names(self, erp: Pod) -> None:
        erp.get("/api/v1/articles")
        text = erp.get("/metrics").text
        assert 'http_requests_total{method="GET",path="/api/v1/articles",status="200"}' in text
        assert 'http_request_duration_seconds_bucket{le="2.0",path="/api/v1/articles"}' in text
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        for name in (
            "process_resident_memory_bytes",
            "process_cpu_seconds_total",
            "process_start_time_seconds",
            "db_connections_open",
        ):
            assert float(values[name]) > 0
        assert float(values["sse_connections_active"]) == 0

    def test_the_log_is_json_with_the_request_id(self, erp: Pod) -> None:
        httpx.get(f"{erp.url}/api/v1/articles", headers={"X-Request-Id": "look-for-me"})

        def logged() -> bool:
            lines = [json.loads(line) for line in erp.process.log_tail(50).splitlines()]
            return any(line.get("request_id") == "look-for-me" and line["status"] == 200 for line in lines)

        wait_until(logged, deadline_seconds=5, what="the request to be logged")

    def test_an_order_reaches_the_streams_of_other_pods(self, erp: Pod, database: str, tmp_path: Path) -> None:
        with pod("3.0.0", database, tmp_path) as other:
            other.until_ready()
            with httpx.stream("GET", f"{other.url}/api/v1/events", timeout=10) as stream:
                found = stream.iter_lines()
                assert next(line for line in found if line.startswith("event")) == "event: hello"
                assert "sse_connections_active 1" in other.get("/metrics").text
                wait_until(
                    lambda: "db_connections_open 2" in other.get("/metrics").text,
                    deadline_seconds=5,
                    what="the pod to listen",
                )
                created = httpx.post(f"{erp.url}/api/v1/orders", json={"article_id": 2, "quantity": 1}).json()
                assert next(line for line in found if line.startswith("event")) == "event: order"
                assert next(found) == f"data: {created['id']}"


class TestImage:
    def test_a_process_sees_its_own_libraries_only(self, erp: Pod) -> None:
        mapped = Path(f"/proc/{erp.process.pid}/maps").read_text()
        assert str(erp.folder / "app/lib/uvloop") in mapped
        assert "site-packages" not in mapped

    def test_running_changes_nothing_in_the_image(self, database: str, tmp_path: Path) -> None:
        folder = build_folder(VERSIONS["3.0.0"])
        before = content_digest(folder, entrypoint=ENTRYPOINT, env={})
        with pod("3.0.0", database, tmp_path) as running:
            running.until_ready()
            running.get("/")
        alembic(database, "current", folder=folder)
        assert content_digest(folder, entrypoint=ENTRYPOINT, env={}) == before

    @pytest.mark.parametrize(
        ("env", "sentence"),
        [
            ({}, "DATABASE_URL, APP_VERSION"),
            ({"DATABASE_URL": "postgresql://x", "APP_VERSION": "1", "FAULTS": '{"a": 1}'}, "unknown faults"),
        ],
    )
    def test_a_wrong_environment_is_told_at_once(self, env: dict[str, str], sentence: str) -> None:
        run = build_folder(VERSIONS["3.0.0"]) / "app" / "run"
        done = subprocess.run([run], env={"PATH": PATH, **env}, capture_output=True, text=True, timeout=20)
        assert done.returncode == 78
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr


class TestReadiness:
    def test_it_follows_the_schema_in_both_directions(self, postgres: Postgres, tmp_path: Path) -> None:
        url = new_database(postgres, "schema_test")
        new = build_folder(VERSIONS["3.0.0"])
        with pod("2.9.0", url, tmp_path) as old, pod("3.0.0", url, tmp_path) as later:
            wait_until(lambda: "schema is missing" in old.ready()[1], deadline_seconds=10, what="the truth")
            migrate_erp(url, "0002_orders", version="2.9.0")
            assert old.ready() == (200, "")
            assert later.ready() == (200, ""), "3.0.0 works before its own migration, too"
            with pod(faulty(), url, tmp_path) as demanding:
                assert demanding.ready() == (503, "schema revision 0002 is live, 0003 is needed")
            order = {"article_id": 1, "quantity": 1}
            taken = httpx.post(f"{later.url}/api/v1/orders", json=order)
            assert (taken.status_code, taken.json()["delivery_date"]) == (201, None)
            refused = httpx.post(f"{later.url}/api/v1/orders", json={**order, "delivery_date": "2030-01-20"})
            assert refused.status_code == 422
            assert "delivery_date cannot be stored before the schema is migrated" in refused.json()["error"]
            migrate_erp(url, "head", version="3.0.0")
            assert old.ready()[0] == later.ready()[0] == 200
            created = httpx.post(f"{old.url}/api/v1/orders", json={"article_id": 1, "quantity": 1})
            assert created.status_code == 201
            assert "delivery_date" not in created.json()
            assert later.get(created.headers["Location"]).json()["delivery_date"] is None
            dated = httpx.post(f"{later.url}/api/v1/orders", json={**order, "delivery_date": "2030-01-20"}).json()
            assert dated["delivery_date"] == "2030-01-20"
            assert dated in later.get("/api/v1/orders").json()["orders"]
            with psycopg.connect(url) as connection:
                connection.execute("UPDATE schema_compatibility SET oldest_version = '3.0.0'")
            assert old.ready() == (503, "the schema works with version 3.0.0 or later, this is 2.9.0")
            assert later.ready()[0] == 200
            alembic(url, "downgrade", "0002_orders", folder=new)
            assert later.ready() == (200, "")
            assert taken.json() in later.get("/api/v1/orders").json()["orders"], "taken back while it runs"

    def test_the_old_tree_refuses_a_schema_it_does_not_know(self, postgres: Postgres) -> None:
        url = new_database(postgres, "unknown_revision_test")
        migrate_erp(url)
        with pytest.raises(SandboxError, match="0003_delivery_date") as caught:
            alembic(url, "upgrade", "head", folder=build_folder(VERSIONS["2.9.0"]))
        assert url not in str(caught.value)

    def test_two_migrations_at_once_wait_for_each_other(self, postgres: Postgres) -> None:
        url = new_database(postgres, "concurrent_test")
        folder = build_folder(VERSIONS["3.0.0"])
        argv = [str(folder / "app" / "run"), "alembic", "upgrade", "head"]
        env = {"PATH": PATH, "DATABASE_URL": url}
        both = [subprocess.Popen(argv, env=env, stderr=subprocess.DEVNULL) for _ in range(2)]
        assert [process.wait(60) for process in both] == [0, 0]
        assert "0003_delivery_date (head)" in alembic(url, "current", folder=folder)

    def test_a_lost_database_is_told_and_its_return_too(self, tmp_path: Path) -> None:
        server = Postgres(tmp_path / "postgres")
        try:
            server.start()
            url = server.url("valeo_erp")
            migrate_erp(url)
            with pod("3.0.0", url, tmp_path) as running:
                running.until_ready()
                server.stop()
                status, reason = running.ready()
                assert status == 503
                assert "the database does not answer" in reason
                assert running.get("/healthz").status_code == 200
                assert running.get("/api/v1/articles").status_code == 503
                server.start()
                running.until_ready()
                assert running.get("/api/v1/articles").status_code == 200
        finally:
            server.remove()


class TestSmoke:
    """What a rehearsal runs to know whether a version works on a schema."""

    def test_every_version_works_before_and_after_the_migration_of_the_newer_one(self, postgres: Postgres) -> None:
        url = new_database(postgres, "smoke_test")
        migrate_erp(url, version="2.9.0")
        with psycopg.connect(url) as connection:
            connection.execute(
                "INSERT INTO orders (article_id, quantity, total_cents) SELECT id, 1, price_cents FROM articles"
            )
        for number, revision in enumerate(("0002_orders", "0003_delivery_date")):
            migrate_erp(url, revision, version="3.0.0")
            for place, version in enumerate(("2.9.0", "3.0.0")):
                found = smoke(version, url)
                assert (found.ok, found.sentences) == (
                    True,
                    (
                        f"{version} is ready on this schema, 12 articles have a price",
                        f"the newest {12 + 2 * number + place} orders were read one by one and belong to articles",
                        "an order was placed and read back",
                    ),
                )

    def test_a_version_that_does_not_work_there_says_why(self, postgres: Postgres) -> None:
        url = new_database(postgres, "smoke_fails_test")
        assert "the schema is missing" in smoke("2.9.0", url).sentences[-1]
        migrate_erp(url)
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE schema_compatibility SET oldest_version = '3.0.0'")
        refused = smoke("2.9.0", url)
        assert (refused.ok, refused.sentences) == (
            False,
            (
                "exit code 1",
                "2.9.0 does not work on this schema: the schema works with version 3.0.0 or later, this is 2.9.0",
            ),
        )
        assert smoke("3.0.0", url).ok
        with psycopg.connect(url) as connection:
            connection.execute("ALTER TABLE orders RENAME COLUMN total_cents TO total")
        crashed = smoke("3.0.0", url)
        assert not crashed.ok


def smoke(version: str, url: str) -> SuiteResult:
    """The image's own smoke program, as the plan of the sandbox names it."""
    app = build_folder(VERSIONS[version]) / "app"
    argv = [sys.executable, "-I", "-S", str(app / "run"), "smoke", version]
    found = make_url(url)
    given = (found.host or "", found.port or 0, found.database or "", found.username or "", str(found.password))
    return run_suite(argv, Database(*given), timeout_seconds=60)


class TestDrain:
    def test_a_draining_process_says_so_and_closes_connections(self, database: str, tmp_path: Path) -> None:
        with pod("3.0.0", database, tmp_path, DRAIN_SECONDS="3") as running:
            running.until_ready()
            with httpx.Client(base_url=running.url) as kept:
                assert "Connection" not in kept.get("/healthz").headers
                began = time.monotonic()
                running.terminate()
                wait_until(lambda: running.ready() == (503, "draining"), deadline_seconds=3, what="draining")
                answer = kept.get("/api/v1/articles")
                assert (answer.status_code, answer.headers["Connection"]) == (200, "close")
            assert running.process.wait(10) == 0
            assert 3 <= time.monotonic() - began < 13

    def test_a_slow_request_is_finished(self, database: str, tmp_path: Path) -> None:
        with pod(faulty(latency_seconds=2), database, tmp_path, DRAIN_SECONDS="0.5") as running:
            running.until_ready()
            asked = subprocess.Popen(
                [sys.executable, "-c", f"import httpx; print(httpx.get('{running.url}/', timeout=9).status_code)"],
                stdout=subprocess.PIPE,
            )
            time.sleep(1)
            running.terminate()
            assert asked.communicate(timeout=15)[0] == b"200\n"
            assert running.process.wait(10) == 0

    def test_a_stream_ends_cleanly_with_a_hint(self, database: str, tmp_path: Path) -> None:
        with pod("3.0.0", database, tmp_path, DRAIN_SECONDS="1") as running:
            with httpx.stream("GET", f"{running.url}/api/v1/events", timeout=10) as stream:
                found = stream.iter_lines()
                next(found)
                running.terminate()
                rest = list(found)  # raises when the end is no clean one
            assert "event: bye" in rest
            assert any(line.startswith("retry: ") for line in rest)

    async def test_a_deleted_pod_loses_no_request(self, database: str, tmp_path: Path) -> None:
        for attempt in range(3):
            state = tmp_path / str(attempt)
            state.mkdir()
            summary = await self._replace_pods(database, state, deletions=3)
            # The Service stand-in shares the machine: on one so busy that answers take seconds, requests wait in
            # it longer than a draining pod does, which says nothing about the pod.
            if (summary.p95_seconds or 0) < 1:
                break
        assert summary.complete, lines(summary)
        assert summary.requests_sent > 1000
        assert summary.requests_lost == 0, lines(summary)
        assert summary.bad_answers == 0, lines(summary)
        assert summary.streams.cut == 0
        assert summary.streams.ended_cleanly > 0
        assert summary.streams.longest_gap_seconds < 3

    async def _replace_pods(self, database: str, state: Path, *, deletions: int) -> Summary:
        """Delete one pod after the other under load; the Service hears of it later than the pod does."""
        out = state / "run.ndjson"
        running: list[Pod] = []
        try:
            running += [await self._started(database, state) for _ in range(2)]
            service = Service(*(pod.port for pod in running))
            async with service.serving(), load(service, out, rate=100) as generator:
                await asyncio.sleep(2)
                for _ in range(deletions):
                    fresh = await self._started(database, state)
                    running.append(fresh)
                    service.endpoints.add(fresh.port)
                    await asyncio.sleep(0.5)
                    leaving = running.pop(0)
                    leaving.terminate()
                    await asyncio.sleep(0.4)
                    service.endpoints.discard(leaving.port)
                    assert await asyncio.to_thread(leaving.process.wait, 70) == 0
                await asyncio.sleep(1)
                await stopped(generator)
        finally:
            for each in running:
                await asyncio.to_thread(each.process.stop)
        return summarise(read(out))

    async def _started(self, database: str, state: Path) -> Pod:
        # A limit beyond what a busy machine needs: the question is whether requests are lost, not how fast it is.
        started = Pod(VERSIONS["3.0.0"], database, state, DRAIN_SECONDS="3", DRAIN_LIMIT_SECONDS="60")
        await asyncio.to_thread(started.start)
        await asyncio.to_thread(started.until_ready)
        return started


class TestFaults:
    def test_errors_begin_after_their_requests(self, database: str, tmp_path: Path) -> None:
        version = faulty(error_ratio={"value": 0.3, "after_requests": 20})
        with pod(version, database, tmp_path) as running, httpx.Client(base_url=running.url) as client:
            running.until_ready()
            before = Counter(client.get("/api/v1/articles").status_code for _ in range(20))
            after = Counter(client.get("/api/v1/articles").status_code for _ in range(100))
            health = {
                client.get(path).status_code for path in ("/healthz", "/readyz", "/metrics") for _ in range(5)
            }
        assert before == {200: 20}
        assert after == {200: 70, 500: 30}
        assert health == {200}

    def test_the_faulty_version_of_the_story_passes_its_smoke_tests(self, database: str, tmp_path: Path) -> None:
        with pod("3.0.1", database, tmp_path) as running, httpx.Client(base_url=running.url) as client:
            running.until_ready()
            seen = [client.get("/api/v1/articles").status_code for _ in range(250)]
        assert seen[:150] == [200] * 150
        assert seen[150:].count(500) == 30

    def test_latency(self, database: str, tmp_path: Path) -> None:
        with pod(faulty(latency_seconds=0.4), database, tmp_path) as running:
            running.until_ready()
            began = time.monotonic()
            assert running.get("/api/v1/articles").status_code == 200
            assert time.monotonic() - began >= 0.4

    def test_a_crash(self, database: str, tmp_path: Path) -> None:
        version = faulty(crash_after_seconds={"value": 0.3, "after_requests": 1})
        with pod(version, database, tmp_path) as running:
            running.until_ready()
            running.get("/")
            assert running.process.wait(10) == 70

    def test_flapping_readiness(self, database: str, tmp_path: Path) -> None:
        with pod(faulty(readiness_flap_seconds=0.3), database, tmp_path) as running:
            seen = []
            for _ in range(40):
                seen.append(running.ready()[0])
                time.sleep(0.05)
        changes = sum(before != after for before, after in itertools.pairwise(seen))
        assert changes >= 3
        assert set(seen) == {200, 503}

    def test_growing_memory(self, database: str, tmp_path: Path) -> None:
        def resident(running: Pod) -> float:
            text = running.get("/metrics").text
            return float(text.partition("\nprocess_resident_memory_bytes ")[2].split("\n")[0])

        version = faulty(memory_growth_bytes_per_second={"value": 20_000_000, "after_requests": 1})
        with pod(version, database, tmp_path) as running:
            running.until_ready()
            first = resident(running)
            time.sleep(0.6)
            assert resident(running) - first < 5_000_000
            running.get("/")
            wait_until(
                lambda: resident(running) - first > 20_000_000, deadline_seconds=10, what="the memory to grow"
            )

    def test_wrong_data_looks_healthy(self, erp: Pod, database: str, tmp_path: Path) -> None:
        with pod(faulty(wrong_data=1), database, tmp_path) as running:
            running.until_ready()
            wrong = running.get("/api/v1/articles")
            right = erp.get("/api/v1/articles")
        assert wrong.status_code == right.status_code == 200
        assert wrong.json()["count"] == right.json()["count"]
        assert wrong.json() != right.json()


class TestLoad:
    async def test_it_sustains_its_rate_at_little_cost(self, erp: Pod, tmp_path: Path) -> None:
        out = tmp_path / "run.ndjson"
        async with load(erp, out, rate=200) as generator:
            await asyncio.sleep(6)
            fields = Path(f"/proc/{generator.pid}/stat").read_text().rpartition(")")[2].split()
            cpu_seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            await stopped(generator)
        summary = summarise(read(out))
        assert summary.complete
        assert summary.requests_lost == 0
        assert summary.requests_sent >= 1000
        # A quarter of a core while it sends; the start of Python (about half a second) is not its fault.
        assert cpu_seconds < 0.5 + 0.25 * 6

    def test_a_wrong_url_is_told(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "include.sandbox.load", "--url", "https://x", "--out", str(tmp_path / "x")],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 1
        assert "cannot send load" in done.stderr
        assert "Traceback" not in done.stderr


@contextlib.asynccontextmanager
async def load(target: Pod | Service, out: Path, *, rate: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """The load generator as a process of its own."""
    arguments = ["--url", f"http://127.0.0.1:{target.port}", "--rate", str(rate), "--sse", "10", "--out", str(out)]
    arguments += ["--timeout", "30"]  # on a busy machine slow is not lost
    argv = [sys.executable, "-m", "include.sandbox.load", *arguments]
    generator = await asyncio.create_subprocess_exec(*argv, cwd=REPOSITORY)
    try:
        yield generator
    finally:
        if generator.returncode is None:
            generator.kill()
            await generator.wait()


async def stopped(generator: asyncio.subprocess.Process) -> None:
    """Ask it to end; it waits for what is under way and writes everything."""
    generator.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(generator.wait(), 60) == 0
