"""What the accounts of a sandbox asked the API server for: its audit log, kept for service accounts alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CREATED: Final = 201
FORBIDDEN: Final = 403

POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    # A watch is written down when it starts, not only when it has ended.
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}
"""Names, verbs and answers, never contents: Secrets stay what they are."""


@dataclass(frozen=True, order=True)
class Access:
    """A right, in the words of a Role: ``resource`` holds the subresource, ``group`` is empty for the core."""

    group: str
    resource: str
    verb: str


@dataclass(frozen=True)
class Audited:
    """One request.

    :param path: of the request, with its query
    """

    user: str
    namespace: str
    path: str
    needs: tuple[Access, ...]
    status: int

    @property
    def refused(self) -> bool:
        """Whether the account lacked a right."""
        return self.status == FORBIDDEN


def read(log: Path, user: str) -> Iterator[Audited]:
    """Requests of one account for objects, oldest first; discovery, which everybody may use, is left out.

    :param user: for example ``system:serviceaccount:production:stellwerk``
    """
    with log.open() as lines:
        for line in lines:
            event = json.loads(line)
            if event["user"]["username"] == user and "objectRef" in event:
                yield _request(event)


def _request(event: dict[str, Any]) -> Audited:
    object_ref = event["objectRef"]
    group, resource = object_ref.get("apiGroup", ""), object_ref["resource"]
    if subresource := object_ref.get("subresource"):
        resource = f"{resource}/{subresource}"
    status = event.get("responseStatus", {}).get("code", 0)
    verbs = [event["verb"]]
    if event["verb"] in ("patch", "update") and status == CREATED:
        verbs.append("create")  # the server asks for that right, too, when the object was not there
    return Audited(
        user=event["user"]["username"],
        namespace=object_ref.get("namespace", ""),
        path=event["requestURI"],
        needs=tuple(Access(group, resource, verb) for verb in verbs),
        status=status,
    )
