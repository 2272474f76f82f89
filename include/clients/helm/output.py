"""Reading what helm prints: histories and rendered manifests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import yaml

from include.bluegreen.state import HelmRevision
from include.chart.manifest import Manifest
from include.errors import ChartError, HelmError

_NANOSECONDS = re.compile(r"(\.\d{6})\d+")
_BOUNDARY = re.compile(r"^---[ \t]*$", re.MULTILINE)
_SOURCE = re.compile(r"^# Source: (\S+)", re.MULTILINE)


def parse_history(output: str) -> tuple[HelmRevision, ...]:
    """The revisions of ``helm history --output json``, oldest first.

    :raises HelmError: it is something else
    """
    try:
        rows = json.loads(output)
        revisions = [
            HelmRevision(
                revision=int(row["revision"]),
                status=str(row["status"]),
                description=str(row.get("description") or ""),
                updated=_moment(row.get("updated")),
                chart=str(row.get("chart") or ""),
                app_version=str(row.get("app_version") or ""),
            )
            for row in rows
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise HelmError(
            "helm's history cannot be read", expected="a JSON list of revisions", seen=repr(output[:80])
        ) from error
    return tuple(sorted(revisions, key=lambda one: one.revision))


def parse_values(output: str) -> dict[str, Any]:
    """The values of ``helm get values --output json``; of a revision without any, helm prints null.

    :raises HelmError: it is something else; the text, which holds secrets, is not repeated
    """
    try:
        values = json.loads(output)
    except ValueError:
        values = ""
    if values is not None and not isinstance(values, dict):
        raise HelmError("helm's values cannot be read", expected="a JSON object")
    return values or {}


def parse_manifests(output: str, *, chart: str) -> tuple[Manifest, ...]:
    """The objects of a rendered chart, each with the file it comes from; a ``List`` is taken apart.

    :raises ChartError: it renders to something that is no YAML, or no object
    """
    return tuple(
        manifest for text in _BOUNDARY.split(output) if text.strip() for manifest in _manifests(text, chart)
    )


def _manifests(text: str, chart: str) -> Iterator[Manifest]:
    found = _SOURCE.search(text)
    source = found[1] if found else ""
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise ChartError(
            f"chart {chart} renders to something that is no YAML",
            seen=f"{source}: {' '.join(str(error).split())[:300]}",
            remedy="correct the template",
        ) from error
    for document in documents:
        if not isinstance(document, dict) or not document.get("kind"):
            raise ChartError(
                f"chart {chart} renders to something that is no Kubernetes object",
                expected="a mapping with apiVersion and kind",
                seen=f"{source}: {document!r}"[:160],
                remedy="correct the template",
            )
        if document["kind"] == "List" and isinstance(items := document.get("items"), list):
            yield from (part for item in items for part in _manifests(_again(item, source), chart))
        else:
            yield Manifest(source, text, document)


def _again(item: object, source: str) -> str:
    return f"# Source: {source}\n{yaml.safe_dump(item)}"


def _moment(text: str | None) -> datetime | None:
    """Helm writes nanoseconds; a revision that was never deployed has the year 1 or nothing."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(_NANOSECONDS.sub(r"\1", text))
    except ValueError:
        return None
    return moment if moment.year > 1 else None
