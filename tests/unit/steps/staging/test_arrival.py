"""A load that pods did not count went somewhere else, or nobody knows."""

from __future__ import annotations

import pytest

from include.load.figures import Asked, Figures
from include.plan.staging import LoadTest
from include.slo.samples import PodSample, Snapshot
from include.steps.staging.arrival import went_elsewhere
from tests.unit.steps.staging.rehearsals import a_run

TRAFFIC = a_run().environment.traffic
PLAN = LoadTest.model_validate({"kinds": [{"name": "reader", "requests": [{"path": "/"}, {"path": "/healthz"}]}]})


def figures(sent: int, failed: int = 0) -> Figures:
    asked = (Asked("GET /", sent, failed, {}), Asked("GET /healthz", 1000, 0, {}))
    return Figures(sent + 1000, failed, 0.1, 50.0, asked=asked)


def seen(*errors: str, **pods: float) -> Snapshot:
    found = tuple(PodSample(name, name, 0.0, requests={"200": number}) for name, number in pods.items())
    return Snapshot(0.0, "green", found, errors=errors)


@pytest.mark.parametrize(
    ("sent", "failed", "before", "after", "why"),
    [
        (100, 0, seen(a=50), seen(a=100, b=50), ""),
        (100, 20, seen(a=0), seen(a=80), ""),
        (100, 0, seen(a=50), seen(a=139), "100 requests were answered rightly, and pods of green have counted 89"),
        (100, 0, seen(a=50, b=9), seen(a=500), "1 of its pods went meanwhile"),
        (100, 0, seen("pod a hangs"), seen(a=100), "is not known: pod a hangs"),
        (0, 0, seen(), seen(), ""),
    ],
)
def test_what_was_sent_has_to_be_counted(
    sent: int, failed: int, before: Snapshot, after: Snapshot, why: str
) -> None:
    found = went_elsewhere(PLAN, figures(sent, failed), TRAFFIC, before, after)
    assert why in found
    assert bool(found) == bool(why)
