"""What was observed of a cluster, as plain frozen values.

Clients produce these, decisions consume them; nothing here talks to anything. ``None`` always means
"the API did not say", never "zero" or "no".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class ServicePort:
    """One port of a Service; ``node_port`` is None for a Service that has none.

    ``target`` is the container port it forwards to, by name or number.
    """

    name: str
    port: int
    node_port: int | None = None
    target: str | int | None = None


@dataclass(frozen=True)
class ServiceState:
    """A Service as it was read.

    ``selector``, ``annotations`` and ``labels`` are empty when the object has none. ``resource_version`` is the
    version that was read: whatever is decided from this value is decided about that version.
    """

    name: str
    selector: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    resource_version: str = ""
    ports: tuple[ServicePort, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Endpoint:
    """One address of a Service's EndpointSlices.

    ``ports`` maps port names to numbers and is empty when the pod lacks the named port: such an endpoint may be
    ``ready`` and refuses every connection all the same.
    """

    pod: str
    pod_uid: str
    ready: bool
    terminating: bool
    ports: Mapping[str, int]


@dataclass(frozen=True)
class PodState:
    """A pod, reduced to its application container (the first one) and the pod's own conditions.

    ``image`` is what was asked for, ``image_id`` what runs (empty until pulled). ``waiting_reason`` is for
    example ``ErrImagePull`` or ``CrashLoopBackOff``; ``terminated_reason`` that of the last end (``OOMKilled``).
    ``started_at`` is the start of the running container, ``container`` its name, ``cpu_cores`` what it may use
    (its limit, else what it requests).
    """

    name: str
    uid: str
    labels: Mapping[str, str]
    phase: str
    ready: bool
    deleting: bool = False
    restarts: int = 0
    waiting_reason: str | None = None
    waiting_message: str = ""
    terminated_reason: str | None = None
    image: str = ""
    image_id: str = ""
    started_at: datetime | None = None
    ip: str = ""
    container: str = ""
    cpu_cores: float | None = None


@dataclass(frozen=True)
class DeploymentState:
    """A Deployment: ``replicas`` is what the spec asks for, ``ready`` and ``updated`` what the status reports.

    ``outdated`` pods are those the status counts of an earlier template: some are there while a rollout goes on,
    none while an autoscaler merely adds pods (``kubectl rollout status`` tells the two apart in the same way).
    ``match_labels`` is what it knows its pods by, ``pod_labels`` what every new pod gets, ``images`` what the
    containers of a new pod run.
    """

    name: str
    replicas: int
    ready: int
    updated: int
    generation: int
    observed_generation: int
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    match_labels: Mapping[str, str] = field(default_factory=dict)
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    outdated: int = 0


@dataclass(frozen=True)
class HpaState:
    """A HorizontalPodAutoscaler and the Deployment it scales (``target``)."""

    name: str
    target: str
    min_replicas: int
    max_replicas: int


@dataclass(frozen=True)
class HelmRevision:
    """One line of ``helm history``: ``status`` and ``description`` are helm's own words."""

    revision: int
    status: str
    description: str = ""
    updated: datetime | None = None
    chart: str = ""
    app_version: str = ""
