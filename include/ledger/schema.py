"""The ledger's place in the database: schema, table and the lock that orders its writers."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import UserDefinedType

SCHEMA = "stellwerk_ledger"

APPEND_LOCK = 0x5374656C6C7765  # "Stellwe": one writer at a time, across all processes

PROTECTIONS = frozenset({"refuse_change", "extend_only"})
"""The triggers of the table of entries."""


class VerbatimJson(UserDefinedType[str]):
    """PostgreSQL's ``json``: unlike ``jsonb`` it keeps the text as it was written, which the hash covers."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name in SQL."""
        return "json"

    def bind_expression(self, bindvalue: sa.BindParameter[str]) -> sa.ColumnElement[str]:
        """Parameters travel as text and become ``json`` in the database."""
        return sa.cast(sa.type_coerce(bindvalue, sa.Text), self)


ENTRIES = sa.Table(
    "entries",
    sa.MetaData(schema=SCHEMA),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("key", sa.Text, unique=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("payload", VerbatimJson, nullable=False),
    sa.Column("previous", sa.Text, nullable=False, unique=True),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
)
