"""Objects of the Kubernetes API become the frozen values of :mod:`include.bluegreen.state`: pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import msgspec

from include.bluegreen.diagnosis import TEMPLATE_HASH
from include.bluegreen.lease import LeaseState
from include.bluegreen.state import DeploymentState, Endpoint, HpaState, PodState, ServicePort, ServiceState

Object = Mapping[str, Any]

_CORES: Final = re.compile(r"(\d+(?:\.\d+)?|\.\d+)([num]?)")
_SCALES: Final = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
REVISION: Final = "deployment.kubernetes.io/revision"


@dataclass(frozen=True)
class ClusterEvent:
    """What a part of the cluster reported about an object."""

    type: str
    reason: str
    message: str
    count: int
    last_seen: datetime | None


class _PodMetadata(msgspec.Struct):
    name: str = ""
    uid: str = ""
    labels: dict[str, str] | None = None
    deletion_timestamp: str | None = msgspec.field(default=None, name="deletionTimestamp")


class _PodSpec(msgspec.Struct):
    containers: list[dict[str, Any]] | None = None


class _Pod(msgspec.Struct):
    metadata: _PodMetadata | None = None
    spec: _PodSpec | None = None
    status: dict[str, Any] | None = None

    @property
    def parts(self) -> Object:
        """What :func:`pod` reads."""
        head, spec = self.metadata or _PodMetadata(), self.spec or _PodSpec()
        metadata = {
            "name": head.name,
            "uid": head.uid,
            "labels": head.labels,
            "deletionTimestamp": head.deletion_timestamp,
        }
        return {"metadata": metadata, "spec": {"containers": spec.containers}, "status": self.status}


class Pods(msgspec.Struct):
    """A list of pods without what nobody here reads, which is three quarters of it: it is listed every second."""

    items: list[_Pod] | None = None


def service(item: Object) -> ServiceState:
    """A Service."""
    metadata, spec = _map(item, "metadata"), _map(item, "spec")
    return ServiceState(
        name=metadata.get("name", ""),
        selector=dict(_map(spec, "selector")),
        annotations=dict(_map(metadata, "annotations")),
        resource_version=metadata.get("resourceVersion", ""),
        ports=tuple(
            ServicePort(port.get("name") or "", port["port"], port.get("nodePort") or None, port.get("targetPort"))
            for port in spec.get("ports") or ()
        ),
        labels=dict(_map(metadata, "labels")),
    )


def endpoints(slices: Iterable[Object]) -> tuple[Endpoint, ...]:
    """The pods behind a Service, each once.

    A pod appears in several slices when it has addresses of both families or is being moved between slices:
    it counts as ready only where all of them say so.
    """
    found: dict[str, Endpoint] = {}
    for piece in slices:
        ports = {port.get("name") or "": port["port"] for port in piece.get("ports") or () if port.get("port")}
        for item in piece.get("endpoints") or ():
            one = _endpoint(item, ports)
            key = one.pod_uid or one.pod
            if other := found.get(key):
                one = replace(
                    one,
                    ready=one.ready and other.ready,
                    terminating=one.terminating or other.terminating,
                    ports={**other.ports, **one.ports},
                )
            found[key] = one
    return tuple(sorted(found.values(), key=lambda endpoint: endpoint.pod))


def pod(item: Object) -> PodState:
    """A pod, reduced to its first container (of the init containers only what holds the pod up)."""
    metadata, spec, status = _map(item, "metadata"), _map(item, "spec"), _map(item, "status")
    containers = spec.get("containers") or [{}]
    main = _container(status.get("containerStatuses"), containers[0].get("name", ""))
    waiting = _waiting(status.get("initContainerStatuses") or ()) or _map(_map(main, "state"), "waiting")
    return PodState(
        name=metadata.get("name", ""),
        uid=metadata.get("uid", ""),
        labels=dict(_map(metadata, "labels")),
        phase=status.get("phase", ""),
        ready=_condition(status, "Ready"),
        deleting=bool(metadata.get("deletionTimestamp")),
        restarts=main.get("restartCount", 0),
        waiting_reason=waiting.get("reason"),
        waiting_message=waiting.get("message", ""),
        terminated_reason=_ended(main),
        image=containers[0].get("image", ""),
        image_id=main.get("imageID", ""),
        started_at=timestamp(_map(_map(main, "state"), "running").get("startedAt")),
        ip=status.get("podIP", ""),
        container=containers[0].get("name", ""),
        cpu_cores=_cores(_map(containers[0], "resources")),
    )


def deployment(item: Object) -> DeploymentState:
    """A Deployment."""
    metadata, spec, status = _map(item, "metadata"), _map(item, "spec"), _map(item, "status")
    return DeploymentState(
        name=metadata.get("name", ""),
        replicas=spec.get("replicas", 1),
        ready=status.get("readyReplicas", 0),
        updated=status.get("updatedReplicas", 0),
        generation=metadata.get("generation", 0),
        observed_generation=status.get("observedGeneration", 0),
        labels=dict(_map(metadata, "labels")),
        annotations=dict(_map(metadata, "annotations")),
        match_labels=dict(_map(_map(spec, "selector"), "matchLabels")),
        pod_labels=dict(_map(_map(_map(spec, "template"), "metadata"), "labels")),
        images=tuple(one.get("image", "") for one in _map(_map(spec, "template"), "spec").get("containers") or ()),
        outdated=max(0, status.get("replicas", 0) - status.get("updatedReplicas", 0)),
    )


def newest_template(replicasets: Iterable[Object]) -> str | None:
    """The ``pod-template-hash`` of the newest of a Deployment's ReplicaSets; None when there is none."""

    def revision(item: Object) -> int:
        text = _map(_map(item, "metadata"), "annotations").get(REVISION, "")
        return int(text) if text.isdecimal() else -1

    newest = max(replicasets, key=revision, default=None)
    return None if newest is None else _map(_map(newest, "metadata"), "labels").get(TEMPLATE_HASH)


