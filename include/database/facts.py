"""Which database this is: the server's identity, its version, and what the role may do there."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from include.database.session import Session
from include.errors import DatabaseRefused


class DatabaseIdentity(BaseModel):
    """What tells one database from every other.

    :param system_identifier: of the server's data, made by ``initdb``; a copied or replicated server shares it
    :param name: of the database on that server
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system_identifier: str
    name: str

    @property
    def shown(self) -> str:
        """For humans."""
        return f"database {self.name!r} of system {self.system_identifier}"


@dataclass(frozen=True)
class ServerFacts:
    """What a server says about itself and the database.

    :param version: for humans, for example ``18.4``
    :param version_number: PostgreSQL's ``server_version_num``, for example 180004
    :param size_bytes: of the database on disk
    """

    identity: DatabaseIdentity
    version: str
    version_number: int
    size_bytes: int

    @property
    def major(self) -> int:
        """The major version, which dumps and programs depend on."""
        return self.version_number // 10000


def read_identity(session: Session) -> DatabaseIdentity:
    """Which database the session is with.

    :raises DatabaseRefused: the role may not know
    """
    row = session.execute(
        "SELECT has_function_privilege('pg_control_system()', 'EXECUTE'), current_database()"
    ).fetchone()
    assert row is not None
    allowed, name = row
    if not allowed:
        raise DatabaseRefused(
            "the server does not say which one it is",
            expected="the right to call pg_control_system()",
            remedy="GRANT EXECUTE ON FUNCTION pg_control_system() to the role, in this database",
        )
    found = session.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    assert found is not None
    return DatabaseIdentity(system_identifier=found[0], name=name)


def server_facts(session: Session) -> ServerFacts:
    """Ask the server who it is.

    :raises DatabaseRefused: the role may not know
    """
    identity = read_identity(session)
    row = session.execute(
        "SELECT split_part(current_setting('server_version'), ' ', 1), "
        "current_setting('server_version_num')::int, pg_database_size(current_database())"
    ).fetchone()
    assert row is not None
    return ServerFacts(identity, *row)
