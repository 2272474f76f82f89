"""Sending a request to the Kubernetes API within a time budget; every way to fail has a name."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from kubernetes_asyncio.client import ApiClient
from kubernetes_asyncio.config import ConfigException

from include.clients.kubernetes.answers import BUSY, decode, failure, wait_seconds
from include.clients.kubernetes.requests import Request
from include.clients.proxies import proxy_for
from include.errors import ClusterUnreachable, KubeconfigUnusable

_READ_BUFFER_BYTES: Final = 2 << 20
"""As the API client has it: no object is larger."""


def settle_proxy(api: ApiClient) -> None:
    """Look once whether a proxy of the environment stands before the API server, and not at every request.

    The library does so at each, in two threads, which is half of a small request's time; and a password for the
    API server in a netrc file would end every request that has a token. To be called before the first request.
    """
    if proxy_for(api.configuration.host or ""):
        return
    rest = api.rest_client
    before: aiohttp.ClientSession = rest.pool_manager
    rest.pool_manager = aiohttp.ClientSession(
        connector=before.connector, trust_env=False, read_bufsize=_READ_BUFFER_BYTES
    )
    before.detach()


class Transport:
    """Credentials and connections are the API client's; requests and answers are ours.

    :param timeout_seconds: what one request may take in all, waiting for a busy server included
    """

    def __init__(self, api: ApiClient, *, timeout_seconds: float) -> None:
        self._api = api
        self._timeout_seconds = timeout_seconds

    async def json(self, request: Request) -> dict[str, Any]:
        """The JSON object a request is answered with."""
        return decode(request, await self.text(request))

    async def text(self, request: Request) -> str:
        """The body a request is answered with.

        :raises ClusterUnreachable: no answer, or none that can be used
        :raises ClusterRefused: the server understood and refused
        :raises KubeconfigUnusable: the credentials cannot be had
        """
        status, body = await self.answer(request)
        if error := failure(request, status, body):
            raise error
        return body

    async def answer(self, request: Request) -> tuple[int, str]:
        """Status and body, whatever they are; a busy server is asked again as long as the time allows."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._until_served(request)
        except TimeoutError as error:
            raise self._unreachable(request, f"no answer within {self._timeout_seconds:g} s") from error
        except ssl.SSLError as error:
            raise self._unreachable(request, f"TLS: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(request, str(error) or type(error).__name__) from error
        except ConfigException as error:
            raise KubeconfigUnusable(
                "the kubeconfig gives no credentials",
                seen=str(error),
                remedy="run the kubeconfig's credential command by hand and see what it lacks",
            ) from error

    async def _until_served(self, request: Request) -> tuple[int, str]:
        deadline = asyncio.get_running_loop().time() + self._timeout_seconds
        while True:
            status, headers, body = await self._once(request)
            pause = wait_seconds(headers)
            left = deadline - asyncio.get_running_loop().time()
            # A pod that is busy is an observation; a busy API server has not looked at the request at all.
            if status != BUSY or request.relayed or pause >= left:
                return status, body
            await asyncio.sleep(pause)

    async def _once(self, request: Request) -> tuple[int, Mapping[str, str], str]:
        headers = {"Accept": "*/*" if request.relayed else request.accept, **self._api.default_headers}
        if request.content_type:
            headers["Content-Type"] = request.content_type
        query = list(request.query)
        await self._api.update_params_for_auth(headers, query, ["BearerToken"])
        # Not call_api: it searches each header and body for what ours never hold, which is a third of its time.
        response: aiohttp.ClientResponse = await self._api.request(
            request.method,
            f"{self._api.configuration.host}{request.path}",
            query_params=query,
            headers=headers,
            body=request.body.encode() if isinstance(request.body, str) else request.body,
            _preload_content=False,
        )
        async with response:
            return response.status, response.headers, (await response.read()).decode("utf-8", "replace")

    def _unreachable(self, request: Request, seen: str) -> ClusterUnreachable:
        return ClusterUnreachable(
            f"the Kubernetes API gave no answer for {request.what}",
            expected=f"an answer from {self._api.configuration.host}",
            seen=seen,
            remedy="check the server's address in the kubeconfig, the network between, and the API server itself",
        )
