"""Owns a pod's status: what the node knows about its containers becomes what the API shows; pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final

from include.sandbox.addresses import NODE_ADDRESS
from include.sandbox.node.views import ContainerView, Ended, PodView, Started, State, Waiting

JsonObject = dict[str, Any]
CONTAINER_ID_SCHEME: Final = "stellwerk://"


def moment(seconds: float) -> str:
    """Epoch seconds as Kubernetes writes times."""
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_moment(text: str | None) -> float | None:
    """The inverse of :func:`moment`."""
    return dt.datetime.fromisoformat(text).timestamp() if text else None


def phase(view: PodView, restart_policy: str) -> str:
    """Pending, Running, Succeeded or Failed, by kubelet's rules."""
    if view.failure:
        return "Failed"
    if not initialized(view):
        failed = any(isinstance(one.state, Ended) and one.state.code != 0 for one in view.init)
        return "Failed" if failed and (view.ended or restart_policy == "Never") else "Pending"
    waiting = [one for one in view.containers if isinstance(one.state, Waiting) and one.last is None]
    if waiting and not view.ended:
        return "Pending"
    if any(isinstance(one.state, Started) for one in view.containers):
        return "Running"
    codes = [end.code for end in map(_end, view.containers) if end is not None]
    all_good = len(codes) == len(view.containers) and not any(codes)
    if view.ended or restart_policy == "Never":
        return "Succeeded" if all_good else "Failed"
    if restart_policy == "OnFailure" and all_good:
        return "Succeeded"
    return "Running"


def _end(container: ContainerView) -> Ended | None:
    if isinstance(container.state, Ended):
        return container.state
    return container.last if isinstance(container.state, Waiting) else None


def initialized(view: PodView) -> bool:
    """Whether all init containers have done their work."""
    return all(isinstance(one.state, Ended) and one.state.code == 0 for one in view.init)


def pod_status(
    pod: Mapping[str, Any], view: PodView, now: float, written: Iterable[Mapping[str, Any]] = ()
) -> JsonObject:
    """The status to write for this pod, a strategic merge patch; keeps the times of unchanged conditions.

    :param written: the conditions as last written, which ``pod`` may not show yet
    """
    current = phase(view, pod["spec"].get("restartPolicy", "Always"))
    status: JsonObject = {
        "phase": current,
        "startTime": moment(view.started_at),
        "hostIP": NODE_ADDRESS,
        "hostIPs": [{"ip": NODE_ADDRESS}],
        "conditions": _conditions(pod, view, current, now, written),
        "reason": view.failure[0] if view.failure else None,
        "message": view.failure[1] if view.failure else None,
        "containerStatuses": [container_status(one) for one in view.containers],
    }
    if view.init:
        status["initContainerStatuses"] = [container_status(one) for one in view.init]
    if view.ip:
        # Merged by address otherwise: an address the pod had before would stay beside the new one.
        status |= {"podIP": view.ip, "podIPs": [{"$patch": "replace"}, {"ip": view.ip}]}
    return status


def container_status(container: ContainerView) -> JsonObject:
    """One container's status."""
    status: JsonObject = {
        "name": container.name,
        "image": container.image,
        "imageID": container.image_id,
        "state": _state(container.state),
        "lastState": _state(container.last) if container.last else {},
        "ready": container.ready,
        "started": container.started,
        "restartCount": container.restarts,
    }
    if container.container_id:
        status["containerID"] = CONTAINER_ID_SCHEME + container.container_id
    return status


def _state(state: State) -> JsonObject:
    match state:
        case Waiting(reason, message):
            return {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        case Started(at):
            return {"running": {"startedAt": moment(at)}}
        case Ended():
            ended: JsonObject = {
                "exitCode": state.code,
                "reason": state.reason,
                "startedAt": moment(state.started_at),
                "finishedAt": moment(state.finished_at),
                "containerID": CONTAINER_ID_SCHEME + state.container_id,
            }
            if state.message:
                ended["message"] = state.message
            if state.signal:
                ended["signal"] = state.signal
            return {"terminated": ended}


def ended_reason(*, code: int, out_of_memory: bool) -> str:
    """Why a container ended, in one word."""
    if out_of_memory:
        return "OOMKilled"
    return "Completed" if code == 0 else "Error"


def _unready(containers: Iterable[ContainerView]) -> list[str]:
    return [one.name for one in containers if not one.ready]


def _conditions(
    pod: Mapping[str, Any], view: PodView, current: str, now: float, written: Iterable[Mapping[str, Any]]
) -> list[JsonObject]:
    shown = (pod.get("status") or {}).get("conditions") or []
    existing = {one["type"]: one for one in shown}
    existing |= {one["type"]: dict(one) for one in written if one["type"] not in view.gates}
    wanted = [
        _condition("PodReadyToStartContainers", holds=bool(view.ip) and not view.ended),
        _initialized(view, current),
        _ready("Ready", view, current, existing),
        _ready("ContainersReady", view, current, {}),
        _condition("PodScheduled", holds=True),
    ]
    for condition in wanted:
        before = existing.get(condition["type"])
        same = before is not None and before["status"] == condition["status"]
        condition["lastTransitionTime"] = (before or {}).get("lastTransitionTime") if same else moment(now)
    return wanted


def _condition(kind: str, *, holds: bool, reason: str | None = None, message: str | None = None) -> JsonObject:
    # None removes what an earlier status said.
    return {
        "type": kind,
        "status": "True" if holds else "False",
        "lastProbeTime": None,
        "reason": reason,
        "message": message,
    }


def _initialized(view: PodView, current: str) -> JsonObject:
    if current == "Succeeded":
        return _condition("Initialized", holds=True, reason="PodCompleted")
    if initialized(view):
        return _condition("Initialized", holds=True)
    open_ones = [one.name for one in view.init if not (isinstance(one.state, Ended) and one.state.code == 0)]
    message = f"containers with incomplete status: [{' '.join(open_ones)}]"
    return _condition("Initialized", holds=False, reason="ContainersNotInitialized", message=message)


def _ready(kind: str, view: PodView, current: str, existing: Mapping[str, JsonObject]) -> JsonObject:
    if current in ("Succeeded", "Failed"):
        reason = "PodCompleted" if current == "Succeeded" else "PodFailed"
        return _condition(kind, holds=False, reason=reason)
    if unready := _unready(view.containers):
        message = f"containers with unready status: [{' '.join(unready)}]"
        return _condition(kind, holds=False, reason="ContainersNotReady", message=message)
    closed = [gate for gate in view.gates if existing.get(gate, {}).get("status") != "True"]
    if kind == "Ready" and closed:
        message = f'corresponding condition of pod readiness gate "{closed[0]}" is not "True".'
        return _condition(kind, holds=False, reason="ReadinessGatesNotReady", message=message)
    return _condition(kind, holds=True)
