from __future__ import annotations

from pathlib import Path

import pytest

from include.plan.files import names, plan_folder


def test_the_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STELLWERK_PLAN", str(tmp_path))
    assert plan_folder() == tmp_path
    monkeypatch.delenv("STELLWERK_PLAN")
    assert (plan_folder() / "releases" / "3.0.0.yaml").is_file()


def test_every_file_is_named_whatever_is_in_it(tmp_path: Path) -> None:
    assert names(tmp_path, "releases") == ()
    (tmp_path / "releases").mkdir()
    for name, text in (("3.0.1", "version: ["), ("3.0.0", ""), ("notes", "")):
        (tmp_path / "releases" / f"{name}.yaml").write_text(text)
    (tmp_path / "releases" / "readme.md").write_text("")
    assert names(tmp_path, "releases") == ("3.0.0", "3.0.1", "notes")
