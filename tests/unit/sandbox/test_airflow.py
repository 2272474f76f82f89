"""What the embedded Airflow's processes find, and how a component that ends is treated."""

from __future__ import annotations

import json
import stat
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from include.errors import SandboxError
from include.sandbox.airflow import COMPONENTS, HEALTH_NAMES, AirflowRuntime
from include.sandbox.airflow_client import AirflowClient, AirflowRefused
from include.sandbox.airflow_environment import REPOSITORY, USERS, AirflowEnvironment, accounts
from include.sandbox.airflow_records import log_line
from include.sandbox.airflow_supervision import Supervised
from include.sandbox.settings import Settings


def environment(home: Path, **changes: Any) -> AirflowEnvironment:
    values: dict[str, Any] = {
        "home": home,
        "database_url": "postgresql+psycopg2://a:b@127.0.0.1:5432/airflow",
        "port": 8080,
        "dag_folders": {"dags-folder": REPOSITORY / "dags"},
        "variables": {},
    }
    return AirflowEnvironment(**{**values, **changes})


def test_nothing_of_a_surrounding_airflow_or_python_leaks_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "99")
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", "postgres://elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("PYTHONSTARTUP", "/elsewhere")
    monkeypatch.setenv("STELLWERK_HOST_ADDRESS", "10.0.0.1")
    found = environment(tmp_path).variables_of_process()
    assert found["AIRFLOW__CORE__PARALLELISM"] == "8"
    assert found["PYTHONPATH"] == str(REPOSITORY)
    assert found["STELLWERK_HOST_ADDRESS"] == "10.0.0.1"
    assert not {"AIRFLOW_CONN_LEDGER", "PYTHONSTARTUP"} & set(found)
    assert "elsewhere" not in " ".join(found.values())


def test_a_proxy_of_the_machine_does_not_come_between_the_components(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "example.org")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    found = environment(tmp_path).variables_of_process()
    assert found["NO_PROXY"] == found["no_proxy"] == "example.org,127.0.0.1,localhost"
    assert found["HTTP_PROXY"] == "http://proxy:3128"


def test_fab_knows_people_by_numbers_in_the_order_in_which_they_are_created(tmp_path: Path) -> None:
    fab = environment(tmp_path, auth_manager="fab")
    assert fab.variables_of_process()["AIRFLOW__CORE__AUTH_MANAGER"].endswith(".FabAuthManager")
    users = fab.users()
    assert [user["id"] for user in users] == [str(number) for number in range(1, len(USERS) + 1)]
    assert {user["name"]: user["id"] for user in users} == accounts("fab")
    assert {user["name"]: user["role"] for user in users}["technical-lead"] == "User"
    assert {user["name"]: user["password"] for user in users} == fab.passwords()
    simple = environment(tmp_path)
    assert simple.users() == []
    assert accounts("simple") == {}
    assert "AIRFLOW__CORE__AUTH_MANAGER" not in simple.variables_of_process()


def test_given_variables_win(tmp_path: Path) -> None:
    given = {"AIRFLOW__CORE__PARALLELISM": "2", "STELLWERK_PLAN": "/plan"}
    found = environment(tmp_path, variables=given).variables_of_process()
    assert given.items() <= found.items()


