"""A small HTTP server on 127.0.0.1 that answers like a Kubernetes API server in trouble."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from kubernetes_asyncio.client import ApiClient, Configuration

from include.clients.kubernetes import Cluster
from tests import servers

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def status(code: int, message: str = "", headers: dict[str, str] | None = None, **more: object) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code, **more}
    return web.json_response(body, status=code, headers=headers)


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def close(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """The URL of a server that answers every request by ``handler``."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    async with servers.serving(application) as port:
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def cluster_at(url: str, *, timeout_seconds: float = 5.0, token: str = "") -> AsyncIterator[Cluster]:
    configuration = Configuration(host=url)
    if token:
        configuration.api_key = {"BearerToken": f"Bearer {token}"}
    async with ApiClient(configuration) as api:
        yield Cluster(api, "production", timeout_seconds=timeout_seconds)


@asynccontextmanager
async def cluster_answering(handler: Handler, *, timeout_seconds: float = 5.0) -> AsyncIterator[Cluster]:
    async with serving(handler) as url, cluster_at(url, timeout_seconds=timeout_seconds) as cluster:
        yield cluster


def kubeconfig(server: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": "hunter2-token"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )
