"""An Airflow connection (type HTTP, or the Docker provider's) becomes access to an image registry."""

from __future__ import annotations

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

from include.clients.registry import Registry
from include.errors import RegistryRefused


def open_registry(conn_id: str) -> Registry:
    """Read the connection: host, port, ``schema`` (https when empty), login and password.

    :raises RegistryRefused: no such connection, or one without a host
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except (AirflowNotFoundException, AirflowRuntimeError) as error:
        raise _unusable(conn_id, "none") from error
    if not connection.host:
        raise _unusable(conn_id, "a connection without a host")
    host = f"{connection.host}:{connection.port}" if connection.port else connection.host
    return Registry(host, connection.schema or "https", connection.login or "", connection.password or "")


def _unusable(conn_id: str, seen: str) -> RegistryRefused:
    return RegistryRefused(
        f"Airflow connection {conn_id} names no registry",
        expected=f"a connection {conn_id} of type HTTP with the registry's host",
        seen=seen,
        remedy=f"add {conn_id} under Admin → Connections, or remove `connections.registry` from the environment",
    )
