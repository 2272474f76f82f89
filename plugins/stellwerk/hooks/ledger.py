"""The Airflow connection of the append-only role becomes the release ledger."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError
from sqlalchemy import URL
from upath import UPath

from include.errors import LedgerUnavailable, StellwerkError
from include.ledger.heads import note_head
from include.ledger.store import Ledger

if TYPE_CHECKING:
    from airflow.sdk import Connection

log = logging.getLogger(__name__)

#: Airflow variable with the object storage URL of the folder that takes the ledger's heads
HEADS_VARIABLE = "stellwerk_ledger_heads"


def open_ledger(conn_id: str, *, timeout_seconds: float = 10.0) -> Ledger:
    """Open the ledger that the connection names.

    :param timeout_seconds: how long one call may take
    :raises LedgerUnavailable: no such connection
    """
    return Ledger(_url(_connection(conn_id)), timeout_seconds=timeout_seconds)


def ledger_password(conn_id: str) -> str:
    """What a worker knows and nobody who edits runs does; empty when the ledger asks for none.

    :raises LedgerUnavailable: no such connection
    """
    return _connection(conn_id).password or ""


def _connection(conn_id: str) -> Connection:
    try:
        return BaseHook.get_connection(conn_id)
    except (AirflowNotFoundException, AirflowRuntimeError) as error:
        raise _undefined(conn_id) from error


async def aopen_ledger(conn_id: str, timeout_seconds: float) -> Ledger:
    """Open the ledger in a triggerer; its calls block and belong into a thread.

    :param timeout_seconds: bound for connecting and for each statement
    :raises LedgerUnavailable: no such connection
    """
    try:
        return Ledger(_url(await BaseHook.aget_connection(conn_id)), timeout_seconds=timeout_seconds)
    except (AirflowNotFoundException, AirflowRuntimeError) as error:
        raise _undefined(conn_id) from error


def _undefined(conn_id: str) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"Airflow connection {conn_id} is not defined",
        expected=f"a Postgres connection {conn_id} of the ledger's append-only role",
        seen="none",
        remedy=f"add {conn_id} under Admin → Connections, then retry",
    )


def _url(connection: Connection) -> str:
    url = URL.create(
        "postgresql+psycopg",
        username=connection.login,
        password=connection.password,
        host=connection.host,
        port=connection.port,
        database=connection.schema,
    )
    return url.render_as_string(hide_password=False)


def note_head_outside(ledger: Ledger) -> None:
    """Write the ledger's head to object storage: a chain alone cannot show that its tail was cut off.

    It never fails a step: what the step did is done, and the next step notes a later head.
    """
    from airflow.sdk import ObjectStoragePath, Variable

    folder = Variable.get(HEADS_VARIABLE, default=None)
    if not folder:
        log.warning("the ledger's head is not noted outside: set the Airflow variable %s", HEADS_VARIABLE)
        return
    try:
        noted = note_head(cast(UPath, ObjectStoragePath(folder)), ledger.head(), datetime.now(UTC))
    except (StellwerkError, OSError, ValueError) as error:
        log.warning("the ledger's head could not be noted in %s: %s", folder, error)
    else:
        log.info("ledger head noted: %s", noted.name)
