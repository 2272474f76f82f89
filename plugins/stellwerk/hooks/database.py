"""Airflow connections become the application's database, the store of its backups, and the site of a migration."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError
from upath import UPath

from include.backup.store import Store
from include.database.clients import find_clients
from include.database.connection import Database
from include.errors import BackupStoreFailed, DatabaseRefused
from include.migration.squawk import find
from include.steps.database.site import Site, database_plan, site_of

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

#: what of a connection's extra is a parameter of libpq; the rest is for other hooks
LIBPQ: Final = frozenset(
    {
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "ssl_min_protocol_version"),
        *("channel_binding", "gssencmode", "target_session_attrs", "options"),
    }
)


def open_site(run: ReleaseRun) -> Site:
    """Open all that the run's migration works with.

    :raises PlanError: the environment has no database in the plan
    :raises DatabaseError: its connection is not defined, or PostgreSQL's client programs cannot be used
    :raises BackupStoreFailed: the store's URL or connection cannot be used
    """
    plan = database_plan(run)
    clients = find_clients(Path(plan.clients) if plan.clients else None)
    store = open_store(plan.backups, plan.backups_connection)
    return site_of(run, open_database(plan.connection), store, clients, find())


def open_database(conn_id: str) -> Database:
    """The database that a connection names.

    :raises DatabaseRefused: no such connection, or one that names no host or database
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except (AirflowNotFoundException, AirflowRuntimeError) as error:
        raise DatabaseRefused(
            f"Airflow connection {conn_id} is not defined",
            expected=f"a Postgres connection {conn_id} of the role that owns the application's database",
            seen="none",
            remedy=f"add {conn_id} under Admin → Connections, then retry",
        ) from error
    return database_of(conn_id, connection)


def database_of(conn_id: str, connection: Connection) -> Database:
    """What a connection says, as the domain needs it.

    :raises DatabaseRefused: host, database or login are missing
    """
    given = {"host": connection.host, "database": connection.schema, "login": connection.login}
    if missing := [name for name, value in given.items() if not value]:
        raise DatabaseRefused(
            f"Airflow connection {conn_id} does not say which database it is",
            expected="host, database and login",
            seen=f"no {' and no '.join(missing)}",
            remedy=f"complete {conn_id} under Admin → Connections",
        )
    return Database(
        str(connection.host),
        connection.port or 5432,
        str(connection.schema),
        str(connection.login),
        connection.password or "",
        options=_options(conn_id, connection.extra_dejson),
    )


def open_store(url: str, conn_id: str | None) -> Store:
    """The folder in object storage that takes the backups.

    :raises BackupStoreFailed: Airflow knows no file system for that URL, or no such connection
    """
    from airflow.sdk import ObjectStoragePath

    try:
        if conn_id:
            BaseHook.get_connection(conn_id)  # S3's own hook would go on without credentials
        place = ObjectStoragePath(url, conn_id=conn_id) if conn_id else ObjectStoragePath(url)
        _ = place.fs
    except Exception as error:
        # Each provider has errors of its own for a package or a connection that is missing.
        raise BackupStoreFailed(
            f"backups cannot be kept at {url}",
            expected="a URL that an installed provider knows, and its connection",
            seen=f"{type(error).__name__}: {str(error)[:300]}",
            remedy="correct database.backups or its connection",
        ) from error
    return Store(cast(UPath, place))


def _options(conn_id: str, extra: Mapping[str, Any]) -> dict[str, str]:
    if others := sorted(set(extra) - LIBPQ):
        log.info("not for libpq, left out of %s: %s", conn_id, ", ".join(others))
    return {name: str(value) for name, value in extra.items() if name in LIBPQ}
