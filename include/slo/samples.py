"""What was measured: counters of single pods, and the snapshot of a slot they belong to.

Counters are cumulative since the pod's process started, as Prometheus exposes them; turning two of them into a
rate is the business of :mod:`include.slo.window`. A value a pod did not report is ``None`` (or NaN, as read).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from include.plan.models import Slot


@dataclass(frozen=True)
class PodSample:
    """The metrics of one pod at one moment.

    :param pod_uid: identity of the pod; a pod that is replaced under the same name is another pod
    :param taken_at: when it was read, in seconds since the epoch
    :param started_at: start of the pod's process, in seconds since the epoch: counters begin at zero there
    :param requests: answered requests by HTTP status (``"200"``, ``"503"``), health endpoints already left out
    :param latency_buckets: ``(upper bound in seconds, cumulative count)``, ascending, the last one infinite
    :param cpu_seconds: processor time used since the process started
    """

    pod_uid: str
    pod: str
    taken_at: float
    started_at: float | None = None
    requests: Mapping[str, float] = field(default_factory=dict)
    latency_buckets: tuple[tuple[float, float], ...] = ()
    sse_connections: float | None = None
    memory_bytes: float | None = None
    cpu_seconds: float | None = None
    db_connections: float | None = None


@dataclass(frozen=True)
class Snapshot:
    """Everything one poll saw of one slot.

    :param taken_at: when the poll was made, in seconds since the epoch
    :param pods: the pods that could be read
    :param ready_endpoints: ready endpoints of the slot that serve the needed port; None when nobody could be asked
    :param errors: one sentence for each thing that could not be read; empty when the snapshot is whole
    :param unread: ready pods that did not show their metrics: what they served is not known
    :param public_ok: what the independent probe of the public URL saw; None when it was not asked
    """

    taken_at: float
    slot: Slot
    pods: tuple[PodSample, ...] = ()
    ready_endpoints: int | None = None
    errors: tuple[str, ...] = ()
    public_ok: bool | None = None
    unread: tuple[str, ...] = ()
