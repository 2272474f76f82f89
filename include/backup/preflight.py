"""Whether a restore can succeed, found out before anything is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from include.backup.described import BackupContents
from include.backup.manifest import Manifest
from include.database.clients import Clients
from include.database.session import Session
from include.errors import RestoreRefused


@dataclass(frozen=True)
class Powers:
    """What the role that restores may do on the server.

    :param known: the roles that exist there
    :param acts_as: the roles whose objects it may create
    :param extensions: those it may create
    :param available: those that are installed on the server
    :param alters: the roles whose settings it may change
    :param reserved: the settings it may not change
    """

    role: str
    superuser: bool
    creates_databases: bool
    known: frozenset[str]
    acts_as: frozenset[str]
    extensions: frozenset[str]
    available: frozenset[str]
    alters: frozenset[str]
    reserved: frozenset[str]
    server_major: int


@dataclass(frozen=True)
class TargetSeen:
    """The database that is to be replaced.

    :param owned: whether the role may do with it what its owner may
    :param immune: who is connected and cannot be disconnected by the role
    :param holders: what keeps it from being renamed and is no session, each with what ends it
    """

    name: str
    exists: bool
    owned: bool = False
    immune: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()


def objections(
    powers: Powers, manifest: Manifest, contents: BackupContents, clients: Clients, target: TargetSeen | None
) -> tuple[str, ...]:
    """Why it would fail, a sentence for each reason; pure.

    :param target: None for a copy that takes nobody's place
    """
    roles = _needed(contents, with_settings=target is not None)
    found = (*_versions(powers, manifest, clients), *_rights(powers, contents, roles))
    return found if target is None else (*found, *_settings(powers, contents), *_on_target(powers, target))


def _needed(contents: BackupContents, *, with_settings: bool) -> frozenset[str]:
    """The roles that what belongs to the database speaks of; a role that has gone cannot be granted anything."""
    properties = contents.properties
    granted = {grant.role for grant in properties.grants} - {"public"}
    settings = {setting.role for setting in properties.settings if with_settings and setting.role}
    return frozenset({properties.owner, *properties.roles, *granted, *settings})


def _versions(powers: Powers, manifest: Manifest, clients: Clients) -> Iterator[str]:
    if manifest.server_major > powers.server_major:
        yield (
            f"the backup is of PostgreSQL {manifest.server_major}, which is newer than the server's "
            f"{powers.server_major}: an older server cannot read it"
        )
    if clients.major < manifest.server_major:
        yield f"pg_restore {clients.version} is older than the backup"
    if reason := clients.unfit(powers.server_major):
        yield f"pg_restore {clients.version} is {reason}"


def _rights(powers: Powers, contents: BackupContents, roles: frozenset[str]) -> Iterator[str]:
    properties = contents.properties
    if not (powers.superuser or powers.creates_databases):
        yield f"{powers.role} may not create databases (ALTER ROLE … CREATEDB)"
    for role in sorted(roles - powers.known):
        yield f"the role {role} does not exist on the server"
    for role in sorted({properties.owner, *properties.owners} & powers.known - powers.acts_as):
        yield f"{powers.role} may not create what belongs to {role} (GRANT {role} TO {powers.role})"
    for extension in properties.extensions:
        if extension not in powers.available:
            yield f"the extension {extension} is not installed on the server"
        elif extension not in powers.extensions:
            yield f"{powers.role} may not create the extension {extension}"


def _settings(powers: Powers, contents: BackupContents) -> Iterator[str]:
    for setting in contents.properties.settings:
        if setting.role and setting.role in powers.known - powers.alters:
            yield f"{powers.role} may not set {setting.name} for the role {setting.role}, as it was in the backup"
        elif setting.name in powers.reserved:
            yield f"{powers.role} may not set {setting.name}, as it was in the backup"


def _on_target(powers: Powers, target: TargetSeen) -> Iterator[str]:
    if target.exists and not target.owned:
        yield f"{powers.role} does not own the database {target.name}, so it may not rename it"
    for name in target.immune:
        yield f"{powers.role} may not disconnect {name} (GRANT pg_signal_backend; a superuser only by itself)"
    for holder in target.holders:
        yield f"{target.name} cannot be renamed because of {holder}"


def observe_powers(administration: Session) -> Powers:
    """What the session's role may do."""
    row = administration.execute(
        "SELECT rolname, rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    assert row is not None
    role, superuser, creates = row
    # Since PostgreSQL 16 a membership may come without the right to act as the role.
    right = "SET" if administration.info.server_version >= 160000 else "MEMBER"
    roles = administration.execute("SELECT rolname, pg_has_role(oid, %s) FROM pg_roles", (right,)).fetchall()
    extensions = administration.execute(
        "SELECT a.name, bool_or(v.trusted OR NOT v.superuser) FROM pg_available_extensions a "
        "JOIN pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version GROUP BY 1"
    ).fetchall()
    return Powers(
        role=role,
        superuser=superuser,
        creates_databases=creates,
        known=frozenset(name for name, _ in roles),
        acts_as=frozenset(name for name, may in roles if may),
        extensions=frozenset(name for name, may in extensions if may or superuser),
        available=frozenset(name for name, _ in extensions),
        alters=_altered(administration),
        reserved=frozenset() if superuser else _reserved(administration),
        server_major=administration.info.server_version // 10000,
    )


def _altered(administration: Session) -> frozenset[str]:
    # Before PostgreSQL 16, CREATEROLE alone was enough for every role but superusers.
    needs_admin = administration.info.server_version >= 160000
    rows = administration.execute(
        "SELECT r.rolname FROM pg_roles r, pg_roles me WHERE me.rolname = current_user AND (me.rolsuper OR "
        "r.oid = me.oid OR me.rolcreaterole AND NOT r.rolsuper "
        "AND (NOT %s OR pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION')))",
        (needs_admin,),
    )
    return frozenset(name for (name,) in rows)


def _reserved(administration: Session) -> frozenset[str]:
    query = "SELECT name FROM pg_settings WHERE context = 'superuser'"
    # Since PostgreSQL 15 the right to set a single one of them can be granted.
    granted = " AND NOT has_parameter_privilege(name, 'SET')"
    rows = administration.execute(query + granted if administration.info.server_version >= 150000 else query)
    return frozenset(name for (name,) in rows)


def observe_target(administration: Session, name: str) -> TargetSeen:
    """The database to be replaced, or the place where it should be."""
    row = administration.execute(
        "SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = %s", (name,)
    ).fetchone()
    if row is None:
        return TargetSeen(name, exists=False)
    # Who may end whose session: see pg_terminate_backend in the documentation. What kind of process another role's
    # is, not everybody is told; those that are no sessions have no user.
    immune = administration.execute(
        "SELECT DISTINCT a.usename FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid "
        "WHERE a.datname = %s AND coalesce(a.backend_type, 'client backend') = 'client backend' AND NOT "
        "((SELECT rolsuper FROM pg_roles WHERE rolname = current_user) OR NOT r.rolsuper AND "
        "(pg_has_role(r.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'))) ORDER BY 1",
        (name,),
    ).fetchall()
    names = tuple(user for (user,) in immune)
    return TargetSeen(name, exists=True, owned=row[0], immune=names, holders=_holders(administration, name))


# What PostgreSQL counts before it renames a database (CountOtherDBBackends), but for autovacuum workers, which it
# ends by itself, and for sessions with their workers, which are ended before.
_HOLDERS: Final = """
    SELECT format('the prepared transaction %%L of %%s (COMMIT PREPARED or ROLLBACK PREPARED ends it)', gid, owner)
    FROM pg_prepared_xacts WHERE database = %(name)s
    UNION ALL
    SELECT format('the %%s %%s of %%s (end what started it: a subscription, a replication, an extension)',
                  backend_type, pid, usename)
    FROM pg_stat_activity WHERE datname = %(name)s
      AND backend_type NOT IN ('client backend', 'parallel worker', 'autovacuum worker')
    ORDER BY 1"""


def _holders(administration: Session, name: str) -> tuple[str, ...]:
    rows = administration.execute(_HOLDERS.encode(), {"name": name})
    return tuple(holder for (holder,) in rows)


def must_allow_copy(
    administration: Session,
    manifest: Manifest,
    contents: BackupContents,
    clients: Clients,
    target: TargetSeen | None = None,
) -> None:
    """Refuse a restore that cannot succeed.

    :raises RestoreRefused: all reasons in one
    """
    found = objections(observe_powers(administration), manifest, contents, clients, target)
    if found:
        raise RestoreRefused(
            f"backup {manifest.id} cannot be restored here; nothing was touched",
            seen="; ".join(found),
            remedy="give the role what it lacks or use another connection, end what holds the database",
        )