def test_every_bundle_is_configured_with_its_absolute_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = environment(tmp_path, dag_folders={"more": Path("dags")}).variables_of_process()
    (bundle,) = json.loads(found["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    assert (bundle["name"], bundle["kwargs"]) == ("more", {"path": str(tmp_path / "dags")})


def test_passwords_and_secrets_are_made_once_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    first = environment(tmp_path / "home")
    first.prepare()
    passwords, variables = first.passwords(), first.variables_of_process()
    assert set(passwords) == set(USERS)
    assert len(set(passwords.values())) == len(USERS)
    again = environment(tmp_path / "home")
    again.prepare()
    assert (again.passwords(), again.variables_of_process()) == (passwords, variables)
    files = [file for file in (tmp_path / "home").iterdir() if file.is_file()]
    assert {file.name for file in files} == {"passwords.json", "secrets.json"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_damaged_password_file_is_named_and_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "passwords.json"
    file.write_text("{")
    with pytest.raises(SandboxError, match=r"passwords\.json is damaged"):
        environment(tmp_path).passwords()
    assert file.read_text() == "{"


def test_dag_files_are_those_airflow_looks_into(tmp_path: Path) -> None:
    folder = tmp_path / "dags"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.py").write_text("from airflow.sdk import DAG")
    (folder / "sub" / "b.py").write_text("from Airflow.sdk import asset")
    (folder / "helper.py").write_text("def dag(): ...")
    (folder / "notes.txt").write_text("airflow dag")
    found = environment(tmp_path, dag_folders={"x": folder}).dag_files()
    assert found == {folder / "a.py", folder / "sub" / "b.py"}


def test_every_role_of_the_plan_may_answer_and_nobody_else_may_do_everything() -> None:
    may_answer = {user for user, role in USERS.items() if role in ("user", "op")}
    assert may_answer == set(USERS) - {"admin", "viewer"}
    assert [user for user, role in USERS.items() if role == "op"] == ["release-manager"]


def test_every_component_has_a_health_name() -> None:
    assert set(HEALTH_NAMES.values()) == set(COMPONENTS)


class FakeProcess:
    """Ends as often as it is told to."""

    def __init__(self) -> None:
        self.alive = True
        self.starts = 0
        self.fails_to_start = False

    def start(self) -> None:
        self.starts += 1
        if self.fails_to_start:
            raise SandboxError("no")
        self.alive = True


@pytest.fixture
def looked_after() -> tuple[Supervised, FakeProcess]:
    process = FakeProcess()
    return Supervised(cast("Any", process), started_at=0.0), process


def restart_times(looked_after: tuple[Supervised, FakeProcess], *, until: float, lives: float) -> list[float]:
    supervised, process = looked_after
    times, now = [], 0.0
    while now < until:
        process.alive = process.alive and now - supervised.started_at < lives
        before = supervised.restarts
        supervised.look_after(now)
        if supervised.restarts > before:
            times.append(now)
        now += 0.25
    return times


def test_a_component_that_keeps_ending_is_started_with_growing_pauses(
    looked_after: tuple[Supervised, FakeProcess],
) -> None:
    times = restart_times(looked_after, until=120, lives=0.1)
    pauses = [after - before for before, after in pairwise(times)]
    assert times[0] <= 1
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(30, abs=1)


def test_a_component_that_lived_long_is_started_again_at_once(
    looked_after: tuple[Supervised, FakeProcess],
) -> None:
    times = restart_times(looked_after, until=400, lives=100)
    assert [round(time) for time in times] == [100, 201, 302]


def test_a_component_that_cannot_be_started_is_tried_again(
    looked_after: tuple[Supervised, FakeProcess],
) -> None:
    looked_after[1].fails_to_start = True
    restart_times(looked_after, until=30, lives=0.1)
    assert looked_after[1].starts >= 4


def test_an_unknown_user_is_answered_with_those_there_are(tmp_path: Path) -> None:
    runtime = AirflowRuntime(tmp_path, database_url="", settings=Settings())
    with pytest.raises(SandboxError, match=r"no Airflow user nobody.*release-manager"):
        runtime.password("nobody")


def client(handler: Any) -> AirflowClient:
    client = AirflowClient("http://airflow", "me", "secret")
    client._http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(handler))
    return client


def test_lists_are_read_to_their_last_page() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "t"})
        assert request.headers["Authorization"] == "Bearer t"
        offset, limit = int(request.url.params["offset"]), int(request.url.params["limit"])
        dags = [{"dag_id": f"d{number}"} for number in range(250)][offset : offset + limit]
        return httpx.Response(200, json={"dags": dags, "total_entries": 250})

    assert len(client(handler).dag_ids()) == 250


def test_a_refusal_carries_status_and_reason_but_no_password() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"detail": "Invalid credentials"})

    with pytest.raises(AirflowRefused, match="me cannot log in; seen: 401: Invalid credentials") as refused:
        client(handler).dag_ids()
    assert refused.value.status == 401
    assert "secret" not in str(refused.value)


def test_no_answer_is_a_sandbox_error() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(SandboxError, match="no answer from Airflow"):
        client(handler).dag_ids()


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("plain", "plain"),
        ({"event": "started", "level": "info", "timestamp": "T", "ti_id": "x", "try_number": 1}, "T info started"),
        ({"event": "failed", "level": "error", "error": "E", "extra": None}, "error failed error=E"),
    ],
)
def test_log_entries_become_lines(entry: object, line: str) -> None:
    assert log_line(entry) == line
