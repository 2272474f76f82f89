"""Asking the API server beforehand: would it take these objects, may this account do that? Nothing is changed."""

from __future__ import annotations

import re

from include.chart.manifest import Manifest
from include.clients.kubernetes import requests
from include.clients.kubernetes.answers import failure, reason
from include.clients.kubernetes.discovery import Api, Resource, parse_api
from include.clients.kubernetes.transport import Transport
from include.errors import ClusterRefused

_LONGEST_WORDS = 1200
# Role-based access control's words; admission (quotas, policies) forbids in others.
_NO_RIGHT = re.compile(r'is forbidden: User "[^"]*" cannot \w+ resource')
# Server-side apply tells of wrong types and unknown fields with status 500.
_TYPED = ("failed to create typed", "failed to convert", "field not declared in schema")


class Inspector:
    """Questions to the API server of one namespace.

    Every method raises ``ClusterUnreachable`` when no usable answer comes.
    """

    def __init__(self, transport: Transport, namespace: str) -> None:
        self._transport = transport
        self._namespace = namespace
        self._api: Api | None = None

    async def api(self) -> Api:
        """The kinds it knows (asked once)."""
        if self._api is None:
            answers = [await self._transport.json(requests.discovery(root)) for root in ("/api", "/apis")]
            self._api = parse_api(answers)
        return self._api

    async def refusal(self, manifest: Manifest, resource: Resource) -> str | None:
        """Why the server would not take an object, in its own words; None when it would.

        A hook is asked about as a new object (helm deletes the one before), all else as Helm 4 applies it. Where
        the account lacks the right there is no answer either: :meth:`may` tells of those.
        """
        namespace = manifest.namespace or self._namespace
        what = f"{manifest.object} in {namespace}"
        create = bool(manifest.hooks)
        path = resource.collection(namespace) if create else resource.path(namespace, manifest.name)
        request = requests.dry_run(path, manifest.text, what, create=create)
        status, body = await self._transport.answer(request)
        error = failure(request, status, body)
        if error is None or (create and status == 409):
            return None
        words = reason(body, longest=_LONGEST_WORDS)
        if status == 403 and _NO_RIGHT.search(words):
            return None
        typed = any(word in words for word in _TYPED)
        if typed or (isinstance(error, ClusterRefused) and status != 401):
            return words
        raise error

    async def may(self, group: str, resource: str, verb: str, *, namespace: str | None) -> bool:
        """Whether the account has a verb on a resource (``pods/log``).

        :param namespace: None for a resource without one
        """
        name, _, subresource = resource.partition("/")
        attributes = {"group": group, "resource": name, "subresource": subresource, "verb": verb}
        if namespace is not None:
            attributes["namespace"] = namespace
        answer = await self._transport.json(requests.may({key: text for key, text in attributes.items() if text}))
        return bool((answer.get("status") or {}).get("allowed"))
