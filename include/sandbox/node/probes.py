"""Owns what a probe is and what a row of its results means; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

_DEFAULT_HEADERS: Final = (("User-Agent", "kube-probe/1.34"), ("Accept", "*/*"))


class Kind(StrEnum):
    """What a probe decides."""

    READINESS = "Readiness"
    LIVENESS = "Liveness"
    STARTUP = "Startup"


class UnknownPort(Exception):
    """A probe or hook names a port the container does not declare."""


@dataclass(frozen=True, slots=True)
class HttpGet:
    """``host`` None: the pod itself."""

    scheme: str
    host: str | None
    port: int
    path: str
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """``host`` None: the pod itself."""

    host: str | None
    port: int


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of one container; times in seconds.

    :param grace: the probe's own grace period when it kills its container; None: the pod's
    """

    kind: Kind
    action: HttpGet | TcpSocket
    initial_delay: float
    period: float
    timeout: float
    success_threshold: int
    failure_threshold: int
    grace: float | None


@dataclass(frozen=True, slots=True)
class ProbeState:
    """The settled verdict and the unfinished run of equal results that may change it."""

    passing: bool
    last: bool | None = None
    run: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt saw, in kubelet's words."""

    ok: bool
    message: str = ""


def initial(probe: Probe) -> ProbeState:
    """Before the first attempt a container is alive, but neither started nor ready."""
    return ProbeState(passing=probe.kind is Kind.LIVENESS)


def observe(probe: Probe, state: ProbeState, *, ok: bool) -> ProbeState:
    """The state after one more result: the verdict changes once a threshold of equal results is reached."""
    run = state.run + 1 if state.last is ok else 1
    threshold = probe.success_threshold if ok else probe.failure_threshold
    return ProbeState(passing=ok if run >= threshold else state.passing, last=ok, run=run)


def kills(probe: Probe, state: ProbeState) -> bool:
    """Whether the container has to be killed in this state (never for readiness)."""
    if probe.kind is Kind.READINESS or state.last is not False:
        return False
    return state.run >= probe.failure_threshold


def port_number(port: int | str, container: dict[str, Any]) -> int:
    """Resolve a port given by number or by name.

    :raises UnknownPort: no port of the container has this name
    """
    if isinstance(port, int):
        return port
    for declared in container.get("ports") or []:
        if declared.get("name") == port:
            return int(declared["containerPort"])
    if port.isdigit():
        return int(port)
    raise UnknownPort(f"couldn't find port: {port!r} in container {container['name']!r}")


def http_get(spec: dict[str, Any], container: dict[str, Any]) -> HttpGet:
    """Read an ``httpGet`` action.

    :raises UnknownPort: it names a port the container does not declare
    """
    given = tuple((header["name"], header.get("value", "")) for header in spec.get("httpHeaders") or [])
    names = {name.lower() for name, _ in given}
    defaults = tuple(pair for pair in _DEFAULT_HEADERS if pair[0].lower() not in names)
    path = spec.get("path") or "/"
    return HttpGet(
        scheme=spec.get("scheme", "HTTP").lower(),
        host=spec.get("host") or None,
        port=port_number(spec["port"], container),
        path=path if path.startswith("/") else f"/{path}",
        headers=given + defaults,
    )


def parse(kind: Kind, container: dict[str, Any]) -> Probe | None:
    """The container's probe of this kind, None when it has none.

    :raises UnknownPort: it names a port the container does not declare
    """
    spec = container.get(f"{kind.value.lower()}Probe")
    if not spec:
        return None
    action: HttpGet | TcpSocket
    if "httpGet" in spec:
        action = http_get(spec["httpGet"], container)
    else:
        socket = spec["tcpSocket"]  # whatever else there is has been refused before
        action = TcpSocket(socket.get("host") or None, port_number(socket["port"], container))
    return Probe(
        kind=kind,
        action=action,
        initial_delay=float(spec.get("initialDelaySeconds", 0)),
        period=float(spec.get("periodSeconds") or 10),
        timeout=float(spec.get("timeoutSeconds") or 1),
        success_threshold=int(spec.get("successThreshold") or 1),
        failure_threshold=int(spec.get("failureThreshold") or 3),
        grace=spec.get("terminationGracePeriodSeconds"),
    )
