"""What a process consists of is put out of the collector's sight once, and only then."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from include.watch.collector import settle


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    settle.cache_clear()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()
    settle.cache_clear()


def test_what_is_there_is_frozen_once_and_garbage_is_still_found() -> None:
    settle()
    frozen = gc.get_freeze_count()
    assert frozen > 1000
    assert gc.get_threshold()[0] == 5000
    later = [[number] for number in range(50)]
    settle()
    assert gc.get_freeze_count() <= frozen, "what came later stays in sight"
    later[0].append(later)
    del later
    assert gc.collect() >= 50
