"""Owns what the node knows about a pod and its containers at one moment: frozen, the input of their status."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not running, and why."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """Running since ``at`` (epoch seconds)."""

    at: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Ended; times in epoch seconds."""

    code: int
    reason: str
    started_at: float
    finished_at: float
    container_id: str
    message: str = ""
    signal: int = 0


State = Waiting | Started | Ended


@dataclass(frozen=True, slots=True)
class ContainerView:
    """One container as the node sees it now.

    :param image_id: empty until the image was found
    :param started: its startup probe, if any, has passed
    """

    name: str
    image: str
    state: State
    image_id: str = ""
    container_id: str = ""
    last: Ended | None = None
    ready: bool = False
    started: bool = False
    restarts: int = 0


@dataclass(frozen=True)
class PodView:
    """One pod as the node sees it now.

    :param started_at: when the node took it, epoch seconds
    :param ended: no container will ever run again in this pod
    :param failure: reason and message when the node itself fails the pod
    """

    started_at: float
    ip: str = ""
    init: tuple[ContainerView, ...] = ()
    containers: tuple[ContainerView, ...] = ()
    ended: bool = False
    failure: tuple[str, str] | None = None
    gates: tuple[str, ...] = field(default=())
