"""Which kinds a server knows and under which path: pure functions over its aggregated discovery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True)
class Resource:
    """How the API calls a kind.

    :param api_version: ``v1``, or group and version
    :param resource: plural, as paths and RBAC rules name it
    """

    api_version: str
    kind: str
    resource: str
    namespaced: bool

    @property
    def group(self) -> str:
        """The API group; ``""`` is the core."""
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    def collection(self, namespace: str) -> str:
        """Path of the objects of this kind; the namespace counts only where the kind has one."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        place = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced else ""
        return f"{root}{place}/{self.resource}"

    def path(self, namespace: str, name: str) -> str:
        """Path of one object."""
        return f"{self.collection(namespace)}/{quote(name, safe='')}"


@dataclass(frozen=True)
class Api:
    """All kinds of a server by ``(apiVersion, kind)``."""

    resources: Mapping[tuple[str, str], Resource]

    def find(self, api_version: str, kind: str) -> Resource | None:
        """The resource of a kind, None when the server does not know it."""
        return self.resources.get((api_version, kind))

    @property
    def versions(self) -> tuple[str, ...]:
        """Group versions, and each with its kinds: what a chart's ``.Capabilities.APIVersions`` holds."""
        groups = {api_version for api_version, _ in self.resources}
        return tuple(sorted(groups | {f"{api_version}/{kind}" for api_version, kind in self.resources}))


def parse_api(answers: Sequence[Mapping[str, Any]]) -> Api:
    """The kinds that the discovery documents of ``/api`` and ``/apis`` list."""
    found = [resource for answer in answers for group in answer.get("items") or () for resource in _group(group)]
    return Api({(one.api_version, one.kind): one for one in found})


def _group(group: Mapping[str, Any]) -> Iterator[Resource]:
    name = (group.get("metadata") or {}).get("name") or ""
    for version in group.get("versions") or ():
        api_version = f"{name}/{version['version']}" if name else version["version"]
        for item in version.get("resources") or ():
            kind = (item.get("responseKind") or {}).get("kind")
            # What only answers (a review) or only has subresources is nothing a chart could hold.
            if kind and "create" in (item.get("verbs") or ()):
                yield Resource(api_version, kind, item["resource"], item.get("scope") == "Namespaced")
