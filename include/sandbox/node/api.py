"""Owns the connection to the API server: a kubeconfig becomes an HTTP client that speaks JSON objects.

Plain dictionaries, not generated models: a node reads a few fields of many objects and must start quickly.
"""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import tempfile
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Self, cast

import aiohttp
import yaml

from include.errors import ClusterRefused, ClusterUnreachable, SandboxError

JsonObject = dict[str, Any]

STRATEGIC_MERGE = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"


def _entry(config: JsonObject, kind: str, name: str) -> JsonObject:
    for entry in config.get(f"{kind}s", []):
        if entry["name"] == name:
            return cast("JsonObject", entry[kind])
    raise SandboxError(f"the kubeconfig names a {kind} it does not hold", expected=f"an entry {name!r}")


def _material(entry: JsonObject, key: str) -> bytes:
    if data := entry.get(f"{key}-data"):
        return base64.b64decode(data)
    if path := entry.get(key):
        return Path(path).read_bytes()
    raise SandboxError(f"the kubeconfig has no {key}", expected="an https server and a client certificate")


class Api:
    """An asynchronous client of one API server.

    :param kubeconfig: file with a server, its authority and a client certificate
    """

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = _entry(config, "context", config["current-context"])
        cluster, user = _entry(config, "cluster", context["cluster"]), _entry(config, "user", context["user"])
        self.server: str = cluster["server"].rstrip("/")
        self._ssl = ssl.create_default_context(cadata=_material(cluster, "certificate-authority").decode())
        self._ssl.check_hostname = False  # the authority signs for this sandbox alone
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = Path(folder, "crt"), Path(folder, "key")
            certificate.write_bytes(_material(user, "client-certificate"))
            key.touch(mode=0o600)
            key.write_bytes(_material(user, "client-key"))
            self._ssl.load_cert_chain(certificate, key)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._ssl, limit=0, keepalive_timeout=60)
        self._session = aiohttp.ClientSession(connector=connector, raise_for_status=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        parameters: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        timeout_seconds: float = 10.0,
    ) -> JsonObject:
        """One request, one object.

        :raises ClusterRefused: with the server's status and reason
        :raises ClusterUnreachable: when there is no usable answer in time
        """
        assert self._session is not None
        try:
            async with self._session.request(
                method,
                self.server + path,
                params=parameters,
                data=None if body is None else json.dumps(body),
                headers={"Content-Type": content_type, "Accept": "application/json"},
                timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            ) as response:
                text = await response.text()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            raise ClusterUnreachable(f"{method} {path} got no answer", seen=str(problem)) from problem
        if status >= 400:
            raise ClusterRefused(f"{method} {path} was refused", seen=_message(text), status=status)
        try:
            return cast("JsonObject", json.loads(text))
        except ValueError as problem:
            raise ClusterUnreachable(f"{method} {path} was not answered with JSON", seen=text[:200]) from problem

    async def get(self, path: str) -> JsonObject:
        """Read one object; see :meth:`request`."""
        return await self.request("GET", path)

    async def post(self, path: str, body: JsonObject) -> JsonObject:
        """Create an object; see :meth:`request`."""
        return await self.request("POST", path, body)

    async def patch(self, path: str, body: JsonObject, *, content_type: str = MERGE) -> JsonObject:
        """Change parts of an object; see :meth:`request`."""
        return await self.request("PATCH", path, body, content_type=content_type)

    async def delete(self, path: str, body: JsonObject) -> JsonObject:
        """Delete an object with these options; see :meth:`request`."""
        return await self.request("DELETE", path, body)

    async def watch(
        self, path: str, parameters: Mapping[str, str], *, seconds: int
    ) -> AsyncGenerator[JsonObject, None]:
        """The events of a watch until the server ends it.

        :raises ClusterRefused: when the watch cannot begin; 410 means the version is too old
        :raises ClusterUnreachable: when the connection fails
        """
        assert self._session is not None
        query = {**parameters, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds)}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=seconds + 15)
        try:
            async with self._session.get(self.server + path, params=query, timeout=timeout) as response:
                if response.status >= 400:
                    message = _message(await response.text())
                    raise ClusterRefused(f"watch of {path} was refused", seen=message, status=response.status)
                async with contextlib.aclosing(_lines(response.content)) as lines:
                    async for line in lines:
                        yield json.loads(line)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
            raise ClusterUnreachable(f"watch of {path} broke", seen=str(problem)) from problem


async def _lines(stream: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    # The stream's own iteration by lines limits their length; objects have none.
    rest = b""
    async for chunk in stream.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line


def _message(text: str) -> str:
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(text).get("message", text))[:500]
    return text[:500]
