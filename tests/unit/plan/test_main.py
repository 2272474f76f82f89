"""``make validate`` and ``make schemas``."""

from __future__ import annotations

import shutil

import pytest

from include.plan import __main__ as command
from include.plan.loader import plan_folder
from include.plan.published import schemas


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("releases", "environments", "charts"):
        shutil.copytree(plan_folder() / name, tmp_path / name)
    monkeypatch.setenv("STELLWERK_PLAN", str(tmp_path))
    return tmp_path


def test_a_plan_that_is_whole(folder, capsys):
    assert command.main(["validate"]) == 0
    assert capsys.readouterr().out == f"{folder}: 1 release(s), 2 environment(s), 0 fault(s)\n"


def test_everything_that_is_wrong_is_named_with_file_line_and_remedy(folder, capsys):
    release = folder / "releases" / "3.0.0.yaml"
    text = release.read_text()
    (folder / "releases" / "3.0.1.yaml").write_text(text.replace("version: 3.0.0", "version: 3.0.1"))
    (folder / "releases" / "3.0.2.yaml").write_text("version: 3.0.2\nprevious: &a 3.0.1\n")
    clean_up = next(n for n, line in enumerate(text.splitlines(), 1) if "clean_up:" in line)
    production = folder / "environments" / "production.yaml"
    production.write_text(production.read_text().replace("seconds: 3600", "seconds: 7200", 1))
    shutil.rmtree(folder / "charts")
    assert command.main(["validate"]) == 1
    said = capsys.readouterr()
    assert f"{folder}: 2 release(s), 2 environment(s), " in said.out
    lines = said.err.splitlines()
    for expected in (
        r"3.0.2.yaml:2: anchors and aliases (& and *) are not allowed",
        r"3.0.1.yaml:8: date: its release day in production begins 2099-01-15 07:00 UTC",
        f"3.0.0.yaml:{clean_up}: day.clean_up: the watch of production lasts 2 h",
        r"charts/valeo-erp is not a Helm chart",
    ):
        assert any(expected in line for line in lines), expected
    assert all("; do: " in line for line in lines)


def test_a_folder_that_is_no_plan(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STELLWERK_PLAN", str(tmp_path))
    assert command.main(["validate"]) == 1
    assert "is not a plan" in capsys.readouterr().err


def test_schemas_are_written_where_they_are_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("include.plan.published.FOLDER", tmp_path / "schemas")
    assert command.main(["schemas"]) == 0
    assert {file.read_text() for file in (tmp_path / "schemas").iterdir()} == set(schemas().values())
    assert str(tmp_path) in capsys.readouterr().out