def hpa(item: Object) -> HpaState:
    """A HorizontalPodAutoscaler."""
    metadata, spec = _map(item, "metadata"), _map(item, "spec")
    return HpaState(
        name=metadata.get("name", ""),
        target=_map(spec, "scaleTargetRef").get("name", ""),
        min_replicas=spec.get("minReplicas", 1),
        max_replicas=spec.get("maxReplicas", 0),
    )


def lease(item: Object) -> LeaseState:
    """A Lease; one that somebody else made may lack any of its fields."""
    metadata, spec = _map(item, "metadata"), _map(item, "spec")
    return LeaseState(
        name=metadata.get("name", ""),
        holder=spec.get("holderIdentity") or None,
        acquired_at=timestamp(spec.get("acquireTime")),
        renewed_at=timestamp(spec.get("renewTime")),
        duration_seconds=spec.get("leaseDurationSeconds"),
        transitions=spec.get("leaseTransitions") or 0,
        resource_version=metadata.get("resourceVersion", ""),
        uid=metadata.get("uid", ""),
        annotations=dict(_map(metadata, "annotations")),
    )


def event(item: Object) -> ClusterEvent:
    """An Event; old and new reporters fill different fields."""
    series = _map(item, "series")
    seen = series.get("lastObservedTime") or item.get("lastTimestamp") or item.get("eventTime")
    return ClusterEvent(
        type=item.get("type", ""),
        reason=item.get("reason", ""),
        message=item.get("message", ""),
        count=series.get("count") or item.get("count") or 1,
        last_seen=timestamp(seen or _map(item, "metadata").get("creationTimestamp")),
    )


def timestamp(text: str | None) -> datetime | None:
    """A moment as the API writes it (RFC 3339); None when there is none."""
    return datetime.fromisoformat(text) if text else None


def _cores(resources: Object) -> float | None:
    """What a container may use of the processor: its limit, else its request; None when neither can be read."""
    for kind in ("limits", "requests"):
        if found := _CORES.fullmatch(str(_map(resources, kind).get("cpu", ""))):
            return float(found[1]) * _SCALES[found[2]]
    return None


def _endpoint(item: Object, ports: Mapping[str, int]) -> Endpoint:
    conditions, target = _map(item, "conditions"), _map(item, "targetRef")
    ready = conditions.get("ready")
    return Endpoint(
        pod=target.get("name") or next(iter(item.get("addresses") or ("",))),
        pod_uid=target.get("uid", ""),
        # The API's own rule: a condition that is not given counts as true.
        ready=True if ready is None else ready,
        terminating=bool(conditions.get("terminating")),
        ports=dict(ports),
    )


def _map(item: Object, key: str) -> Object:
    value = item.get(key)
    return value if isinstance(value, Mapping) else {}


def _container(statuses: Iterable[Object] | None, name: str) -> Object:
    return next((status for status in statuses or () if status.get("name") == name), {})


def _waiting(statuses: Iterable[Object]) -> Object:
    """What the first init container that is held up waits for; one that waits for its turn is not held up."""
    for status in statuses:
        waiting = _map(_map(status, "state"), "waiting")
        if waiting.get("reason") not in (None, "PodInitializing"):
            return waiting
    return {}


def _condition(status: Object, kind: str) -> bool:
    return any(one.get("type") == kind and one.get("status") == "True" for one in status.get("conditions") or ())


def _ended(container: Object) -> str | None:
    for state in ("state", "lastState"):
        if ended := _map(_map(container, state), "terminated"):
            return ended.get("reason") or f"exit code {ended.get('exitCode')}"
    return None
