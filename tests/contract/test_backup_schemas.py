"""Whatever a schema looks like: what was restored is what was backed up, to the last constraint and row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from upath import UPath

from include.backup.dump import Wanted, take_backup
from include.backup.store import Store
from include.backup.verify import verify
from include.sandbox.postgres import Postgres
from tests.contract.databases import World, connect
from tests.contract.generated_schemas import databases


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    server.start()
    world = World(server, tmp_path_factory.mktemp("world"))
    world.make()
    yield world
    server.remove()


def extensions(world: World) -> list[str]:
    """Those that the server has, and that are not in every database."""
    with connect(world.admin()) as connection:
        found = connection.execute("SELECT name::text FROM pg_available_extensions ORDER BY 1").fetchall()
    return [name for (name,) in found if name != "plpgsql"]


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_was_restored_is_what_was_backed_up(
    world: World, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    statements = data.draw(databases(extensions(world)))
    store = Store(UPath(str(tmp_path_factory.mktemp("backups"))))
    made = world.database.named("generated")
    if any(statement.startswith("CREATE EXTENSION") for statement in statements):
        made = world.admin("generated")  # an owner may not create every extension
    with connect(world.database.named("postgres")) as connection:
        connection.execute("DROP DATABASE IF EXISTS generated WITH (FORCE)")
        connection.execute(sql.SQL("CREATE DATABASE generated"))
    with connect(made) as connection:
        for statement in statements:
            connection.execute(statement.encode())
    manifest = take_backup(made, store, world.clients, Wanted("one"))
    assert None not in manifest.rows.values()
    world.store = store
    verification = verify("one", world.workshop, now=datetime.now(UTC), scratch=made)
    assert (verification.sentences, verification.verdict) == ((), "VERIFIED")
