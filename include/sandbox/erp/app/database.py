"""The ERP's data: queries, the schema check readiness relies on, and the channel on which orders are announced."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool  # type: ignore[import-not-found] # only in the image

from .settings import Release, Settings, revision_number, version_key

log = logging.getLogger("erp.database")
Unavailable = psycopg.OperationalError  # PoolTimeout is one, too
CHANNEL = "erp_orders"
_POOL_SIZE = 6
_WAIT_SECONDS = 2.0
_CONNECTION = {
    "autocommit": True,
    "row_factory": dict_row,
    "connect_timeout": 3,
    "options": "-c statement_timeout=3000 -c idle_in_transaction_session_timeout=10000",
}
_RELISTEN_SECONDS = 1.0


class NoSuchArticle(LookupError):
    """An order names an article that does not exist."""


class NotYet(LookupError):
    """What is to be stored has no place in the schema that is live."""


class Database:
    """The connection pool and every query of the application."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.database_url
        self._release: Release = settings.release
        self._version = settings.version
        self._listening = 0
        kwargs = {
            **_CONNECTION,
            "application_name": f"valeo-erp/{settings.version} {settings.slot} {settings.pod}",
        }
        self._kwargs: dict[str, Any] = kwargs
        self._pool = AsyncConnectionPool[psycopg.AsyncConnection[dict[str, Any]]](
            settings.database_url,
            kwargs=kwargs,
            min_size=1,
            max_size=_POOL_SIZE,
            timeout=_WAIT_SECONDS,
            reconnect_timeout=5,
            open=False,
        )

    async def open(self) -> None:
        """Begin to connect; does not wait: readiness tells when the database answers."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Give all connections back."""
        await self._pool.close()

    @property
    def open_connections(self) -> int:
        """Connections this process holds at this moment."""
        return int(self._pool.get_stats().get("pool_size", 0)) + self._listening

    async def unready(self) -> str | None:
        """Why this version cannot serve with this database, or None when it can."""
        try:
            async with self._pool.connection(timeout=1.0) as connection:
                cursor = await connection.execute(
                    "SELECT oldest_version,"
                    " (SELECT array_agg(version_num::text) FROM alembic_version) AS revisions"
                    " FROM schema_compatibility"
                )
                row = await cursor.fetchone()
        except psycopg.errors.UndefinedTable:
            return f"the schema is missing; revision {self._release.revision:04d} is needed"
        except psycopg.Error as error:
            return f"the database does not answer: {type(error).__name__}"
        revision = max((revision_number(name) for name in (row or {}).get("revisions") or ()), default=0)
        if revision < self._release.revision:
            return f"schema revision {revision:04d} is live, {self._release.revision:04d} is needed"
        oldest = str((row or {}).get("oldest_version", ""))
        if version_key(self._version) < version_key(oldest):
            return f"the schema works with version {oldest} or later, this is {self._version}"
        return None

    async def articles(self) -> list[dict[str, Any]]:
        """All articles, by number."""
        return await self._all("SELECT id, number, name, price_cents, stock FROM articles ORDER BY number")

    async def orders(self, limit: int) -> list[dict[str, Any]]:
        """The newest orders."""
        return await self._all(f"SELECT {self._columns} FROM orders ORDER BY id DESC LIMIT %s", limit)

    async def order(self, order_id: int) -> dict[str, Any] | None:
        """One order, or None."""
        found = await self._all(f"SELECT {self._columns} FROM orders WHERE id = %s", order_id)
        return found[0] if found else None

    async def create_order(self, article_id: int, quantity: int, delivery_date: date | None) -> dict[str, Any]:
        """Store an order at the article's price and announce it to all pods.

        :raises NoSuchArticle: the article does not exist
        :raises NotYet: the live schema has no delivery dates
        """
        values: dict[str, Any] = {"article": article_id, "quantity": quantity, "delivery_date": delivery_date}
        extra = ("", "") if delivery_date is None else (", delivery_date", ", %(delivery_date)s")
        insert = (
            f"INSERT INTO orders (article_id, quantity, total_cents{extra[0]})"
            f" SELECT id, %(quantity)s, price_cents * %(quantity)s{extra[1]}"
            " FROM articles WHERE id = %(article)s"
            f" RETURNING {self._columns}"
        )
        async with self._pool.connection() as connection, connection.transaction():
            try:
                cursor = await connection.execute(insert, values)
            except psycopg.errors.UndefinedColumn:
                raise NotYet("delivery_date") from None
            order: dict[str, Any] | None = await cursor.fetchone()
            if order is None:
                raise NoSuchArticle(str(article_id))
            await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, str(order["id"])))
        return order

    async def listen(self, announce: Callable[[str], None]) -> None:
        """Call ``announce`` with the id of every order of every pod; reconnects; ends only by cancellation."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._url, **self._kwargs) as connection:
                    self._listening = 1
                    await connection.execute(f"LISTEN {CHANNEL}")
                    async for notification in connection.notifies():
                        announce(notification.payload)
            except psycopg.Error as error:
                log.warning("not listening", extra={"fields": {"error": type(error).__name__}})
            finally:
                self._listening = 0
            await asyncio.sleep(_RELISTEN_SECONDS)

    @property
    def _columns(self) -> str:
        base = "id, article_id, quantity, total_cents, created_at"
        if "delivery_date" not in self._release.features:
            return base
        # By name and from the whole row: the schema may be migrated, or taken back, while this version runs.
        return f"{base}, (to_jsonb(orders) ->> 'delivery_date')::date AS delivery_date"

    async def _all(self, query: str, *values: object) -> list[dict[str, Any]]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query, values)
            rows: list[dict[str, Any]] = await cursor.fetchall()
            return rows
