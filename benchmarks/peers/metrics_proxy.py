"""Stands before Prometheus and has it fail on request: for all contenders alike, at one address.

``PUT /-/answers/<pass|gone|empty|nan>`` decides what everybody gets from then on, ``PUT /-/upstream?url=…`` who is
asked. Runs as ``python -m benchmarks.peers.metrics_proxy --port 19090``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from include.sandbox.signals import end_on_signals

_KEPT_HEADERS = ("Content-Type", "Authorization", "Accept")
MODES = ("pass", "gone", "empty", "nan")


class MetricsProxy:
    """One upstream, one mode."""

    def __init__(self) -> None:
        self.mode = "pass"
        self.upstream = ""

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=1 << 24)
        app.router.add_put("/-/answers/{mode}", self.answers)
        app.router.add_put("/-/upstream", self.set_upstream)
        app.router.add_route("*", "/{path:.*}", self.forward)
        return app

    async def answers(self, request: web.Request) -> web.Response:
        """Change what is answered."""
        mode = request.match_info["mode"]
        if mode not in MODES:
            raise web.HTTPBadRequest(text=f"one of {', '.join(MODES)}")
        self.mode = mode
        return web.Response(text=mode)

    async def set_upstream(self, request: web.Request) -> web.Response:
        """Change who is asked."""
        self.upstream = request.query["url"].rstrip("/")
        return web.Response(text=self.upstream)

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, and its answer back as the mode says."""
        if self.mode == "gone":
            if request.transport is not None:
                request.transport.abort()
            raise web.HTTPBadGateway
        body = await request.read()
        headers = {name: request.headers[name] for name in _KEPT_HEADERS if name in request.headers}
        timeout = ClientTimeout(total=30)
        try:
            async with ClientSession(timeout=timeout, auto_decompress=True) as session:
                url = f"{self.upstream}{request.rel_url}"
                async with session.request(request.method, url, data=body or None, headers=headers) as answer:
                    content, status = await answer.read(), answer.status
                    kind = answer.content_type
        except (ClientError, TimeoutError) as error:
            raise web.HTTPBadGateway(text=f"{type(error).__name__}: {error}") from error
        if self.mode in ("empty", "nan") and status == 200 and kind == "application/json":
            content = falsified(content, self.mode)
        return web.Response(body=content, status=status, content_type=kind)


def falsified(content: bytes, mode: str) -> bytes:
    """An answer of Prometheus' query API without series (``empty``) or with every value not a number (``nan``)."""
    document = json.loads(content)
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict) or "result" not in data:
        return content
    kind, result = data.get("resultType"), data["result"]
    if kind in ("vector", "matrix"):
        data["result"] = [] if mode == "empty" else [_not_a_number(series) for series in result]
    elif kind == "scalar":
        data["result"] = [result[0], "NaN"]
    return json.dumps(document).encode()


def _not_a_number(series: dict[str, Any]) -> dict[str, Any]:
    changed = dict(series)
    if "value" in series:
        changed["value"] = [series["value"][0], "NaN"]
    if "values" in series:
        changed["values"] = [[at, "NaN"] for at, _ in series["values"]]
    return changed


async def _serve(port: int) -> None:
    runner = web.AppRunner(MetricsProxy().application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(description="Stand before Prometheus.")
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    with end_on_signals():
        asyncio.run(_serve(port))


if __name__ == "__main__":
    main()
