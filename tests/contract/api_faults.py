"""A proxy before the API server that answers chosen requests as a server in trouble does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient, Configuration

from include.clients.kubernetes import Cluster
from tests.servers import serving

Forward = Callable[[], Awaitable[web.Response]]
Fault = Callable[[web.Request, Forward], Awaitable[web.StreamResponse]]


def says(status: int, **headers: str) -> Fault:
    """The request is not looked at and answered with a status."""

    async def fault(request: web.Request, forward: Forward) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = {"kind": "Status", "status": "Failure", "code": status, "message": f"injected {status}"}
        return web.json_response(body, status=status, headers=named)

    return fault


async def hangs(request: web.Request, forward: Forward) -> web.StreamResponse:
    """The request is not looked at and never answered."""
    await asyncio.sleep(30)
    return web.Response(status=504)


async def cuts(request: web.Request, forward: Forward) -> web.StreamResponse:
    """The request is not looked at and the connection is closed."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def after_it_was_done(fault: Fault) -> Fault:
    """The request is served, and then the answer goes wrong."""

    async def late(request: web.Request, forward: Forward) -> web.StreamResponse:
        assert (await forward()).status < 300
        return await fault(request, forward)

    return late


@dataclass
class Faults:
    """What befalls the next requests of a method, in order; whatever is not listed is served.

    :param served: (method, path) of every request that reached the API server
    """

    coming: dict[str, list[Fault]] = field(default_factory=dict)
    served: list[tuple[str, str]] = field(default_factory=list)

    def befall(self, method: str, *faults: Fault) -> None:
        self.coming.setdefault(method, []).extend(faults)

    def changes(self) -> int:
        """How often something was changed."""
        return sum(method == "PATCH" for method, _ in self.served)


@asynccontextmanager
async def troubled(
    kubeconfig: Path, namespace: str, faults: Faults, *, timeout_seconds: float = 3.0
) -> AsyncIterator[Cluster]:
    """A client whose requests pass through the proxy."""
    settings = Configuration()
    await config.load_kube_config(str(kubeconfig), None, settings, persist_config=False)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=_trust(settings))) as session:

        async def handle(request: web.Request) -> web.StreamResponse:
            async def forward() -> web.Response:
                return await _forward(session, settings, request, faults)

            listed = faults.coming.get(request.method)
            return await listed.pop(0)(request, forward) if listed else await forward()

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handle)
        async with serving(application) as port, ApiClient(Configuration(host=f"http://127.0.0.1:{port}")) as api:
            yield Cluster(api, namespace, timeout_seconds=timeout_seconds)


async def _forward(
    session: aiohttp.ClientSession, settings: Configuration, request: web.Request, faults: Faults
) -> web.Response:
    faults.served.append((request.method, request.path))
    headers = {name: request.headers[name] for name in ("Accept", "Content-Type") if name in request.headers}
    if token := settings.api_key.get("BearerToken"):
        headers["Authorization"] = token
    url = f"{settings.host}{request.path_qs}"
    async with session.request(request.method, url, headers=headers, data=await request.read()) as answer:
        return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)


def _trust(settings: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    return context
