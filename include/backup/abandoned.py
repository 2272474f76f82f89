"""Databases made from backups with which nobody works any more: their makers were killed and given up."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import psycopg

from include.backup.copies import drop
from include.database.session import Session, first_line, try_lock, unlock

log = logging.getLogger(__name__)

_DATABASES: Final = """
SELECT datname::text, coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database
WHERE NOT datistemplate ORDER BY datname
"""


def drop_abandoned(
    administration: Session, ours: Callable[[str, str], bool], lock: Callable[[str], str], *, but: str
) -> tuple[str, ...]:
    """Drop what nobody holds the lock of.

    :param administration: a session with the database in which they are locked
    :param ours: whether a database is meant, by its name and its comment
    :param lock: what whoever works with one of that name holds meanwhile
    :param but: the caller's own
    :return: which were dropped
    """
    dropped = []
    for name, comment in administration.execute(_DATABASES).fetchall():
        if name == but or not ours(name, comment) or not try_lock(administration, lock(name)):
            continue
        log.warning("%s was left by a process that was killed, and was given up: it is dropped", name)
        if drop_quietly(administration, name):
            dropped.append(name)
        unlock(administration, lock(name))
    return tuple(dropped)


def drop_quietly(administration: Session, name: str) -> bool:
    """Drop a database where that is possible: what went wrong before is what has to be told."""
    try:
        drop(administration, name)
    except psycopg.Error as error:
        log.warning("%s is left behind, the next one like it removes it: %s", name, first_line(error))
        return False
    return True
