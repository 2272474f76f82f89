"""airflow_settings.yaml: placeholders, shape, and what an error tells (never a password)."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.errors import SandboxError
from include.sandbox.settings import Settings, load_settings

VALUES = {
    "KUBECONFIG_PATH": "/state/kubeconfig",
    "HEADS_URL": "file:///state/heads",
    "REPORTS_URL": "file:///state/reports",
    "ERP_URL": "postgresql://owner:secret@127.0.0.1:5432/valeo_erp",
    "LEDGER_URL": "postgresql://append:secret@127.0.0.1:5432/stellwerk",
    "SLACK_TOKEN": "xoxb-1",
    "PROMETHEUS_URL": "http://127.0.0.1:9090",
    "SLACK_URL": "http://127.0.0.1:8000/api/",
    "SMTP_HOST": "127.0.0.1",
    "SMTP_PORT": "2525",
}


def test_the_repositorys_file_has_what_the_environments_name() -> None:
    settings = load_settings(VALUES)
    by_id = {connection.conn_id: connection for connection in settings.connections}
    clusters, servers = {"kubernetes_production", "kubernetes_staging"}, {"prometheus", "slack", "smtp"}
    assert set(by_id) == {*clusters, *servers, "ledger", "valeo_erp"}
    assert by_id["ledger"].conn_uri == VALUES["LEDGER_URL"]
    assert by_id["smtp"].conn_port == 2525
    assert (by_id["kubernetes_production"].conn_extra or {})["kube_config_path"] == "/state/kubeconfig"


def write(folder: Path, text: str) -> Path:
    file = folder / "airflow_settings.yaml"
    file.write_text(text)
    return file


def test_a_placeholder_nobody_fills_is_named_with_those_that_are_filled(tmp_path: Path) -> None:
    file = write(tmp_path, "airflow: {variables: [{variable_name: a, variable_value: '${NOPE} and ${NADA}'}]}")
    with pytest.raises(SandboxError, match=r"NADA, NOPE.*SLACK_TOKEN"):
        load_settings(VALUES, file=file)


def test_every_known_placeholder_is_needed_by_the_file() -> None:
    for name in VALUES:
        with pytest.raises(SandboxError, match=name):
            load_settings({key: value for key, value in VALUES.items() if key != name})


def test_a_doubled_dollar_is_a_dollar_and_a_filled_value_is_not_filled_again(tmp_path: Path) -> None:
    file = write(tmp_path, "airflow: {variables: [{variable_name: a, variable_value: '$${X} ${X} $5 {Y}'}]}")
    assert load_settings({"X": "${Y}"}, file=file).variables[0].variable_value == "${X} ${Y} $5 {Y}"


def test_empty_sections_are_no_sections(tmp_path: Path) -> None:
    assert load_settings({}, file=write(tmp_path, "airflow:\n  connections:\n  pools: []\n")) == Settings()
    assert load_settings({}, file=write(tmp_path, "airflow:\n")) == Settings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("airflow: [", "cannot be read"),
        ("- a", "wrong shape"),
        ("airflow: 5", "does not fit its schema"),
        ("airlfow: {}", "wrong shape"),
        ("airflow: {conections: []}", "conections"),
        ("airflow: {connections: [{conn_id: a}]}", "either conn_uri or conn_type"),
        ("airflow: {connections: [{conn_id: a, conn_type: http, conn_uri: 'http://x'}]}", "either conn_uri or"),
        ("airflow: {connections: [{conn_id: a, conn_host: h, conn_uri: 'http://x'}]}", "drop the other fields"),
        ("airflow: {connections: [{conn_id: a, conn_type: http, conn_port: 70000}]}", "conn_port"),
        ("airflow: {pools: [{pool_name: p, pool_slot: -1}]}", "pool_slot"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SandboxError, match=told):
        load_settings({}, file=write(tmp_path, text))


def test_an_error_does_not_repeat_a_password(tmp_path: Path) -> None:
    text = "airflow: {connections: [{conn_id: a, conn_type: t, conn_password: '${P}', conn_prot: 5}]}"
    with pytest.raises(SandboxError, match="conn_prot") as refused:
        load_settings({"P": "hunter2"}, file=write(tmp_path, text))
    assert "hunter2" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"nothing\.yaml cannot be read"):
        load_settings({}, file=tmp_path / "nothing.yaml")
