"""An Airflow connection (type HTTP) becomes access to a Prometheus.

Host (with or without ``https://`` and a path), port and schema make the address; login and password are basic
authentication, a password alone is a bearer token. Extras: ``ca_file``, ``timeout`` (seconds), ``path``, and
``verify: false`` for whoever really wants no certificate checked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

from include.clients.prometheus import Access, Prometheus, shared
from include.errors import MetricsRefused

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from include.plan.models import Environment


class PrometheusHook:
    """Access to one Prometheus; the connection is read once, as :class:`ClusterHook` does and for its reasons."""

    def __init__(self, access: Access) -> None:
        self.access = access

    @classmethod
    def read(cls, conn_id: str) -> PrometheusHook:
        """Read the connection in a worker.

        :raises MetricsRefused: no such connection, or one that cannot be used
        """
        try:
            return cls(access(conn_id, BaseHook.get_connection(conn_id)))
        except (AirflowNotFoundException, AirflowRuntimeError) as error:
            raise _unusable(conn_id, "none") from error

    @classmethod
    async def aread(cls, conn_id: str) -> PrometheusHook:
        """Read the connection in a triggerer.

        :raises MetricsRefused: no such connection, or one that cannot be used
        """
        try:
            return cls(access(conn_id, await BaseHook.aget_connection(conn_id)))
        except (AirflowNotFoundException, AirflowRuntimeError) as error:
            raise _unusable(conn_id, "none") from error

    @classmethod
    def needed(cls, environment: Environment) -> PrometheusHook | None:
        """Read the connection in a worker if a rule of the environment reads from Prometheus.

        :raises MetricsRefused: no such connection, or one that cannot be used
        """
        named = environment.connections.prometheus
        return cls.read(named) if named and "prometheus" in environment.slo.sources else None

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Prometheus]:
        """Yield the client that everything in this event loop shares.

        :raises MetricsRefused: the file of certificates cannot be read
        """
        async with shared(self.access) as prometheus:
            yield prometheus


def access(conn_id: str, connection: Connection) -> Access:
    """What the connection says.

    :raises MetricsRefused: no host, or extras of the wrong type
    """
    host, extras = (connection.host or "").rstrip("/"), connection.extra_dejson
    if not host:
        raise _unusable(conn_id, "a connection without a host")
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = connection.schema or "https", host
    name, slash, path = rest.partition("/")
    port = f":{connection.port}" if connection.port else ""
    more = str(extras.get("path") or "").strip("/")
    return Access(
        url=f"{scheme}://{name}{port}{slash}{path}{f'/{more}' if more else ''}",
        login=connection.login or "",
        secret=connection.password or "",
        ca_file=str(extras.get("ca_file") or ""),
        verify=_verify(conn_id, extras),
        timeout_seconds=_timeout(conn_id, extras),
        together=_together(conn_id, extras),
    )


def _verify(conn_id: str, extras: Mapping[str, Any]) -> bool:
    value = extras.get("verify", True)
    if not isinstance(value, bool):
        raise _unusable(conn_id, f"verify is {value!r} in the extras, and has to be true or false")
    return value


def _together(conn_id: str, extras: Mapping[str, Any]) -> int:
    value = extras.get("together", Access.together)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 500:
        raise _unusable(
            conn_id, f"together is {value!r} in the extras, and has to be a whole number from 1 to 500"
        )
    return value


def _timeout(conn_id: str, extras: Mapping[str, Any]) -> float:
    value = extras.get("timeout", 5.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 60:
        raise _unusable(conn_id, f"timeout is {value!r} in the extras, and has to be a number of seconds up to 60")
    return float(value)


def _unusable(conn_id: str, seen: str) -> MetricsRefused:
    return MetricsRefused(
        f"Airflow connection {conn_id} leads to no Prometheus",
        expected=f"a connection {conn_id} of type HTTP with the address of Prometheus",
        seen=seen,
        remedy=f"add or correct {conn_id} under Admin → Connections (airflow_settings.yaml shows its shape)",
    )
