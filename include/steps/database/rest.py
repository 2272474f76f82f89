"""The database as it stands while nobody migrates it: what is seen beside a migration is not what will be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from include.database.facts import DatabaseIdentity
from include.errors import WrongDatabase
from include.migration.observe import connection, schema_now, state
from include.migration.preflight import the_table
from include.migration.repair import at_rest
from include.steps.database.site import Site


@dataclass(frozen=True)
class Rest:
    """What was seen.

    :param fingerprint: of the schema
    """

    revisions: list[str]
    fingerprint: str


@contextmanager
def found_at_rest(site: Site, key: str, identity: DatabaseIdentity) -> Iterator[Rest]:
    """Where the database stands; nobody migrates it while in this context.

    :param key: of the migration that is not tried again: what is left of it is ended first
    :param identity: of the database that is meant
    :raises WrongDatabase: the connection leads elsewhere, which says nothing about what was migrated
    :raises MigrationBusy: another migration is running
    :raises DatabaseError: it gives no answer
    """
    with connection(site.database) as opened:
        must_be(state(opened).identity, identity)
        with at_rest(opened, key):
            table = the_table(site.tree, state(opened))
            yield Rest(sorted(table.revisions) if table else [], schema_now(opened).fingerprint)


def must_be(seen: DatabaseIdentity, wanted: DatabaseIdentity) -> None:
    """Refuse another database than the one that was migrated.

    :raises WrongDatabase: it is another
    """
    if seen != wanted:
        raise WrongDatabase(
            "the connection leads to another database than the one that was migrated",
            expected=wanted.shown,
            seen=seen.shown,
            remedy="mend the connection; nothing was touched",
        )
