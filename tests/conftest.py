"""How the tests are shared out to parallel workers: by file, the slowest rooms first."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOMS = ("e2e", "faults", "contract", "unit")
SANDBOX = "the e2e sandbox"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests on one worker, and all tests of the one big sandbox, too."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: (ROOMS.index(_room(item)), _group(item) != SANDBOX))


def _group(item: pytest.Item) -> str:
    shares = _room(item) == "e2e" and "sandbox" in getattr(item, "fixturenames", ())
    return SANDBOX if shares else str(item.path)


def _room(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).parts[0]
