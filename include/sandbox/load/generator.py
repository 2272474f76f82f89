"""The open loop: requests leave at their planned times, whatever became of the ones before.

No request is sent twice. Half of them (or another share) use a connection of their own, the others take
turns on kept connections. A kept connection the server has announced to close, or has closed, is not used
again; one that closes under a request loses that request, and it is counted.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from include.sandbox.load.http import Answer, Connection, Lost, Target, compose
from include.sandbox.load.records import Kind, Recorder, RequestRecord

ORDER_BY_ID = "/api/v1/orders/{id}"
_ARTICLES = 12
_IDLE_SECONDS = 20.0  # shorter than any server keeps an idle connection: the client is the one to close
_FLUSH_SECONDS = 0.5
_STOP_SECONDS = 0.2  # how soon at a low rate the end of the run is noticed


@dataclass(frozen=True)
class Load:
    """What to send.

    :param rate: requests a second, all kinds together
    :param keep_alive_ratio: share that uses kept connections, 0 to 1
    :param connections: kept connections that take turns; more are opened while all are busy
    :param timeout_seconds: from sending to the complete answer; after it the request is lost
    :param paths: requested in turn instead of the ERP's usual mixture
    """

    target: Target
    rate: float
    keep_alive_ratio: float = 0.5
    connections: int = 10
    timeout_seconds: float = 5.0
    paths: tuple[str, ...] = ()


class Generator:
    """Sends one load and records each request."""

    def __init__(self, load: Load, recorder: Recorder) -> None:
        self._load = load
        self._recorder = recorder
        self._paths = itertools.cycle([("GET", path) for path in load.paths] or _mixture())
        self._kept: deque[tuple[float, Connection]] = deque()
        self._open = 0
        self._running: set[asyncio.Task[None]] = set()
        self._last_order: int | None = None
        self._wall = time.time() - time.monotonic()  # one clock for all times, and it never jumps
        self.planned = 0

    async def run(self, stop: asyncio.Event, *, seconds: float | None = None) -> None:
        """Send until ``stop`` is set or ``seconds`` have passed, then wait for what is under way."""
        began = time.monotonic()
        flushed = began
        while not stop.is_set():
            now = time.monotonic()
            due = int((min(now - began, seconds) if seconds is not None else now - began) * self._load.rate) + 1
            while self.planned < due and (seconds is None or self.planned < seconds * self._load.rate):
                self._launch(began + self.planned / self._load.rate)
            if seconds is not None and now - began >= seconds:
                break
            if now - flushed > _FLUSH_SECONDS:
                self._recorder.flush()
                flushed = now
            wait = began + self.planned / self._load.rate - time.monotonic()
            await asyncio.sleep(min(max(wait, 0), _STOP_SECONDS))
        if self._running:
            await asyncio.wait(self._running)
        while self._kept:
            self._kept.popleft()[1].close()

    def _launch(self, planned_at: float) -> None:
        method, path = next(self._paths)
        kept = _whole(self.planned + 1, self._load.keep_alive_ratio) > _whole(
            self.planned, self._load.keep_alive_ratio
        )
        kind: Kind = "keep-alive" if kept else "fresh"
        if path == ORDER_BY_ID:
            path = f"/api/v1/orders/{self._last_order}" if self._last_order else "/api/v1/orders"
        task = asyncio.create_task(self._one(kind, method, path, self.planned, planned_at))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        self.planned += 1

    async def _one(self, kind: Kind, method: str, path: str, number: int, planned_at: float) -> None:
        sent_at = time.monotonic()
        answer: Answer | None = None
        error: str | None = None
        body = (
            json.dumps({"article_id": number % _ARTICLES + 1, "quantity": 1}).encode() if method == "POST" else b""
        )
        request = compose(self._load.target, method, path, body=body, close=kind == "fresh")
        try:
            async with asyncio.timeout(self._load.timeout_seconds):
                answer = await (self._fresh(request) if kind == "fresh" else self._on_kept(request))
        except TimeoutError:
            error = "timeout"
        except Lost as lost:
            error = lost.reason
        headers = answer.headers if answer else {}
        if answer and method == "POST" and answer.status == 201:
            order = headers.get("location", "").rpartition("/")[2]
            self._last_order = int(order) if order.isdigit() else self._last_order
        self._recorder.request(
            RequestRecord(
                kind=kind,
                method=method,
                path=path,
                planned_at=self._wall + planned_at,
                sent_at=self._wall + sent_at,
                done_at=self._wall + time.monotonic(),
                status=answer.status if answer else None,
                error=error,
                slot=headers.get("x-slot", ""),
                version=headers.get("x-version", ""),
                pod=headers.get("x-pod", ""),
            )
        )

    async def _fresh(self, request: bytes) -> Answer:
        connection = await Connection.open(self._load.target)
        try:
            return await connection.exchange(request)
        finally:
            connection.close()

    async def _on_kept(self, request: bytes) -> Answer:
        connection = self._take() or await self._connect()
        try:
            answer = await connection.exchange(request)
        except BaseException:
            self._drop(connection)
            raise
        if connection.usable and self._open <= self._load.connections:
            self._kept.append((time.monotonic(), connection))
        else:
            self._drop(connection)
        return answer

    def _take(self) -> Connection | None:
        """The connection that waited longest, so that all are in use; None to open another."""
        now = time.monotonic()
        while self._kept and (not self._kept[0][1].usable or now - self._kept[0][0] > _IDLE_SECONDS):
            self._drop(self._kept.popleft()[1])
        if not self._kept or self._open < self._load.connections:
            return None
        return self._kept.popleft()[1]

    async def _connect(self) -> Connection:
        self._open += 1
        try:
            return await Connection.open(self._load.target)
        except BaseException:
            self._open -= 1
            raise

    def _drop(self, connection: Connection) -> None:
        self._open -= 1
        connection.close()


def _whole(number: int, share: float) -> int:
    """How many of the first ``number`` requests fall to a share; exact in spite of binary fractions."""
    return int(number * share + 1e-9)


def _mixture() -> Sequence[tuple[str, str]]:
    """What users of the ERP do, in a fixed order, so that every run sends the same."""
    shares = {
        ("GET", "/"): 4,
        ("GET", "/api/v1/articles"): 7,
        ("GET", "/api/v1/orders"): 4,
        ("GET", ORDER_BY_ID): 3,
        ("POST", "/api/v1/orders"): 2,
    }
    return tuple(_interleaved(shares))


def _interleaved(shares: dict[tuple[str, str], int]) -> Iterator[tuple[str, str]]:
    total = sum(shares.values())
    debts = dict.fromkeys(shares, 0.0)
    for _ in range(total):
        for item, share in shares.items():
            debts[item] += share
        chosen = max(debts, key=lambda item: debts[item])
        debts[chosen] -= total
        yield chosen
