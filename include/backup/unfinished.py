"""How restores have ended that nobody goes on with: found out, and put in order, from the server alone."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final

from include.backup import exchange
from include.backup.copies import Workshop, drop
from include.backup.swap import copy_name
from include.database.connection import Database
from include.database.marks import mark_of
from include.database.session import Session, session, try_lock
from include.errors import RestoreBusy

log = logging.getLogger(__name__)

APPLICATION: Final = "stellwerk restore"
_OF_A_COPY: Final = ("restoring", "verified")


def settle(database: Database, workshop: Workshop, stated: Collection[str] = ()) -> str:
    """Find out whether a restore has replaced the database; users may connect to whatever is there.

    The marks tell, whoever has set them: what was closed to be replaced is opened, and copies that have not come
    to their place are dropped.

    :param stated: marks of restores that were stated, whose copies are dropped also where a kill has left them
        unmarked
    :return: the mark of the restore whose backup is in the database's place; empty when none is
    :raises RestoreBusy: another process goes on with one
    :raises DatabaseError: the server gives no answer
    """
    with session(database.named(workshop.maintenance), application=APPLICATION) as administration:
        if not try_lock(administration, f"restore {database.name}"):
            raise RestoreBusy(f"another process is restoring {database.shown}", remedy="wait for it")
        for name in _copies(administration, database.name, stated):
            log.info("dropping %s, which a restore has left behind", name)
            drop(administration, name)
        found = exchange.standing(administration, database.name)
        if found is None:
            return ""
        if found.state == "replacing":
            log.warning("%s was closed to be replaced: it is opened again", database.name)
            exchange.open_again(administration, database.name)
        if found.state != "restored":
            return ""
        if not found.open:
            exchange.allow(administration, database.name, connections=True)
        return found.mark


def _copies(administration: Session, target: str, stated: Collection[str]) -> list[str]:
    ours = {copy_name(target, mark) for mark in stated}
    left = []
    query = "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname <> %s"
    for name, comment in administration.execute(query, (target,)):
        state, mark = mark_of(comment or "")
        marked = state in _OF_A_COPY and name == copy_name(target, mark)
        if marked or (not state and name in ours):
            left.append(name)
    return left
