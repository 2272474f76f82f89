"""Migrates Airflow's metadata database and writes connections, pools, variables and users into it.

Run with the environment of the Airflow that is meant and the name of a JSON file (the shape of
``include.sandbox.settings.Settings``). What exists is overwritten, nothing is deleted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.models import Connection, Pool, Variable
from airflow.providers_manager import ProvidersManager
from airflow.utils.db import upgradedb
from airflow.utils.session import create_session
from sqlalchemy import select

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_FIELDS = {
    "conn_type": "conn_type",
    "conn_host": "host",
    "conn_schema": "schema",
    "conn_login": "login",
    "conn_password": "password",
    "conn_port": "port",
    "conn_extra": "extra",
    "conn_uri": "uri",
}


def main() -> None:
    """Migrate, then import everything in one transaction; users, where the auth manager keeps them, in another."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    ProvidersManager().initialize_providers_configuration()  # type: ignore[no-untyped-call]
    upgradedb()
    with create_session() as session:
        for connection in settings["connections"]:
            _write_connection(connection, session)
        for pool in settings["pools"]:
            Pool.create_or_update_pool(
                pool["pool_name"],
                pool["pool_slot"],
                pool["pool_description"],
                include_deferred=False,
                session=session,
            )
        for variable in settings["variables"]:
            value = variable["variable_value"]
            Variable.set(
                variable["variable_name"], value, serialize_json=not isinstance(value, str), session=session
            )
    if settings.get("users"):
        _create_users(settings["users"])


def _create_users(users: list[dict[str, str]]) -> None:
    """Create those who are missing in FabAuthManager, in this order: it numbers them."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        manager = builder.sm
        manager.sync_roles()
        for user in users:
            name, known = user["name"], manager.find_user(user["name"])
            if known is None:
                role = manager.find_role(user["role"])
                mail = f"{name}@valeo-erp.example"
                known = manager.add_user(name, name, "demo", mail, role, user["password"])
            if not known or str(known.id) != user["id"]:
                raise SystemExit(f"user {name} has id {getattr(known, 'id', None)}, expected {user['id']}")


def _write_connection(fields: dict[str, Any], session: Session) -> None:
    values = {ours: fields[theirs] for theirs, ours in _FIELDS.items() if fields[theirs] is not None}
    connection = Connection(conn_id=fields["conn_id"], **values)
    existing = session.scalar(select(Connection.id).where(Connection.conn_id == connection.conn_id))
    if existing is not None:
        connection.id = existing
    session.merge(connection)


if __name__ == "__main__":
    main()
