"""The Secrets in which Helm keeps the revisions of a release: put aside, brought back, forgotten.

A revision holds everything it was installed with, credentials included. It therefore goes from Secret to Secret
within the cluster: through this process's memory, never into a file, a log or an error.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from include.clients.kubernetes import requests
from include.clients.kubernetes.answers import decode, failure, reason
from include.clients.kubernetes.requests import METADATA_ONLY, Request
from include.clients.kubernetes.transport import Transport
from include.errors import AdoptionRefused, ClusterRefused, PatchRefused

log = logging.getLogger(__name__)

KEPT_FROM: Final = "stellwerk.io/adopted-from"
ORIGINAL: Final = "stellwerk.io/original"
KEPT_TYPE: Final = "stellwerk.io/helm-release"
_ROUNDS: Final = 5

Object = Mapping[str, Any]


class ReleaseSecrets:
    """Helm's releases of one namespace, as Secrets.

    Every method raises ``ClusterUnreachable`` and ``ClusterRefused`` as the API server answered. Each may be
    interrupted anywhere and called again: a revision is deleted only after it has been written in its other form.
    """

    def __init__(self, transport: Transport, namespace: str) -> None:
        self._transport = transport
        self._namespace = namespace

    async def states(self, release: str) -> tuple[str, ...]:
        """The states of a release's revisions that Helm sees, for example ``deployed``; empty for no release."""
        seen = await self._heads(_helms(release))
        return tuple(sorted((head.get("labels") or {}).get("status", "") for head in seen))

    async def put_aside(self, release: str) -> int:
        """Take a release out of Helm's sight: each revision becomes a Secret that Helm doesn't look for.

        :return: how many revisions are kept now
        :raises PatchRefused: a helm works on the release at the same time
        :raises AdoptionRefused: revisions of an earlier installation are kept under the same names
        """
        for _ in range(_ROUNDS):
            heads = await self._heads(_helms(release))
            if not heads:
                return len(await self._heads(_kept(release)))
            for head in heads:
                if (secret := await self._read(head["name"])) is not None:
                    await self._move(secret, kept_form(secret, release))
        raise PatchRefused(
            f"Helm release {release} gets new revisions while it is being adopted",
            expected="nobody else at work on it",
            seen=", ".join(head["name"] for head in heads),
            remedy="stop the old pipeline, then clear the task",
        )

    async def bring_back(self, release: str) -> int:
        """Put the kept revisions of a release where Helm looks for them, as they were.

        :return: how many revisions Helm sees now
        :raises AdoptionRefused: the release has been installed again meanwhile
        """
        for head in await self._heads(_kept(release)):
            if (secret := await self._read(head["name"])) is not None:
                await self._move(secret, original_form(secret))
        return len(await self._heads(_helms(release)))

    async def forget(self, release: str) -> int:
        """Delete the kept revisions of a release, for good."""
        heads = await self._heads(_kept(release))
        for head in heads:
            await self._delete(head)
        return len(heads)

    async def _move(self, secret: Object, wanted: Object) -> None:
        existing = await self._read(wanted["metadata"]["name"])
        if existing is not None and not _same(existing, wanted):
            if not _outdated(existing, secret):
                raise AdoptionRefused(
                    f"Secret {wanted['metadata']['name']} is taken by another revision",
                    expected=f"no such Secret, or the content of {secret['metadata']['name']}",
                    seen="another content, of another installation",
                    remedy="see which of the two installations counts, delete the other's Secret, clear the task",
                )
            await self._delete(existing["metadata"])
            existing = None
        stored = await self._create(wanted) if existing is None else existing
        if not _same(stored, wanted):
            raise ClusterRefused(
                f"Secret {wanted['metadata']['name']} was not stored as it was sent",
                expected="the same content",
                seen="another one",
                remedy="find the webhook that changes Secrets; the original is untouched",
            )
        await self._delete(secret["metadata"])
        log.info("Secret %s is now %s", secret["metadata"]["name"], wanted["metadata"]["name"])

    async def _heads(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        selected = requests.select("secrets", self._namespace, labels=labels)
        request = Request("GET", selected.path, selected.what, selected.query, accept=METADATA_ONLY)
        items = (await self._transport.json(request)).get("items") or ()
        return sorted((item["metadata"] for item in items), key=lambda head: str(head["name"]))

    async def _read(self, name: str) -> dict[str, Any] | None:
        request = requests.read("secrets", self._namespace, name)
        status, body = await self._transport.answer(request)
        if status == 404:
            return None
        if error := failure(request, status, body):
            raise error
        return decode(request, body)

    async def _create(self, secret: Object) -> Object:
        return await self._transport.json(requests.create("secrets", self._namespace, secret))

    async def _delete(self, head: Object) -> None:
        request = requests.delete_observed(
            "secrets", self._namespace, head["name"], uid=head["uid"], resource_version=head["resourceVersion"]
        )
        status, body = await self._transport.answer(request)
        if status == 409:
            raise PatchRefused(
                f"{request.what} changed while it was being moved",
                expected="nobody else at work on the release",
                seen=reason(body),
                remedy="stop the old pipeline; the task tries again",
            )
        if status != 404 and (error := failure(request, status, body)):
            raise error


def kept_form(secret: Object, release: str) -> dict[str, Any]:
    """A revision as it is kept: the same content, with everything that Helm looks for noted aside."""
    metadata = secret["metadata"]
    original = {
        "name": metadata["name"],
        "labels": metadata.get("labels") or {},
        "annotations": metadata.get("annotations") or {},
        "type": secret.get("type", ""),
        "uid": metadata.get("uid", ""),
    }
    return _secret(
        f"stellwerk.{metadata['name']}",
        {KEPT_FROM: release},
        {ORIGINAL: json.dumps(original, sort_keys=True)},
        KEPT_TYPE,
        secret,
    )


def original_form(kept: Object) -> dict[str, Any]:
    """A kept revision as Helm wrote it."""
    original = json.loads(kept["metadata"]["annotations"][ORIGINAL])
    return _secret(original["name"], original["labels"], original["annotations"], original["type"], kept)


def _secret(name: str, labels: Object, annotations: Object, kind: str, content: Object) -> dict[str, Any]:
    metadata = {"name": name, "labels": dict(labels), "annotations": dict(annotations)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": kind,
        "data": dict(content.get("data") or {}),
    }


def _same(one: Object, other: Object) -> bool:
    """Whether two Secrets say the same; which uid the original had plays no part."""

    def said(secret: Object) -> tuple[object, ...]:
        metadata = secret["metadata"]
        return secret.get("data"), secret.get("type"), metadata.get("labels") or {}

    return said(one) == said(other)


def _outdated(kept: Object, original: Object) -> bool:
    """Whether ``kept`` is a copy of this very original, made before Helm changed it."""
    noted = (kept["metadata"].get("annotations") or {}).get(ORIGINAL)
    return noted is not None and json.loads(noted)["uid"] == original["metadata"].get("uid")


def _helms(release: str) -> dict[str, str]:
    return {"owner": "helm", "name": release}


def _kept(release: str) -> dict[str, str]:
    return {KEPT_FROM: release}
