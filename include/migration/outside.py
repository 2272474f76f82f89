"""Statements that change the server beside the database: done in a copy, they are done to everybody. Pure."""

from __future__ import annotations

from typing import Final

from include.migration.sqltext import Reader, Statement, has

_SHARED: Final = ("DATABASE", "ROLE", "USER", "GROUP", "TABLESPACE", "SUBSCRIPTION", "SYSTEM")
_GRANTED: Final = ("DATABASE", "TABLESPACE", "PARAMETER")


def outside(statement: Statement) -> str:
    """What a statement changes that all databases of the server share; "" when it changes none of it."""
    verb, reader = statement.verb, Reader(statement.tokens[1:])
    if verb in ("ALTER", "CREATE", "DROP"):
        return _object(verb, reader)
    if verb == "COMMENT" and reader.take("ON"):
        return _object(verb, reader)
    if verb in ("GRANT", "REVOKE"):
        if not has(reader.rest, "ON"):
            return f"{verb} of a role"
        return next((f"{verb} ON {what}" for what in _GRANTED if has(reader.rest, "ON", what)), "")
    # What a role owns, and what it may do, is not of one database only.
    return "REASSIGN OWNED" if verb == "REASSIGN" else ""


def _object(verb: str, reader: Reader) -> str:
    if reader.take("USER", "MAPPING"):
        return ""
    if verb == "DROP" and reader.take("OWNED"):
        return "DROP OWNED"
    what = reader.take_any(*_SHARED)
    return f"{verb} {what}" if what else ""
