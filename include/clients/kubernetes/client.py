"""One namespace of a Kubernetes cluster: what a release reads there and the few things it changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient
from kubernetes_asyncio.client import Configuration as ApiConfiguration

from include.bluegreen.lease import LeaseState
from include.bluegreen.state import DeploymentState, Endpoint, HpaState, PodState, ServiceState
from include.clients.kubernetes import parse, requests
from include.clients.kubernetes.answers import decode, decode_as, failure, is_failed_test, reason
from include.clients.kubernetes.inspection import Inspector
from include.clients.kubernetes.parse import ClusterEvent
from include.clients.kubernetes.release_secrets import ReleaseSecrets
from include.clients.kubernetes.requests import Kind, Request
from include.clients.kubernetes.transport import Transport, settle_proxy
from include.errors import ClusterRefused, KubeconfigUnusable, PatchRefused


class Cluster:
    """A namespace of a cluster, over an API client whose life is the caller's business.

    Every method raises ``ClusterUnreachable`` when no usable answer comes within ``timeout_seconds`` and
    ``ClusterRefused`` when the server refuses, and says nothing about the content of Secrets, ever.

    :param timeout_seconds: what one call may take in all, waiting for a busy server included
    """

    def __init__(self, api: ApiClient, namespace: str, *, timeout_seconds: float = 10.0) -> None:
        self.namespace = namespace
        self._transport = Transport(api, timeout_seconds=timeout_seconds)

    @classmethod
    @asynccontextmanager
    async def from_kubeconfig(
        cls, path: Path | str, namespace: str, *, context: str | None = None, timeout_seconds: float = 10.0
    ) -> AsyncIterator[Cluster]:
        """The cluster a kubeconfig file names; closed when the block ends.

        :raises KubeconfigUnusable: the file is missing or does not lead to a cluster and credentials
        """
        settings = ApiConfiguration()
        try:
            await config.load_kube_config(str(path), context, settings, persist_config=False)
            api = ApiClient(settings)
        except (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, KeyError) as error:
            raise KubeconfigUnusable(
                f"the kubeconfig {path} cannot be used",
                seen=f"{type(error).__name__}: {error}",
                remedy="name a kubeconfig whose current context leads to the cluster (kubectl get ns shows it)",
            ) from error
        async with api:
            settle_proxy(api)
            yield cls(api, namespace, timeout_seconds=timeout_seconds)

    @property
    def release_secrets(self) -> ReleaseSecrets:
        """The Secrets in which Helm keeps its releases."""
        return ReleaseSecrets(self._transport, self.namespace)

    async def server_version(self) -> str:
        """The API server's version, for example ``v1.34.4``."""
        return str((await self._transport.json(requests.version())).get("gitVersion", ""))

    def inspector(self) -> Inspector:
        """What tells beforehand whether objects and an account would do; it changes nothing."""
        return Inspector(self._transport, self.namespace)

    async def service(self, name: str) -> ServiceState | None:
        """A Service, None when there is none of that name."""
        item = await self._read("services", name)
        return None if item is None else parse.service(item)

    async def patch_service(self, name: str, patch: Sequence[Mapping[str, Any]]) -> ServiceState:
        """Apply a guarded JSON patch to a Service and return what it is now.

        :raises PatchRefused: a ``test`` did not hold (or the patch does not fit the object at all): observe again
        """
        request = requests.json_patch("services", self.namespace, name, patch)
        return parse.service(await self._guarded(request))

    async def endpoints(self, service: str) -> tuple[Endpoint, ...]:
        """The pods behind a Service, the ones that are not ready included."""
        labels = {"kubernetes.io/service-name": service}
        return parse.endpoints(await self._list("endpointslices", labels=labels))

    async def pods(self, labels: Mapping[str, str]) -> tuple[PodState, ...]:
        """The pods with these labels, by name."""
        request = requests.select("pods", self.namespace, labels=labels)
        found = decode_as(request, await self._transport.text(request), parse.Pods)
        return tuple(sorted((parse.pod(item.parts) for item in found.items or ()), key=lambda pod: pod.name))

    async def deployment(self, name: str) -> DeploymentState | None:
        """A Deployment, None when there is none of that name."""
        item = await self._read("deployments", name)
        return None if item is None else parse.deployment(item)

    async def deployments(self, labels: Mapping[str, str]) -> tuple[DeploymentState, ...]:
        """The Deployments with these labels, by name."""
        items = await self._list("deployments", labels=labels)
        return tuple(sorted((parse.deployment(item) for item in items), key=lambda one: one.name))

    async def current_template(self, deployment: DeploymentState) -> str | None:
        """The ``pod-template-hash`` of a Deployment's newest ReplicaSet: its pods of today's template bear it."""
        return parse.newest_template(await self._list("replicasets", labels=deployment.match_labels))

    async def hpas(self, labels: Mapping[str, str] | None = None) -> tuple[HpaState, ...]:
        """The autoscalers with these labels (all of the namespace without), by name."""
        items = await self._list("horizontalpodautoscalers", labels=labels)
        return tuple(sorted((parse.hpa(item) for item in items), key=lambda one: one.name))

    async def scale(self, deployment: str, replicas: int) -> None:
        """Ask for so many pods of a Deployment. An autoscaler may change it again, except from zero."""
        change = {"spec": {"replicas": replicas}}
        request = requests.merge_patch("deployments", self.namespace, deployment, change, subresource="scale")
        await self._transport.text(request)
        await self._disown("deployments", deployment)

    async def set_hpa_minimum(self, name: str, minimum: int) -> HpaState:
        """Set how far an autoscaler may shrink its Deployment; the next helm upgrade sets it as the chart says."""
        change = {"spec": {"minReplicas": minimum}}
        kind: Kind = "horizontalpodautoscalers"
        item = await self._transport.json(requests.merge_patch(kind, self.namespace, name, change))
        await self._disown(kind, name)
        return parse.hpa(item)

    async def restart_deployment(self, name: str, at: datetime) -> DeploymentState:
        """Replace a Deployment's pods one by one, as ``kubectl rollout restart``; once per ``at``."""
        request = requests.merge_patch("deployments", self.namespace, name, requests.restart(at))
        return parse.deployment(await self._transport.json(request))

    async def delete_deployment(self, name: str) -> None:
        """Remove a Deployment, its pods end in the background; nothing when there is none."""
        await self._delete("deployments", name)

    async def delete_hpa(self, name: str) -> None:
        """Remove an autoscaler; nothing when there is none."""
        await self._delete("horizontalpodautoscalers", name)

    async def pods_not_restarted(self, labels: Mapping[str, str], at: datetime) -> tuple[str, ...]:
        """Names of the pods, terminating ones included, that the restart of ``at`` has not replaced yet."""
        stamp = at.isoformat()
        return tuple(
            sorted(
                item["metadata"]["name"]
                for item in await self._list("pods", labels=labels)
                if (item["metadata"].get("annotations") or {}).get(requests.RESTARTED_AT) != stamp
            )
        )

    async def pod_get(self, pod: str, path: str, *, port: int | None = None) -> str:
        """What a pod answers on ``path``, asked through the API server (its first port unless given)."""
        return await self._transport.text(requests.pod_get(self.namespace, pod, port, path))

    async def log_tail(
        self,
        pod: str,
        *,
        lines: int = 20,
        previous: bool = False,
        container: str | None = None,
        since: datetime | None = None,
        limit_bytes: int = 65536,
    ) -> str:
        """The end of a pod's log; ``previous`` is that of the container before the last restart.

        :param since: leave out what was written before
        """
        request = requests.pod_log(
            self.namespace,
            pod,
            lines=lines,
            previous=previous,
            container=container,
            since=since,
            limit_bytes=limit_bytes,
        )
        return await self._transport.text(request)

    async def events(self, name: str) -> tuple[ClusterEvent, ...]:
        """What was reported about the object ``name``, oldest first."""
        items = await self._list("events", fields={"involvedObject.name": name})
        found = [parse.event(item) for item in items]
        return tuple(sorted(found, key=lambda one: one.last_seen.timestamp() if one.last_seen else 0.0))

    async def lease(self, name: str) -> LeaseState | None:
        """A Lease, None when there is none of that name."""
        item = await self._read("leases", name)
        return None if item is None else parse.lease(item)

    async def create_lease(self, lease: LeaseState) -> LeaseState:
        """Make a Lease where none was observed.

        :raises PatchRefused: there is one by now
        """
        item = requests.lease(lease)
        return parse.lease(await self._guarded(requests.create("leases", self.namespace, item)))

    async def replace_lease(self, lease: LeaseState) -> LeaseState:
        """Write a Lease in the place of the one that was observed.

        :raises PatchRefused: it was changed, deleted or made anew since
        """
        item = requests.lease(lease)
        return parse.lease(await self._guarded(requests.replace("leases", self.namespace, lease.name, item)))

    async def delete_lease(self, lease: LeaseState) -> None:
        """Delete the Lease that was observed; one that is gone already is fine.

        :raises PatchRefused: it was changed or made anew since
        """
        request = requests.delete_observed(
            "leases", self.namespace, lease.name, uid=lease.uid, resource_version=lease.resource_version
        )
        try:
            await self._guarded(request)
        except ClusterRefused as error:
            if error.status != 404:
                raise

    async def _delete(self, kind: Kind, name: str) -> None:
        status, body = await self._transport.answer(request := requests.delete(kind, self.namespace, name))
        if status != 404 and (error := failure(request, status, body)):
            raise error

    async def _disown(self, kind: Kind, name: str) -> None:
        for _ in range(3):
            item = await self._read(kind, name) or {}
            patch = requests.disown(item.get("metadata", {}).get("managedFields") or ())
            if not patch:
                return
            try:
                await self._guarded(requests.json_patch(kind, self.namespace, name, patch))
            except PatchRefused:
                continue  # the list changed between reading and patching: read it again
            return

    async def _guarded(self, request: Request) -> dict[str, Any]:
        status, body = await self._transport.answer(request)
        if is_failed_test(status, body):
            raise PatchRefused(
                f"the guarded change of {request.what} was refused",
                expected="the object as it was observed",
                seen=f"HTTP {status}: {reason(body)}",
                remedy="observe again and decide again",
            )
        if error := failure(request, status, body):
            raise error
        return decode(request, body)

    async def _read(self, kind: Kind, name: str) -> dict[str, Any] | None:
        try:
            return await self._transport.json(requests.read(kind, self.namespace, name))
        except ClusterRefused as error:
            if error.status == 404:
                return None
            raise

    async def _list(
        self, kind: Kind, *, labels: Mapping[str, str] | None = None, fields: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        request = requests.select(kind, self.namespace, labels=labels, fields=fields)
        return list((await self._transport.json(request)).get("items") or ())
