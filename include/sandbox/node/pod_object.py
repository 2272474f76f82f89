"""Owns small questions about a Pod object in the API: where it is, what others say in it, its deletion."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from include.errors import ClusterError, ClusterRefused
from include.sandbox.node.api import Api

_log = logging.getLogger(__name__)
GONE: Final = (404, 409)  # the pod is gone, or another pod has its name


def pod_path(pod: Mapping[str, Any]) -> str:
    """The pod's path in the API."""
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def gates(pod: Mapping[str, Any]) -> dict[str, str]:
    """The conditions others set, which the pod may wait for."""
    wanted = {gate["conditionType"] for gate in pod["spec"].get("readinessGates") or []}
    conditions = (pod.get("status") or {}).get("conditions") or []
    return {one["type"]: one["status"] for one in conditions if one["type"] in wanted}


async def delete_now(api: Api, pod: Mapping[str, Any]) -> bool:
    """Remove a pod whose processes have ended; whether it is gone."""
    options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
    try:
        await api.delete(pod_path(pod), options)
    except ClusterRefused as problem:
        if problem.status not in GONE:
            _log.warning("%s", problem)
        return problem.status in GONE
    except ClusterError as problem:
        _log.warning("%s", problem)
        return False
    return True
