"""Airflow's plugin manager executes every module below `plugins/` under its bare name: none of ours may be."""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path

import pytest
from airflow._shared.plugins_manager.plugins_manager import _load_plugins_from_plugin_directory

PLUGINS = Path(__file__).parents[2] / "plugins"


def load(folder: Path) -> set[str]:
    """Load as Airflow does; the names of the modules that were executed."""
    before = set(sys.modules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the pattern library, below Airflow
        _, errors = _load_plugins_from_plugin_directory(str(folder))
    assert errors == {}
    executed = set(sys.modules) - before
    for name in executed:
        del sys.modules[name]
    return executed


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A copy of our ignore file beside a package whose modules have tempting names."""
    shutil.copy(PLUGINS / ".airflowignore", tmp_path)
    for name in ("tripwire", "hooks/tripwire_in_a_folder", "triggers/deep/tripwire_deep_down"):
        module = tmp_path / "stellwerk" / f"{name}.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text("")
    return tmp_path


def test_no_module_of_the_package_is_executed(plugins: Path) -> None:
    assert load(plugins) == set()


def test_without_the_ignore_file_every_one_of_them_is(plugins: Path) -> None:
    (plugins / ".airflowignore").unlink()
    assert load(plugins) == {"tripwire", "tripwire_in_a_folder", "tripwire_deep_down"}


def test_a_real_plugin_beside_the_package_still_is(plugins: Path) -> None:
    (plugins / "tripwire_plugin.py").write_text("")
    assert load(plugins) == {"tripwire_plugin"}


def test_what_is_in_the_repository_is_not_executed() -> None:
    names = {file.stem for file in (PLUGINS / "stellwerk").rglob("*.py")}
    assert {"executor", "__init__"} <= names
    assert load(PLUGINS) & names == set()
