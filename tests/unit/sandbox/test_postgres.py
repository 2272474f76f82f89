"""The embedded PostgreSQL: who may do what, where things lie, and what stays after its end."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from include.errors import SandboxError
from include.sandbox.postgres import DATABASES, SUPERUSER, Postgres
from include.sandbox.postgres_binaries import Account, installed_postgres

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives up its rights")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres") / "state")
    server.start()
    yield server
    server.remove()


@pytest.mark.parametrize("database", DATABASES)
def test_each_owner_can_create_tables_in_its_own_database(server: Postgres, database: str) -> None:
    with psycopg.connect(server.url(database)) as connection:
        connection.execute("CREATE TABLE mine (n int)")
        connection.execute("INSERT INTO mine VALUES (1)")
        assert connection.execute("SELECT current_user, n FROM mine").fetchone() == (DATABASES[database], 1)


@pytest.mark.parametrize(("role", "database"), [("valeo_erp", "airflow"), ("stellwerk", "valeo_erp")])
def test_an_owner_is_kept_out_of_the_others_databases(server: Postgres, role: str, database: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(server.url(database, role))


@pytest.mark.parametrize("role", ["airflow", SUPERUSER])
def test_nobody_gets_in_without_the_password(server: Postgres, role: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://{role}:wrong@127.0.0.1:{server.port}/airflow")


def test_owners_are_no_superusers_and_passwords_are_stored_as_scram(server: Postgres) -> None:
    with psycopg.connect(server.url("postgres", SUPERUSER)) as connection:
        roles = connection.execute(
            "SELECT rolname, rolsuper OR rolcreaterole OR rolcreatedb, rolpassword"
            " FROM pg_authid WHERE rolcanlogin"
        ).fetchall()
    assert {name for name, powerful, _ in roles if powerful} == {SUPERUSER}
    assert all(password.startswith("SCRAM-SHA-256$") for _, _, password in roles)


def test_passwords_lie_in_files_only_the_owner_reads(server: Postgres) -> None:
    server.password("made-up-on-first-use")
    files = list(server._passwords.iterdir())
    assert {file.name for file in files} >= {*DATABASES.values(), SUPERUSER, "made-up-on-first-use"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_no_secret_is_in_a_command_line(server: Postgres) -> None:
    secrets = [file.read_text() for file in server._passwords.iterdir()]
    process = psutil.Process(server.pid)
    words = " ".join(word for each in (process, *process.parents()[:2]) for word in each.cmdline())
    assert not any(secret in words for secret in secrets)


def test_it_listens_on_loopback_only(server: Postgres) -> None:
    listening = [c.laddr for c in psutil.Process(server.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening == [("127.0.0.1", server.port)]


@as_root
def test_the_server_runs_without_root_and_without_its_groups(server: Postgres) -> None:
    process = psutil.Process(server.pid)
    account = Account.current()
    assert account is not None
    assert set(process.uids()) == {account.uid}
    status = Path(f"/proc/{server.pid}/status").read_text()
    assert "Groups:\t \n" in status


@as_root
def test_a_closed_state_folder_stays_closed_and_the_data_goes_elsewhere(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = Postgres(closed / "state")
    server.start()
    place = server._recorded_place()
    assert place is not None
    assert closed not in place.parents
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    server.remove()
    assert not place.exists()
    assert not (closed / "state").exists()


@as_root
def test_binaries_the_account_cannot_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = installed_postgres()

    def reaches(self: Account, path: Path) -> bool:
        return not path.is_relative_to(installed) and original(self, path)

    original = Account.reaches
    monkeypatch.setattr(Account, "reaches", reaches)
    server = Postgres(tmp_path / "state")
    try:
        server.start()
        place = server._recorded_place()
        assert place is not None
        assert Path(f"/proc/{server.pid}/exe").readlink().is_relative_to(place)
    finally:
        server.remove()


def test_a_restart_finds_data_and_passwords_and_a_stop_leaves_no_process(tmp_path: Path) -> None:
    first = Postgres(tmp_path / "state")
    first.start()
    with psycopg.connect(first.url("valeo_erp")) as connection:
        connection.execute("CREATE TABLE kept (n int)")
    processes = [psutil.Process(first.pid), *psutil.Process(first.pid).children(recursive=True)]
    first.stop()
    assert not first.alive
    assert [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []

    second = Postgres(tmp_path / "state")
    second.start()
    try:
        with psycopg.connect(second.url("valeo_erp")) as connection:
            connection.execute("SELECT * FROM kept")
    finally:
        second.remove()


def test_an_open_connection_does_not_keep_it_from_stopping(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "state")
    server.start()
    try:
        with psycopg.connect(server.url("airflow")) as connection:
            server.stop()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
    finally:
        server.remove()


def test_stopping_twice_or_before_the_start_does_nothing(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "state")
    server.stop()
    assert not server.alive
    with pytest.raises(SandboxError, match="not running"):
        _ = server.pid


def test_from_elsewhere_only_the_application_reaches_its_database(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "state", host_address="127.0.0.9")
    server.start()
    try:
        assert server.url("valeo_erp", host="127.0.0.9").split("@")[1] == f"127.0.0.9:{server.port}/valeo_erp"
        psycopg.connect(server.url("valeo_erp", host="127.0.0.9")).close()
        with psycopg.connect(server.url("postgres", SUPERUSER)) as connection:
            rules = connection.execute("SELECT database, user_name, address FROM pg_hba_file_rules").fetchall()
        assert [rule for rule in rules if rule[2] != "127.0.0.1"] == [(["valeo_erp"], ["valeo_erp"], "0.0.0.0")]
    finally:
        server.remove()


def test_a_url_quotes_what_has_a_meaning_in_urls(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "state")
    server.port = 5432
    file = server._passwords
    file.mkdir(parents=True)
    (file / "airflow").write_text("a/b@c:d%e")
    url = server.url("airflow", driver="psycopg2")
    assert url == "postgresql+psycopg2://airflow:a%2Fb%40c%3Ad%25e@127.0.0.1:5432/airflow"
