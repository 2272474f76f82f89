"""What belongs to a database and is in no archive of it: owner, encoding, locale, settings, who may connect."""

from __future__ import annotations

from typing import Any, Final

from psycopg import sql
from pydantic import BaseModel, ConfigDict

from include.database.marks import unmarked
from include.database.session import Session

_PROVIDERS: Final = {"c": "libc", "i": "icu", "b": "builtin"}
# Settings whose value is a list of names; quoted as a whole they would be one name
# (src/bin/pg_dump/dumputils.c, variable_is_guc_list_quote).
_LISTS: Final = (
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
)


class Setting(BaseModel):
    """``ALTER DATABASE … SET``.

    :param role: empty for everybody
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str
    name: str
    value: str


class Grant(BaseModel):
    """A privilege on the database.

    :param role: ``public`` for everybody
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str
    privilege: str
    grantable: bool


class Properties(BaseModel):
    """What a new database needs to stand in for the old one.

    :param provider: of its locale: ``libc``, ``icu`` or ``builtin``
    :param locale: the provider's locale; empty for ``libc``, which uses collate and ctype
    :param connection_limit: -1 for none
    :param roles: everybody who owns something inside, or is named in a grant or a policy; a restore needs them all
    :param owners: those of them that own something
    :param extensions: those that are not everywhere
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner: str
    encoding: str
    provider: str
    collate: str
    ctype: str
    locale: str
    connection_limit: int
    comment: str
    settings: tuple[Setting, ...]
    grants: tuple[Grant, ...]
    roles: tuple[str, ...]
    owners: tuple[str, ...]
    extensions: tuple[str, ...]


# Roles are named by pg_shdepend, except for the server's first superuser, whom it takes for granted.
_OWNERS: Final = """
    SELECT DISTINCT pg_get_userbyid(owner) FROM (
        SELECT refobjid FROM pg_shdepend WHERE dbid = {0} AND refclassid = 'pg_authid'::regclass AND deptype = 'o'
        UNION ALL SELECT nspowner FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
        UNION ALL SELECT relowner FROM pg_class WHERE relnamespace IN (SELECT oid FROM pg_namespace
            WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
    ) all_owners(owner) WHERE pg_get_userbyid(owner) !~ '^pg_' ORDER BY 1"""
_ROLES: Final = """
    SELECT DISTINCT pg_get_userbyid(refobjid) FROM pg_shdepend
    WHERE dbid = {0} AND refclassid = 'pg_authid'::regclass ORDER BY 1"""
_THIS: Final = "(SELECT oid FROM pg_database WHERE datname = current_database())"


def read_properties(session: Session) -> Properties:
    """The properties of the session's database.

    :raises psycopg.Error: the server does not answer
    """
    # Its locale's column had another name before PostgreSQL 17, and no builtin provider.
    locale = sql.Identifier("datlocale" if session.info.server_version >= 170000 else "daticulocale")
    row = session.execute(
        sql.SQL(
            "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datlocprovider::text, datcollate, "
            "datctype, coalesce({}, ''), datconnlimit, coalesce(shobj_description(oid, 'pg_database'), '') "
            "FROM pg_database WHERE datname = current_database()"
        ).format(locale)
    ).fetchone()
    assert row is not None
    owner, encoding, provider, collate, ctype, name, limit, comment = row
    owners = _column(session, _OWNERS.format(_THIS))
    return Properties(
        owner=owner,
        encoding=encoding,
        provider=_PROVIDERS[provider],
        collate=collate,
        ctype=ctype,
        locale=name,
        connection_limit=limit,
        comment=unmarked(comment),
        settings=_settings(session),
        grants=_grants(session),
        roles=tuple(sorted({owner, *owners, *_column(session, _ROLES.format(_THIS))})),
        owners=owners,
        extensions=_column(session, "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1"),
    )


def _column(session: Session, query: str) -> tuple[str, ...]:
    return tuple(row[0] for row in session.execute(query.encode()))


def _settings(session: Session) -> tuple[Setting, ...]:
    rows = session.execute(
        "SELECT coalesce(r.rolname, ''), unnest(s.setconfig) FROM pg_db_role_setting s "
        "LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = "
        "(SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1, 2"
    )
    parts = ((role, *line.partition("=")) for role, line in rows)
    return tuple(Setting(role=role, name=name, value=value) for role, name, _, value in parts)


def _grants(session: Session) -> tuple[Grant, ...]:
    rows = session.execute(
        "SELECT CASE WHEN x.grantee = 0 THEN 'public' ELSE pg_get_userbyid(x.grantee) END, x.privilege_type, "
        "x.is_grantable FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x "
        "WHERE d.datname = current_database() ORDER BY 1, 2"
    )
    return tuple(Grant(role=role, privilege=privilege, grantable=can) for role, privilege, can in rows)


def creation(name: str, properties: Properties) -> sql.Composed:
    """The statement that creates an empty database with these properties; cannot be part of a transaction."""
    options: list[tuple[str, Any]] = [
        ("OWNER", sql.Identifier(properties.owner)),
        ("TEMPLATE", sql.Identifier("template0")),
        ("ENCODING", sql.Literal(properties.encoding)),
        ("LOCALE_PROVIDER", sql.SQL(properties.provider)),
        ("LC_COLLATE", sql.Literal(properties.collate)),
        ("LC_CTYPE", sql.Literal(properties.ctype)),
    ]
    if properties.provider != "libc":
        key = "ICU_LOCALE" if properties.provider == "icu" else "BUILTIN_LOCALE"
        options.append((key, sql.Literal(properties.locale)))
    words = (sql.SQL("{} = {}").format(sql.SQL(key), value) for key, value in options)
    return sql.SQL("CREATE DATABASE {} ").format(sql.Identifier(name)) + sql.SQL(" ").join(words)


def privileges(name: str, properties: Properties) -> tuple[sql.Composed, ...]:
    """The statements that let those, and only those, use the database who may."""
    database = sql.Identifier(name)
    revoked = sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}").format(
        database, sql.Identifier(properties.owner)
    )
    return (revoked, *(_granted(database, grant) for grant in properties.grants))


def settings(name: str, properties: Properties) -> tuple[sql.Composed, ...]:
    """The statements that set what is set for the database, and how many may connect."""
    database, limit = sql.Identifier(name), sql.Literal(properties.connection_limit)
    limited = sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(database, limit)
    return (limited, *(_set(database, setting) for setting in properties.settings))


def _granted(database: sql.Identifier, grant: Grant) -> sql.Composed:
    role: sql.Composable = sql.SQL("PUBLIC") if grant.role == "public" else sql.Identifier(grant.role)
    option = sql.SQL(" WITH GRANT OPTION" if grant.grantable else "")
    privilege = sql.SQL(grant.privilege)
    return sql.SQL("GRANT {} ON DATABASE {} TO {}").format(privilege, database, role) + option


def _set(database: sql.Identifier, setting: Setting) -> sql.Composed:
    # A list is stored as it was written, its names quoted where they need to be.
    value = sql.SQL(setting.value) if setting.name in _LISTS else sql.Literal(setting.value)
    name = sql.SQL(".").join(sql.Identifier(part) for part in setting.name.split("."))
    if setting.role:
        role = sql.Identifier(setting.role)
        return sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} TO {}").format(role, database, name, value)
    return sql.SQL("ALTER DATABASE {} SET {} TO {}").format(database, name, value)
