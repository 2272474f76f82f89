"""What an answer of Prometheus means: numbers, or one sentence that says why there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from include.errors import MetricsError, MetricsRefused, MetricsUnreachable, MetricsUnusable

_LONGEST_WORDS: Final = 300
_TRUNCATED: Final = "results truncated due to limit"

Kind = Literal["vector", "matrix", "scalar", "string"]


@dataclass(frozen=True)
class Series:
    """One series: its labels (``__name__`` among them) and its ``(seconds since the epoch, value)`` by time."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Answer:
    """What a query gave.

    :param warnings: Prometheus' own, above all that a part of the data is missing
    """

    kind: Kind
    series: tuple[Series, ...]
    warnings: tuple[str, ...] = ()


def read(
    status: int, headers: Mapping[str, str], body: bytes, *, most_series: int, newest: bool = False
) -> Answer:
    """The numbers of one answer.

    :param headers: with names in lower case
    :param newest: of each series the last sample alone
    :param most_series: more than that is a mistake in the query
    :raises MetricsRefused: wrong credentials, address or query
    :raises MetricsUnreachable: a server that is overloaded or broken
    :raises MetricsUnusable: an answer that is none
    """
    if status != 200:
        raise _refused(status, headers, body)
    if newest and (found := _newest(body)) is not None:
        return _checked(found, most_series)
    document = _document(body)
    if document is None:
        raise _no_answer(f"{headers.get('content-type') or 'no content type'}: {words(body)!r}")
    if document.get("status") != "success":
        raise _no_answer(_said(body) or "an answer without success")
    try:
        answer = _answer(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _no_answer(f"{type(error).__name__}: {error} in {words(body)!r}") from error
    return _checked(answer, most_series)


def _checked(answer: Answer, most_series: int) -> Answer:
    if len(answer.series) > most_series or _TRUNCATED in answer.warnings:
        raise MetricsUnusable(
            "the query gives too many series",
            expected=f"at most {most_series}",
            seen=f"{len(answer.series)} or more",
            remedy="name the series more closely (slo.metrics.labels), or add them up in the query",
        )
    return answer


def words(body: bytes) -> str:
    """The beginning of a body on one line."""
    text = body[: 4 * _LONGEST_WORDS].decode("utf-8", "replace")
    return " ".join(text.split())[:_LONGEST_WORDS]


class _NewestSeries(msgspec.Struct, gc=False):
    metric: dict[str, str]
    values: msgspec.Raw


class _Matrix(msgspec.Struct):
    result: list[_NewestSeries]
    kind: Literal["matrix"] = msgspec.field(name="resultType")


class _Newest(msgspec.Struct):
    status: Literal["success"]
    data: _Matrix
    warnings: list[str] = []


def _newest(body: bytes) -> Answer | None:
    """The last samples of a matrix, for which nothing else of it becomes an object; None for any other body.

    A triggerer with hundreds of watches reads thousands of series a second, and what Python's collector has to
    walk through stops all of them.
    """
    try:
        found = msgspec.json.decode(body, type=_Newest)
        series = tuple(Series(one.metric, _last(one.values)) for one in found.data.result)
    except (ValueError, RecursionError):
        return None
    return Answer("matrix", series, tuple(one[:_LONGEST_WORDS] for one in found.warnings))


def _last(values: msgspec.Raw) -> tuple[tuple[float, float], ...]:
    text = bytes(values)
    if text == b"[]":
        return ()
    at, value = msgspec.json.decode(text[text.rindex(b"[", 1) : -1], type=tuple[float, str])
    return ((at, float(value)),)


def _answer(document: Mapping[str, Any]) -> Answer:
    data = document["data"]
    kind, result = data["resultType"], data["result"]
    warnings = tuple(str(one)[:_LONGEST_WORDS] for one in document.get("warnings") or ())
    if kind == "matrix":
        return Answer(kind, tuple(_series(one["metric"], one.get("values") or ()) for one in result), warnings)
    if kind == "vector":
        return Answer(kind, tuple(_series(one["metric"], (one["value"],)) for one in result), warnings)
    if kind == "scalar":
        return Answer(kind, (_series({}, (result,)),), warnings)
    if kind == "string":
        return Answer(kind, (), warnings)
    raise ValueError(f"unknown resultType {kind!r}")


def _series(labels: Mapping[str, str], pairs: Any) -> Series:
    # float() understands the spellings of Prometheus: "NaN", "+Inf", "-Inf".
    return Series(dict(labels), tuple((float(at), float(value)) for at, value in pairs))


def _document(body: bytes) -> Mapping[str, Any] | None:
    try:
        found = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _said(body: bytes) -> str:
    """Prometheus' own words about an error; empty when they are not Prometheus'."""
    document = _document(body) or {}
    if not isinstance(document.get("error"), str):
        return ""
    kind = document.get("errorType")
    return f"{kind}: {document['error']}"[:_LONGEST_WORDS] if kind else str(document["error"])[:_LONGEST_WORDS]


def _refused(status: int, headers: Mapping[str, str], body: bytes) -> MetricsError:
    seen = f"HTTP {status}: {_said(body) or words(body)}".rstrip(": ")
    if status in (401, 403):
        return MetricsRefused(
            "Prometheus does not accept the credentials",
            expected="a login or a token that may query",
            seen=f"HTTP {status}",
            remedy="correct login and password (or the token) of the connection that connections.prometheus names",
        )
    if 300 <= status < 400:
        place = urlsplit(headers.get("location", ""))
        to = f"{place.scheme}://{place.hostname}{place.path}" if place.hostname else place.path or "nowhere"
        return MetricsRefused(
            "Prometheus sends us elsewhere",
            expected="an answer at this address",
            seen=f"HTTP {status} to {to}",
            remedy="put the address that answers into the connection (a login page in between needs a token)",
        )
    if status == 400:
        return MetricsRefused(
            "Prometheus does not understand the query", seen=seen, remedy="correct the rule's query"
        )
    if status == 422:
        return MetricsUnusable("Prometheus cannot compute the query", seen=seen, remedy="correct the rule's query")
    if status == 429 or status >= 500:
        return MetricsUnreachable(
            "Prometheus is not able to answer",
            expected="HTTP 200",
            seen=seen,
            remedy="look at Prometheus and at what stands in front of it",
        )
    return MetricsRefused(
        "there is no Prometheus at this address",
        expected="HTTP 200 of /api/v1/query",
        seen=seen,
        remedy="correct the address (and the path) in the connection that connections.prometheus names",
    )


def _no_answer(seen: str) -> MetricsUnusable:
    return MetricsUnusable(
        "the answer is none of Prometheus",
        expected="JSON with numbers",
        seen=seen,
        remedy="check that the connection leads to Prometheus itself and not to a page in front of it",
    )
