"""This version's own queries against a database, without a server: does this version work on that schema?

The database is the one that libpq's variables name (``PGHOST`` …), for example a copy that was migrated ahead. It
is written to: an order is placed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from .database import Database
from .settings import Settings

_ORDERS = 100


class Failed(Exception):
    """This version does not work there; the message says what does not."""


def smoke(version: str) -> int:
    """Try it out and print a sentence for each check; the exit code is 0 when all hold.

    :param version: which this image is
    """
    try:
        sentences = asyncio.run(_checked(Settings(database_url="", version=version)))
    except Failed as error:
        print(f"{version} does not work on this schema: {error}")
        return 1
    print("\n".join(sentences))
    return 0


async def _checked(settings: Settings) -> list[str]:
    database = Database(settings)
    await database.open()
    try:
        if reason := await database.unready():
            raise Failed(reason)
        articles = await database.articles()
        _must(bool(articles), "there are no articles")
        _must(all(one["price_cents"] > 0 for one in articles), "an article has no price")
        orders = await database.orders(_ORDERS)
        await _orders_hold(database, orders, {one["id"] for one in articles})
        return [
            f"{settings.version} is ready on this schema, {len(articles)} articles have a price",
            f"the newest {len(orders)} orders were read one by one and belong to articles",
            await _order_placed(database, articles[0]),
        ]
    finally:
        await database.close()


async def _orders_hold(database: Database, orders: list[dict[str, Any]], articles: set[int]) -> None:
    for order in orders:
        number = order["id"]
        _must(await database.order(number) == order, f"order {number} is another one when it is read alone")
        _must(order["article_id"] in articles, f"order {number} is of an article that does not exist")
        _must(order["total_cents"] > 0, f"order {number} costs nothing")


async def _order_placed(database: Database, article: dict[str, Any]) -> str:
    placed = await database.create_order(article["id"], 2, None)
    total = 2 * article["price_cents"]
    _must(placed["total_cents"] == total, f"a new order costs {placed['total_cents']} instead of {total} cents")
    _must(await database.order(placed["id"]) == placed, "a new order is not read back as it was placed")
    return "an order was placed and read back"


def _must(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - a statement, as assert is
    if not holds:
        raise Failed(otherwise)
