"""What all tests share: no judgement by the clock, and how they are shared out to parallel workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

ROOMS = ("e2e", "faults", "contract", "unit")
SANDBOX = "the e2e sandbox"

# How long an example takes says something about the machine; timing lives in benchmarks/.
settings.register_profile("stellwerk", deadline=None)
settings.load_profile("stellwerk")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups and pytest selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests on one worker, and all of the one big sandbox, too; the slowest rooms come first.

    What puts a whole Airflow under load is marked ``alone``: beside other work it would measure that.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
        if _group(item) == SANDBOX or _room(item) == "faults":
            item.add_marker(pytest.mark.alone)
    items.sort(key=lambda item: (ROOMS.index(_room(item)), _group(item) != SANDBOX))


def _group(item: pytest.Item) -> str:
    shares = _room(item) == "e2e" and "sandbox" in getattr(item, "fixturenames", ())
    return SANDBOX if shares else str(item.path)


def _room(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).parts[0]
