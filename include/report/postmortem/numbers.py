"""What it cost: requests served by the faulty version, requests lost at the switches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.report.postmortem.incident import Incident
from include.report.postmortem.model import Loss, Numbers, Series


def numbers(incident: Incident, series: Series) -> Numbers:
    """Add up; what nobody counted is None."""
    requests, errors, counted = _served(incident, series)
    # One failed request of two is no rate: where the watch had too few for a verdict, it is not the highest.
    proven = [point for point in series.points if point.state != "UNKNOWN"]
    rates = [rate for point in proven or series.points if (rate := point.error_rate) is not None]
    slow = [point.p95_seconds for point in series.points if point.p95_seconds is not None]
    return Numbers(
        requests=requests,
        errors=errors,
        counted=counted,
        highest_error_rate=max(rates, default=None),
        highest_p95_seconds=max(slow, default=None),
        forward=_loss(incident, "cutover.observed", "cutover.done"),
        back=_loss(incident, "switch.back"),
    )


def _served(incident: Incident, series: Series) -> tuple[int | None, int | None, str]:
    if series.points:
        errors = sum(point.errors for point in series.points)
        least = "Summe der Messreihe" + (", die Lücken hat: mindestens so viele" if series.gaps else "")
        return sum(point.requests for point in series.points), errors, least
    for entry in reversed(incident.ends):
        measures = entry.payload.get("measures")
        if isinstance(measures, dict) and (counted := _whole(measures.get("requests"))) is not None:
            return counted, _whole(measures.get("errors")), "Zähler am Ende der Beobachtung"
    return None, None, "nicht festgehalten: weder eine Messreihe noch Zähler am Ende der Beobachtung"


def _loss(incident: Incident, *kinds: str) -> Loss:
    """The first observation that saw something; else the first reason why there is none."""
    sentence = ""
    for entry in incident.of(*kinds):
        told: Mapping[str, Any] = entry.payload
        if isinstance(told.get("observation"), dict):
            told = told["observation"]
        sent, lost = _whole(told.get("sent")), _whole(told.get("lost"))
        if sent and lost is not None:
            return Loss(sent, lost, _whole(told.get("lost_before")) or 0, str(told.get("sentence") or ""))
        sentence = sentence or str(told.get("sentence") or "")
    return Loss(None, None, 0, sentence or "nichts, niemand hat beobachtet")


def _whole(value: object) -> int | None:
    """A count; None for everything that is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        return None
    return round(value)
