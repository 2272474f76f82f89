"""How a database is reached: the password is where libpq finds it and nowhere else."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.pq import Conninfo

from include.database.connection import Database, client_environment
from include.errors import DatabaseRefused

DATABASE = Database("db.local", 5433, 'valeo "erp" ü', "owner", "pa:ss\\word", {"sslmode": "require"})


def test_nothing_that_is_printed_shows_the_password() -> None:
    for shown in (repr(DATABASE), str(DATABASE), DATABASE.shown, str(DATABASE.url())):
        assert "pa:ss" not in shown
        assert "word" not in shown


def test_the_url_and_the_parameters_name_the_database_exactly() -> None:
    url = DATABASE.url()
    assert (url.host, url.port, url.database, url.username) == ("db.local", 5433, 'valeo "erp" ü', "owner")
    assert (url.password, url.query["sslmode"]) == ("pa:ss\\word", "require")
    parameters = DATABASE.named("other").parameters()
    assert (parameters["dbname"], parameters["password"], parameters["sslmode"]) == (
        "other",
        "pa:ss\\word",
        "require",
    )


def test_programs_get_the_password_in_a_file_of_this_account_that_ends_with_them() -> None:
    with client_environment(DATABASE, application="stellwerk backup") as environment:
        passfile = Path(environment["PGPASSFILE"])
        assert stat.S_IMODE(passfile.stat().st_mode) == 0o600
        assert passfile.read_text(encoding="utf-8") == ('db.local:5433:valeo "erp" ü:owner:pa\\:ss\\\\word\n')
        assert not any("pa:ss" in value for value in environment.values())
        assert environment["PGSSLMODE"] == "require"
        assert environment["PGDATABASE"] == 'valeo "erp" ü'
    assert not passfile.exists()


@pytest.mark.parametrize(
    "option",
    [
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "ssl_min_protocol_version", "channel_binding"),
        *("gssencmode", "target_session_attrs", "options", "load_balance_hosts", "require_auth"),
    ],
)
def test_programs_get_every_parameter_under_the_name_that_libpq_knows(option: str) -> None:
    known = {one.keyword.decode(): one.envvar and one.envvar.decode() for one in Conninfo.get_defaults()}
    database = replace(DATABASE, options={option: "as given"})
    with client_environment(database, application="x") as environment:
        assert environment[known[option] or ""] == "as given"
        assert {name for name in environment if name.startswith("PG")} <= set(known.values())


def test_a_parameter_that_programs_cannot_be_given_is_not_left_out_silently() -> None:
    database = replace(DATABASE, options={"sslpassword": "s3cret"})
    with pytest.raises(DatabaseRefused, match="sslpassword") as refused:
        client_environment(database, application="x").__enter__()
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(("name", "written"), [("*", "\\*"), ("a:b\\c", "a\\:b\\\\c"), ("**", "**")])
def test_the_password_is_for_the_one_database(name: str, written: str) -> None:
    with client_environment(DATABASE.named(name), application="x") as environment:
        line = Path(environment["PGPASSFILE"]).read_text(encoding="utf-8")
    assert line == f"db.local:5433:{written}:owner:pa\\:ss\\\\word\n"


def test_the_environment_of_this_process_is_not_passed_on() -> None:
    with client_environment(DATABASE, application="x") as environment:
        assert {name for name in environment if not name.startswith("PG")} <= {
            "PATH",
            "HOME",
            "LANG",
            "LC_ALL",
            "TMPDIR",
            "TZ",
            "LD_LIBRARY_PATH",
        }
