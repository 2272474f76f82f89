"""Marks that a database bears in its comment, readable for everybody on the server."""

from __future__ import annotations

import re
from typing import Final

from psycopg import sql

from include.database.session import Session

_MARK: Final = re.compile(r"\n?\[Stellwerk: (\w+) ([0-9a-f]+)\]$")


def marked(comment: str, state: str, mark: str) -> str:
    """The comment with our mark behind it, in place of an earlier one of ours."""
    return f"{unmarked(comment)}\n[Stellwerk: {state} {mark}]".lstrip("\n")


def unmarked(comment: str) -> str:
    """The comment without our mark."""
    return _MARK.sub("", comment)


def mark_of(comment: str) -> tuple[str, str]:
    """State and mark in a comment; both empty when there is none."""
    found = _MARK.search(comment)
    return (found.group(1), found.group(2)) if found else ("", "")


def mark(session: Session, database: str, state: str, name: str) -> None:
    """Mark a database; what else its comment says stays.

    :param state: how far something has come with it; empty to take the mark away
    :param name: of what marks it, in hexadecimal digits
    """
    row = session.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (database,)
    ).fetchone()
    comment = (row and row[0]) or ""
    set_comment(session, database, marked(comment, state, name) if state else unmarked(comment))


def set_comment(session: Session, database: str, comment: str) -> None:
    """Say something about a database; an empty comment is none."""
    text = sql.Literal(comment or None)
    session.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database), text))
