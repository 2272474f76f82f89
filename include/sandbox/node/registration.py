"""Owns the Node object and its Lease: that the machine is there, what it has, and that it lives."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from include.errors import ClusterError, ClusterRefused
from include.sandbox.addresses import NODE_ADDRESS
from include.sandbox.node.api import STRATEGIC_MERGE, Api, JsonObject

_log = logging.getLogger(__name__)

LEASE_SECONDS: Final = 40
RENEW_SECONDS: Final = 10
HEARTBEAT_EVERY: Final = 30  # renewals, as kubelet writes an unchanged status every five minutes
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


def machine() -> dict[str, str]:
    """What this machine offers to pods, in Kubernetes' quantities."""
    total_kib = next(
        int(line.split()[1])
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal:")
    )
    disk = os.statvfs("/")
    return {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{total_kib}Ki",
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
        "pods": "110",
    }


def node_object(name: str) -> JsonObject:
    """The Node as it is created."""
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64" if platform.machine() == "x86_64" else "arm64",
        "node.kubernetes.io/instance-type": "stellwerk-sandbox",
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {}}


def node_status(
    name: str, *, kubelet_port: int, version: str, capacity: Mapping[str, str], now: dt.datetime
) -> JsonObject:
    """The Node's status: always ready, because a program that cannot run pods does not write it."""
    at = rfc3339(now)

    def condition(kind: str, status: str, reason: str) -> JsonObject:
        return {"type": kind, "status": status, "reason": reason, "message": "", "lastHeartbeatTime": at}

    return {
        "addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}, {"type": "Hostname", "address": name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}},
        "capacity": dict(capacity),
        "allocatable": dict(capacity),
        "conditions": [
            condition("MemoryPressure", "False", "SandboxHasSufficientMemory"),
            condition("DiskPressure", "False", "SandboxHasNoDiskPressure"),
            condition("PIDPressure", "False", "SandboxHasSufficientPID"),
            {**condition("Ready", "True", "KubeletReady"), "lastTransitionTime": at},
        ],
        "nodeInfo": {
            "kubeletVersion": f"{version}-stellwerk",
            "kubeProxyVersion": "",
            "containerRuntimeVersion": "stellwerk-processes://1",
            "osImage": "Stellwerk sandbox: processes instead of containers",
            "kernelVersion": platform.release(),
            "operatingSystem": "linux",
            "architecture": "amd64" if platform.machine() == "x86_64" else "arm64",
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
        },
    }


def rfc3339(moment: dt.datetime) -> str:
    """Whole seconds, UTC, as Kubernetes writes times."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_time(moment: dt.datetime) -> str:
    """Microseconds, UTC: Leases refuse anything else."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def lease_object(name: str, node_uid: str, now: dt.datetime) -> JsonObject:
    """The heartbeat the node lifecycle controller looks at."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node_uid}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease", "ownerReferences": [owner]},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": micro_time(now)},
    }


class Registration:
    """Registers the node, then keeps its Lease and status alive."""

    def __init__(self, api: Api, name: str, *, kubelet_port: int) -> None:
        self._api = api
        self._name = name
        self._port = kubelet_port
        self._uid = ""

    async def run(self) -> None:
        """Register and renew for ever; outages of the API server are waited out."""
        renewals = 0
        while True:
            try:
                if renewals % HEARTBEAT_EVERY == 0:
                    await self._register()
                await self._renew()
                renewals += 1
                await asyncio.sleep(RENEW_SECONDS)
            except ClusterRefused as problem:
                _log.warning("%s", problem)
                renewals = 0  # perhaps the Node or its Lease was deleted: register anew
                await asyncio.sleep(0.5)
            except ClusterError as problem:
                _log.warning("%s", problem)
                await asyncio.sleep(0.2)

    async def _register(self) -> None:
        version = (await self._api.get("/version"))["gitVersion"]
        try:
            node = await self._api.post("/api/v1/nodes", node_object(self._name))
        except ClusterRefused as problem:
            if problem.status != 409:
                raise
            node = await self._api.get(f"/api/v1/nodes/{self._name}")
        self._uid = node["metadata"]["uid"]
        status = node_status(
            self._name,
            kubelet_port=self._port,
            version=version,
            capacity=machine(),
            now=dt.datetime.now(dt.UTC),
        )
        path = f"/api/v1/nodes/{self._name}/status"
        await self._api.patch(path, {"status": status}, content_type=STRATEGIC_MERGE)

    async def _renew(self) -> None:
        lease = lease_object(self._name, self._uid, dt.datetime.now(dt.UTC))
        try:
            await self._api.patch(f"{_LEASES}/{self._name}", lease)
        except ClusterRefused as problem:
            if problem.status != 404:
                raise
            await self._api.post(_LEASES, lease)
