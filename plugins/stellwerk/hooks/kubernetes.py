"""An Airflow ``kubernetes`` connection becomes a :class:`include.clients.kubernetes.Cluster` or a kubeconfig for
helm.

The connection is the provider's own (``kube_config_path``, ``kube_config`` or ``in_cluster`` in its extras), so it
is set up and tested in the Airflow UI like any other.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

from include.clients.kubernetes import Cluster
from include.errors import ClusterRefused, ClusterUnreachable

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient

_SHARED_SECONDS: Final = 900.0


class ClusterHook:
    """Access to one cluster by the extras of its Airflow connection.

    The extras are read once, in the main thread of the worker (or awaited in a triggerer): reading them from a
    helper thread inside a trigger can block every other trigger of the process.
    """

    def __init__(self, conn_id: str, extras: Mapping[str, Any]) -> None:
        self.conn_id = conn_id
        self._extras = dict(extras)

    @classmethod
    def read(cls, conn_id: str) -> ClusterHook:
        """Read the connection in a worker.

        :raises ClusterRefused: no such connection
        """
        try:
            return cls(conn_id, BaseHook.get_connection(conn_id).extra_dejson)
        except (AirflowNotFoundException, AirflowRuntimeError) as error:
            raise _undefined(conn_id) from error

    @classmethod
    async def aread(cls, conn_id: str) -> ClusterHook:
        """Read the connection in a triggerer.

        :raises ClusterRefused: no such connection
        """
        try:
            return cls(conn_id, (await BaseHook.aget_connection(conn_id)).extra_dejson)
        except (AirflowNotFoundException, AirflowRuntimeError) as error:
            raise _undefined(conn_id) from error

    def _extra(self, name: str) -> Any:
        return self._extras.get(name) or self._extras.get(f"extra__kubernetes__{name}")

    @asynccontextmanager
    async def cluster(self, namespace: str) -> AsyncIterator[Cluster]:
        """A client for one namespace; its connections are shared with everything else in this event loop.

        :raises ClusterUnreachable: the kubeconfig cannot be read
        """
        from include.clients.shared import shared

        # Not for ever: credentials that were renewed in the connection or its file have to be read some day.
        age = int(time.time() / _SHARED_SECONDS)
        key = (self.conn_id, json.dumps(self._extras, sort_keys=True, default=str), age)
        async with shared(key, self._api) as api:
            yield Cluster(api, namespace)

    @asynccontextmanager
    async def _api(self) -> AsyncIterator[ApiClient]:
        import yaml
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
        from kubernetes_asyncio.config import ConfigException

        from include.clients.kubernetes.transport import settle_proxy

        hook = AsyncKubernetesHook(conn_id=self.conn_id, connection_extras=self._extras)
        try:
            context = hook.get_conn()
            api = await context.__aenter__()
        except (ConfigException, OSError, yaml.YAMLError) as error:
            raise self._unusable(error) from error
        try:
            settle_proxy(api)
            yield api
        finally:
            await context.__aexit__(None, None, None)

    def _unusable(self, error: Exception) -> ClusterUnreachable:
        return ClusterUnreachable(
            f"the kubeconfig of connection {self.conn_id} cannot be used",
            expected="a readable kubeconfig whose current context names a cluster and a user",
            seen=f"{type(error).__name__}: {error}",
            remedy=f"put a valid kubeconfig into the connection {self.conn_id} (Admin → Connections), then retry",
        )

    @contextmanager
    def kubeconfig(self) -> Iterator[Path | None]:
        """Yield a kubeconfig file for helm; ``None`` means the pod's own service account.

        An inline kubeconfig is written to a file only this user can read and removed afterwards.

        :raises ClusterUnreachable: the file that the connection names does not exist
        """
        if self._extra("in_cluster"):
            yield None
            return
        if path := self._extra("kube_config_path"):
            if not Path(path).is_file():
                raise self._unusable(FileNotFoundError(path))
            yield Path(path)
            return
        inline = self._extra("kube_config")
        if not inline:
            raise self._unusable(ValueError("neither kube_config_path, kube_config nor in_cluster is set"))
        text = inline if isinstance(inline, str) else json.dumps(inline)
        descriptor, name = tempfile.mkstemp(prefix="stellwerk-kubeconfig-")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


def _undefined(conn_id: str) -> ClusterRefused:
    return ClusterRefused(
        f"Airflow connection {conn_id} is not defined",
        expected=f"a connection {conn_id} of type Kubernetes Cluster Connection",
        seen="none",
        remedy=f"add {conn_id} under Admin → Connections (airflow_settings.yaml shows its shape), then retry",
    )
