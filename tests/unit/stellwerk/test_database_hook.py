"""Airflow connections as a migration needs them; what is not complete is refused, and no secret is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from airflow.sdk import Connection

from include.database.connection import Database, client_environment
from include.errors import BackupStoreFailed, ClientUnusable, DatabaseRefused, PlanError
from include.sandbox.postgres_binaries import installed_postgres
from stellwerk.hooks.database import LIBPQ, database_of, open_database, open_site, open_store
from tests.unit.steps.database.worlds import a_run


def test_a_connection_is_a_database_whose_password_is_not_shown() -> None:
    connection = Connection(
        conn_id="erp",
        conn_type="postgres",
        host="db",
        schema="erp",
        login="owner",
        password="s3cret",
        extra='{"sslmode": "verify-full", "cursor": "dictcursor"}',
    )
    database = database_of("erp", connection)
    assert (database.shown, database.password) == ("owner@db:5432/erp", "s3cret")
    assert dict(database.options) == {"sslmode": "verify-full"}
    assert "s3cret" not in repr(database)


@pytest.mark.parametrize("missing", ["host", "schema", "login"])
def test_a_connection_that_names_no_database_is_refused(missing: str) -> None:
    given = {"host": "db", "schema": "erp", "login": "owner"}
    del given[missing]
    connection = Connection(conn_id="erp", conn_type="postgres", password="s3cret", **given)
    with pytest.raises(DatabaseRefused, match="does not say which database") as refused:
        database_of("erp", connection)
    assert "s3cret" not in str(refused.value)


def test_programs_can_be_given_whatever_a_connection_may_say() -> None:
    given = dict.fromkeys(LIBPQ, "as given")
    with client_environment(Database("db", 5432, "erp", "owner", options=given), application="x") as environment:
        assert list(environment.values()).count("as given") == len(LIBPQ)


def test_backups_are_kept_where_the_url_says(tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri(), None)
    piece = store.put("one", "file", b"content")
    assert (tmp_path / "one" / "file").read_bytes() == b"content"
    assert b"".join(store.read("one", piece)) == b"content"


def test_a_url_that_nobody_knows_is_refused() -> None:
    with pytest.raises(BackupStoreFailed, match="cannot be kept at nowhere://bucket"):
        open_store("nowhere://bucket/erp", None)


URL = "postgres://owner:s3cret@db:5433/erp?sslmode=require"


def test_all_that_a_migration_works_with_is_opened_by_what_the_plan_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ERP", URL)
    clients = str(installed_postgres() / "bin")
    site = open_site(a_run(backups=tmp_path.as_uri(), clients=clients, maintenance="template1"))
    assert (site.database.shown, site.database.password) == ("owner@db:5433/erp", "s3cret")
    assert dict(site.database.options) == {"sslmode": "require"}
    assert site.workshop.clients.path("pg_dump") == f"{clients}/pg_dump"
    assert (site.workshop.maintenance, site.tree.folder) == ("template1", Path("/srv/3.0.0"))
    site.store.put("one", "file", b"content")
    assert (tmp_path / "one" / "file").read_bytes() == b"content"
    assert site.linter is not None, "squawk is a dependency"


def test_what_is_missing_is_named_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(backups=tmp_path.as_uri(), clients=str(installed_postgres() / "bin"))
    with pytest.raises(DatabaseRefused, match="connection erp is not defined"):
        open_site(run)
    with pytest.raises(ClientUnusable):
        open_site(a_run(clients=str(tmp_path)))
    with pytest.raises(PlanError, match="no database in the plan"):
        open_site(replace(run, environment=run.environment.model_copy(update={"database": None})))
    monkeypatch.setenv("AIRFLOW_CONN_ERP", "postgres://db")
    with pytest.raises(DatabaseRefused, match="does not say which database"):
        open_database("erp")
    with pytest.raises(BackupStoreFailed, match="cannot be kept at s3://bucket"):
        open_store("s3://bucket/erp", "nobody_knows")
