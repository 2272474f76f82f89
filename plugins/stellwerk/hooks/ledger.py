"""The Airflow connection of the append-only role becomes the release ledger."""

from __future__ import annotations

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError
from sqlalchemy import URL

from include.errors import LedgerUnavailable
from include.ledger.store import Ledger


def open_ledger(conn_id: str) -> Ledger:
    """Open the ledger that the connection names.

    :raises LedgerUnavailable: no such connection
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except (AirflowNotFoundException, AirflowRuntimeError) as error:
        raise LedgerUnavailable(
            f"Airflow connection {conn_id} is not defined",
            expected=f"a Postgres connection {conn_id} of the ledger's append-only role",
            seen="none",
            remedy=f"add {conn_id} under Admin → Connections, then retry",
        ) from error
    url = URL.create(
        "postgresql+psycopg",
        username=connection.login,
        password=connection.password,
        host=connection.host,
        port=connection.port,
        database=connection.schema,
    )
    return Ledger(url.render_as_string(hide_password=False))
