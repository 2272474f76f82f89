"""What an answer of the Kubernetes API means: status and body to JSON or to a named error, without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from include.clients.kubernetes.requests import Request
from include.errors import ClusterError, ClusterRefused, ClusterUnreachable

T = TypeVar("T")

BUSY: Final = 429
GONE: Final = 410
_LONGEST_TEXT: Final = 300

_REMEDIES: Final[Mapping[int, str]] = {
    401: "renew the credentials of the Kubernetes connection: the server does not know them",
    403: "give the account the verb it lacks (deploy/rbac.yaml lists all that are needed)",
    404: "check namespace and name, and that the object was not deleted",
    409: "observe again: somebody else changed the object at the same time",
    422: "correct the change: the server takes the object for invalid",
}


def failure(request: Request, status: int, body: str) -> ClusterError | None:
    """The error an answer stands for, None for a success.

    Overload, a gateway's errors and an expired list are ``ClusterUnreachable`` (a retry can help); everything
    else the server has understood and refused.
    """
    if 200 <= status < 300:
        return None
    seen = f"HTTP {status}: {reason(body)}"
    if status in (408, GONE, BUSY) or status >= 500:
        if request.relayed:
            return ClusterUnreachable(f"{request.what} gave no usable answer", seen=seen)
        return ClusterUnreachable(
            f"the Kubernetes API could not serve {request.what}",
            seen=seen,
            remedy="wait and try again; if it stays so, look at the API server and what stands in front of it",
        )
    return ClusterRefused(
        f"the Kubernetes API refused {_verb(request)} {request.what}",
        seen=seen,
        remedy=_REMEDIES.get(status, ""),
        status=status,
    )


def is_failed_test(status: int, body: str) -> bool:
    """Whether a refused JSON patch may have met a world other than its ``test`` operations describe.

    A failed test, a missing path and an unknown operation look the same; what the API server refuses after
    having applied the patch names the offending fields.
    """
    return status == 409 or (status == 422 and not _details(body).get("causes"))


def reason(body: str, *, longest: int = _LONGEST_TEXT) -> str:
    """The server's own words: the message of its ``Status`` object, else the beginning of the text."""
    message = _object(body).get("message")
    text = message if isinstance(message, str) and message else " ".join(body.split())
    return text[:longest] + "…" if len(text) > longest else text or "no further words"


def decode(request: Request, body: str) -> dict[str, Any]:
    """The JSON object of a success.

    :raises ClusterUnreachable: something that is no JSON object answered, for example a login page
    """
    return decode_as(request, body, dict[str, Any])


def decode_as(request: Request, body: str, kind: type[T]) -> T:
    """The JSON of a success as a type of msgspec's; what the type does not name is left out unread.

    :raises ClusterUnreachable: something else answered, for example a login page
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except ValueError as error:
        raise ClusterUnreachable(
            f"the answer for {request.what} cannot be used",
            expected="a JSON object of the Kubernetes API",
            seen=repr(body[:80]),
            remedy="check that the server's address in the kubeconfig is a Kubernetes API server",
        ) from error


def wait_seconds(headers: Mapping[str, str]) -> float:
    """How long a busy server asks to wait (``Retry-After`` in seconds); one second when it does not say."""
    try:
        return max(0.0, float(headers.get("Retry-After", "1")))
    except ValueError:
        return 1.0  # a date: the API server never sends one, a proxy might


def _verb(request: Request) -> str:
    return {"GET": "to show", "POST": "to create", "DELETE": "to delete"}.get(request.method, "to change")


def _details(body: str) -> Mapping[str, Any]:
    details = _object(body).get("details")
    return details if isinstance(details, dict) else {}


def _object(body: str) -> Mapping[str, Any]:
    try:
        data = msgspec.json.decode(body)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
