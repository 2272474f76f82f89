"""What all tests share: no judgement by the clock, in which order they run, and which need the machine alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

ROOMS = ("e2e", "faults", "contract", "unit")
MAY_NEED_THE_MACHINE = ("e2e", "faults")

# How long an example takes says something about the machine; timing lives in benchmarks/.
settings.register_profile("stellwerk", deadline=None)
settings.load_profile("stellwerk")


def pytest_configure(config: pytest.Config) -> None:
    """Not even import, for the tests that need the machine alone, the rooms where none is."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if whole and config.option.markexpr.startswith("alone"):
        config.args = [path for path in config.args if Path(path).name in MAY_NEED_THE_MACHINE]


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the slowest rooms come first, and keep the tests of the one big sandbox together.

    What puts a whole Airflow under load is marked ``alone``: beside other work it would measure that.
    """
    for item in items:
        if _shares_sandbox(item) or _room(item) == "faults":
            item.add_marker(pytest.mark.alone)
    items.sort(key=lambda item: (ROOMS.index(_room(item)), not _shares_sandbox(item)))


def _shares_sandbox(item: pytest.Item) -> bool:
    return _room(item) == "e2e" and "sandbox" in getattr(item, "fixturenames", ())


def _room(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).parts[0]
