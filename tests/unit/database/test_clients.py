"""Client programs: found, run without a shell or a secret, ended whatever happens; what they say, understood."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from include.database.clients import Clients, failure, find_clients, running
from include.database.connection import Database
from include.errors import ClientFailed, ClientHindered, ClientUnusable, DatabaseBusy, DatabaseUnreachable

DATABASE = Database("db.local", 5432, "erp", "owner", "p@ss-w0rd", {"options": "-c work_mem=8MB"})
PYTHON = [sys.executable, "-c"]


def script(folder: Path, name: str, version: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version} (Debian)'\n")
    file.chmod(0o755)


def test_programs_are_found_in_a_folder_or_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pg_dump", "pg_restore"):
        script(tmp_path, name, "17.2")
    assert find_clients(tmp_path) == Clients(tmp_path, "17.2")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert find_clients().major == 17


def test_missing_and_mixed_programs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ClientUnusable, match="pg_dump"):
        find_clients()
    script(tmp_path, "pg_dump", "17.2")
    with pytest.raises(ClientUnusable, match="pg_restore"):
        find_clients(tmp_path)
    script(tmp_path, "pg_restore", "16.1")
    with pytest.raises(ClientUnusable, match="of one version"):
        find_clients(tmp_path)
    script(tmp_path, "pg_restore", "without a number")
    with pytest.raises(ClientUnusable):
        find_clients(tmp_path)


def test_an_older_program_than_the_server_is_refused() -> None:
    clients = Clients(Path("/x"), "16.4")
    clients.must_serve(16)
    with pytest.raises(ClientUnusable, match="older than the server"):
        clients.must_serve(17)


def test_a_newer_program_whose_dumps_an_older_server_cannot_restore_is_refused() -> None:
    Clients(Path("/x"), "16.4").must_serve(15)
    Clients(Path("/x"), "18.4").must_serve(17)
    with pytest.raises(ClientUnusable, match="too new for the server"):
        Clients(Path("/x"), "17.1").must_serve(16)


def test_a_program_has_its_surroundings_and_no_secret() -> None:
    code = "import os, sys; print(dict(os.environ), sys.argv, open(os.environ['PGPASSFILE']).read())"
    with running([*PYTHON, code, "a b", "$HOME;"], DATABASE, application="test") as program:
        assert program.output is not None
        said = program.output.read().decode()
    assert said.count("p@ss-w0rd") == 1, "in the file alone"
    assert "'-c work_mem=8MB -c client_connection_check_interval=2s -c idle_session_timeout=0'" in said
    assert "'a b', '$HOME;'" in said
    assert "'LC_ALL': 'C'" in said


def test_what_is_fed_arrives_and_what_is_printed_goes_to_a_file() -> None:
    code = "import sys; sys.stdout.write(sys.stdin.read().upper())"
    with tempfile.TemporaryFile() as file:
        with running([*PYTHON, code], None, application="test", fed=True, output=file) as program:
            assert program.feed is not None
            program.feed.write(b"hallo")
        file.seek(0)
        assert file.read() == b"HALLO"


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        (-9, "pg_restore: error: whatever"),
        (1, ""),
        (1, "pg_restore: error: could not close output file: No space left on device"),
        (1, "pg_restore: error: could not execute query: ERROR:  could not extend file: No space left on device"),
        (1, "pg_restore: error: COPY failed: ERROR:  could not extend file: File too large"),
        (1, "pg_restore: error: COPY failed: ERROR:  could not extend file\nHINT:  Check free disk space."),
    ],
)
def test_what_hindered_a_program_says_nothing_about_what_it_was_given(code: int, complaint: str) -> None:
    hindered = failure("pg_restore", code, complaint)
    assert type(hindered) is ClientHindered
    assert hindered.retryable, "an emergency's restore does not end with the first kill"


def test_a_complaint_of_its_own_does() -> None:
    failed = failure("pg_restore", 1, "pg_restore: error: input file is too short")
    assert (type(failed), failed.retryable) == (ClientFailed, False)


def test_a_program_that_reads_no_further_decides_itself_how_it_ends() -> None:
    def feed(code: str) -> None:
        with running([*PYTHON, code], None, application="test", fed=True) as program:
            assert program.feed is not None
            for _ in range(1000):
                program.feed.write(b"x" * 10000)

    feed("pass")
    with pytest.raises(ClientFailed, match="exit code 3"):
        feed("raise SystemExit(3)")


def test_an_exception_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.database.clients.STOP_SECONDS", 0.3)
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    started: list[int] = []

    def interrupted(code: str) -> None:
        with running([*PYTHON, code], None, application="test") as program:
            assert program.output is not None
            program.output.readline()
            started.append(program.pid)
            raise KeyboardInterrupt

    for code in ("import time; print('ready', flush=True); time.sleep(60)", deaf):
        with pytest.raises(KeyboardInterrupt):
            interrupted(code)
        assert not psutil.pid_exists(started[-1])


def test_a_program_ends_with_the_process_that_runs_it() -> None:
    code = (
        "import sys, time; from include.database.clients import running\n"
        "with running([sys.executable, '-c', 'import time; time.sleep(60)'], None, application='x') as program:\n"
        "    print(program.pid, flush=True); time.sleep(60)"
    )
    root = str(Path(__file__).parents[3])
    with subprocess.Popen(
        [sys.executable, "-c", code], env={"PYTHONPATH": root, "PATH": ""}, stdout=subprocess.PIPE
    ) as runner:
        assert runner.stdout is not None
        pid = int(runner.stdout.readline())
        child = psutil.Process(pid)
        runner.send_signal(signal.SIGKILL)
        psutil.wait_procs([child], timeout=10)
    assert not child.is_running()


def test_what_a_program_says_is_understood() -> None:
    gone = 'pg_dump: error: connection to server at "h", port 1 failed: Connection refused\n'
    assert isinstance(failure("pg_dump", 1, gone), DatabaseUnreachable)
    cut = (
        "pg_dump: error: Dumping the contents of table failed: PQgetCopyData() failed.\n"
        "pg_dump: detail: Error message from server: server closed the connection unexpectedly\n"
    )
    assert isinstance(failure("pg_dump", 1, cut), DatabaseUnreachable)
    locked = (
        "pg_dump: error: query failed: ERROR:  canceling statement due to lock timeout\n"
        "pg_dump: detail: Query was: LOCK TABLE\n"
    )
    assert isinstance(failure("pg_dump", 1, locked), DatabaseBusy)
    assert failure("pg_dump", -9, "").seen == "ended by signal 9"


def test_statements_and_rows_are_not_repeated() -> None:
    complaints = (
        "pg_restore: error: could not execute query: ERROR:  role does not exist\n"
        "Command was: CREATE SUBSCRIPTION s CONNECTION 'password=geheim'\n"
        'CONTEXT:  COPY kunde, line 1: "geheim"\n'
        "pg_restore: detail: Query was: SELECT 'geheim'\n"
    )
    seen = failure("pg_restore", 1, complaints).seen
    assert seen == "error: could not execute query: ERROR:  role does not exist"
