"""Owns kubelet's HTTPS API towards the API server: logs, and a clear no to everything the sandbox cannot do."""

from __future__ import annotations

import datetime as dt
import ssl
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from include.sandbox.node.events import Recorder
from include.sandbox.node.launch import log_path
from include.sandbox.node.logs import BadLogOptions, LogOptions, stream
from include.sandbox.node.pods import Pods
from include.sandbox.node.watch import Mirror

_ADDRESS: Final = "127.0.0.1"
_REFUSED: Final = ("exec", "attach", "portForward", "run", "checkpoint")


@dataclass(frozen=True)
class Identity:
    """Files of the server's certificate and of the authority that signs its clients'."""

    certificate: Path
    key: Path
    client_authority: Path

    def context(self) -> ssl.SSLContext:
        """TLS that lets only clients of the authority in."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.client_authority))
        context.load_cert_chain(self.certificate, self.key)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


class Kubelet:
    """The server; the API server reaches it through the egress proxy."""

    def __init__(self, pods: Pods, mirror: Mirror, recorder: Recorder, state: Path) -> None:
        self._pods = pods
        self._mirror = mirror
        self._recorder = recorder
        self._state = state
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, identity: Identity, port: int) -> None:
        """Listen; port 0 takes a free one, :attr:`port` tells which."""
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        app.router.add_get("/healthz", self._healthz)
        for what in _REFUSED:
            app.router.add_route("*", f"/{what}/{{rest:.*}}", self._refuse)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, _ADDRESS, port, ssl_context=identity.context())
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening and end open requests."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _refuse(self, request: web.Request) -> web.Response:
        what, namespace, name = [*request.path.split("/")[1:4], "", ""][:3]
        text = f"the sandbox's node runs processes, not containers: no {what} (logs and the pod proxy work)"
        pod = self._mirror.items.get((namespace, name))
        if pod is not None:
            self._recorder.warning(pod, "NotSupported", text)
        return web.json_response(_unsupported(text), status=501)

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        namespace, name, container = (request.match_info[key] for key in ("namespace", "pod", "container"))
        pod = self._mirror.items.get((namespace, name))
        if pod is None:
            return web.Response(status=404, text=f'pod "{name}" not found in namespace "{namespace}"\n')
        try:
            options = LogOptions.of(request.query, dt.datetime.now(dt.UTC))
        except BadLogOptions as problem:
            return web.Response(status=400, text=f"{problem}\n")
        uid = pod["metadata"]["uid"]
        number = self._pods.log_number(uid, container, previous=options.previous)
        if number is None:
            return web.Response(status=400, text=_no_log(pod, container, previous=options.previous))
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        path = log_path(self._state, uid, container, number)
        pieces = stream(path, options, lambda: not self._pods.alive(uid, container, number))
        async with aclosing(pieces):
            async for piece in pieces:
                await response.write(piece)
        await response.write_eof()
        return response


def _unsupported(text: str) -> dict[str, Any]:
    # kubectl shows "unknown error" for every failed exec but one: an exit code it cannot read, which it quotes.
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": text,
        "details": {"causes": [{"reason": "ExitCode", "message": text}]},
        "code": 501,
    }


def _no_log(pod: dict[str, Any], container: str, *, previous: bool) -> str:
    name = pod["metadata"]["name"]
    if previous:
        return f'previous terminated container "{container}" in pod "{name}" not found\n'
    status = pod.get("status") or {}
    every = [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]
    for one in every:
        if one["name"] == container:
            reason = (one.get("state", {}).get("waiting") or {}).get("reason", "ContainerCreating")
            return f'container "{container}" in pod "{name}" is waiting to start: {reason}\n'
    return f'container "{container}" in pod "{name}" is not available\n'
