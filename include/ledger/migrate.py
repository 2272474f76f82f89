"""Brings the ledger's schema to its newest revision and gives the appending role exactly what it needs."""

from __future__ import annotations

from pathlib import Path

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy.exc import DBAPIError, OperationalError

from include.errors import LedgerError, LedgerUnavailable
from include.ledger.schema import SCHEMA
from include.ledger.store import engine_url

_MIGRATE_LOCK = 0x5374656C6C776D  # two deployments at once migrate one after the other
_MIGRATIONS = Path(__file__).with_name("migrations")


def migrate(admin_url: str, *, role: str, password: str) -> None:
    """Create or update the ledger, and the role that may append to it and read it. Safe to repeat.

    :param admin_url: of the database, with a role that may create roles and schemas; it will own the ledger
    :param role: name of the appending role; created when missing, its password and privileges are set
    :param password: of the appending role
    :raises LedgerUnavailable: the database gives no answer
    :raises LedgerError: the administrator lacks a privilege, or ``role`` is the ledger's owner
    """
    engine = sa.create_engine(engine_url(admin_url), poolclass=sa.NullPool, connect_args={"connect_timeout": 10})
    try:
        with engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATE_LOCK)))
            connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            command.upgrade(_configuration(connection), "head")
            raw = connection.connection.driver_connection
            assert isinstance(raw, psycopg.Connection)
            _grant(raw, role, password)
    except OperationalError as error:
        raise LedgerUnavailable("the ledger's database gives no answer", seen=_first_line(error)) from error
    except (DBAPIError, psycopg.Error) as error:
        raise LedgerError(
            "the ledger cannot be set up",
            expected="a role that may create schemas and roles",
            seen=_first_line(error),
            remedy="give the administrator's URL",
        ) from error


def _configuration(connection: sa.Connection) -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    configuration.attributes["connection"] = connection
    return configuration


def _grant(connection: psycopg.Connection[tuple[object, ...]], role: str, password: str) -> None:
    owner = connection.execute(
        "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = %s::regclass", [f"{SCHEMA}.entries"]
    ).fetchone()
    if owner == (role,):
        raise LedgerError(
            f"{role} owns the ledger and could change it",
            expected="another role for appending",
            remedy="name a role that only appends",
        )
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    # Only a verifier travels: statements are often logged, and a password must not be.
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    verb = sql.SQL("ALTER" if exists else "CREATE")
    name, schema = sql.Identifier(role), sql.Identifier(SCHEMA)
    connection.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, name, sql.Literal(verifier)))
    for statement in (
        "REVOKE ALL ON SCHEMA {schema} FROM PUBLIC, {role}",
        "REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM PUBLIC, {role}",
        "GRANT USAGE ON SCHEMA {schema} TO {role}",
        "GRANT SELECT, INSERT ON {schema}.entries TO {role}",
    ):
        connection.execute(sql.SQL(statement).format(schema=schema, role=name))


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0]
