"""Roles and databases of the embedded PostgreSQL."""

from __future__ import annotations

import psycopg
from psycopg import sql


def create_role(connection: psycopg.Connection, role: str, password: str) -> None:
    """Create the role, or give an existing one this password; only its verifier is sent to the server."""
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    statement = "ALTER ROLE {} WITH LOGIN PASSWORD {}" if exists else "CREATE ROLE {} WITH LOGIN PASSWORD {}"
    connection.execute(sql.SQL(statement).format(sql.Identifier(role), sql.Literal(verifier)))


def allow_copies(url: str, role: str) -> None:
    """Let a role create databases, as restoring and rehearsing beside the one it owns needs.

    :param url: of the server, as superuser
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(role)))


def create_database(connection: psycopg.Connection, database: str, owner: str, *, open_to_all: bool) -> None:
    """Create the database where it is missing; unless `open_to_all`, only its owner may connect."""
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone():
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(owner))
        )
    if not open_to_all:
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
