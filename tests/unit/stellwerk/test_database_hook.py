"""Airflow connections as a migration needs them; what is not complete is refused, and no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk import Connection

from include.errors import BackupStoreFailed, DatabaseRefused
from stellwerk.hooks.database import database_of, open_store


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


def test_backups_are_kept_where_the_url_says(tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri(), None)
    piece = store.put("one", "file", b"content")
    assert (tmp_path / "one" / "file").read_bytes() == b"content"
    assert b"".join(store.read("one", piece)) == b"content"


def test_a_url_that_nobody_knows_is_refused() -> None:
    with pytest.raises(BackupStoreFailed, match="cannot be kept at nowhere://bucket"):
        open_store("nowhere://bucket/erp", None)
