"""What was observed, and the figures that follow from it; docs/benchmarks.md defines them. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.database.process import Done
from benchmarks.database.round_trip import KINDS, RoundTrips
from include.report.evidence import Measure, Reference

RATIO_GOAL: Final = 1.1
JUDGED_FROM_BYTES: Final = 10**8
"""With less data the ratio tells what starting programs costs."""
MEMORY_GOAL_MB: Final = 64.0
FLAT_GOAL_MB: Final = 16.0
"""A few buffers: with little data an object store gets everything in one part that is not full."""
_MB: Final = 1_000_000
_UNITS: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


@dataclass(frozen=True)
class Observed:
    """All rounds with one amount of data.

    :param wanted_bytes: how much was asked for
    :param data_bytes: how much it is
    :param archive_bytes: of the archive
    :param raw_backups: seconds of ``pg_dump`` and ``pg_restore --list``, one for each of `backups`
    :param raw_restores: seconds of ``pg_restore``, one for each of `restores`
    :param away: a backup into an object store
    """

    wanted_bytes: int
    data_bytes: int
    archive_bytes: int
    backups: tuple[Done, ...]
    raw_backups: tuple[float, ...]
    restores: tuple[Done, ...]
    raw_restores: tuple[float, ...]
    away: Done

    @property
    def above_idle_mb(self) -> tuple[float, ...]:
        """The memory of every task whose backups are in a folder."""
        return tuple(done.above_idle_bytes / _MB for done in (*self.backups, *self.restores))


def shown(amount: int) -> str:
    """An amount of bytes as part of a measure's name: ``10MB``."""
    for size, unit in _UNITS:
        if amount >= size:
            return f"{amount / size:g}{unit}"
    return f"{amount}B"


def measures_of(observed: Sequence[Observed], trips: RoundTrips) -> list[Measure]:
    """Every figure, with its goal."""
    ordered = sorted(observed, key=lambda one: one.wanted_bytes)
    found = [measure for one in ordered for measure in _times(one)]
    here = [(one.wanted_bytes, one.above_idle_mb) for one in ordered]
    away = [(one.wanted_bytes, (one.away.above_idle_bytes / _MB,)) for one in ordered]
    found += [*_memory("memory", here), *_memory("memory.object_store", away)]
    opening = max(one.away.opening_bytes for one in ordered) / _MB
    found.append(Measure("memory.object_store.opening", opening, "MB"))
    return [*found, *_round_trips(trips)]


def _times(one: Observed) -> Iterator[Measure]:
    size = shown(one.wanted_bytes)
    archive = Reference("archive", one.archive_bytes / _MB)
    yield Measure(f"data.{size}", one.data_bytes / _MB, "MB", reference=archive)
    seconds = tuple(done.seconds for done in one.backups)
    raw = statistics.median(one.raw_backups)
    ratio = statistics.median(seconds) / raw
    ratios = tuple(a / b for a, b in zip(seconds, one.raw_backups, strict=True))
    by_hand = Reference("pg_dump -Fc, pg_restore --list", raw)
    yield Measure(f"backup.{size}.seconds", statistics.median(seconds), "s", reference=by_hand, samples=seconds)
    if one.wanted_bytes >= JUDGED_FROM_BYTES:
        yield Measure(f"backup.{size}.ratio", ratio, "1", RATIO_GOAL, "<=", samples=ratios)
    else:
        yield Measure(f"backup.{size}.ratio", ratio, "1", samples=ratios)
    verifying = tuple(done.verification_seconds for done in one.backups)
    yield Measure(f"backup.{size}.verification_seconds", statistics.median(verifying), "s", samples=verifying)
    if one.restores:
        yield from _restores(size, tuple(done.seconds for done in one.restores), one.raw_restores)


def _restores(size: str, seconds: tuple[float, ...], raws: tuple[float, ...]) -> Iterator[Measure]:
    raw = statistics.median(raws)
    by_hand = Reference("pg_restore", raw)
    ratios = tuple(a / b for a, b in zip(seconds, raws, strict=True))
    yield Measure(f"restore.{size}.seconds", statistics.median(seconds), "s", reference=by_hand, samples=seconds)
    yield Measure(f"restore.{size}.ratio", statistics.median(seconds) / raw, "1", samples=ratios)


def _memory(name: str, found: Sequence[tuple[int, tuple[float, ...]]]) -> Iterator[Measure]:
    """The peak with every amount, and how much more it is with the largest than with the smallest."""
    for wanted_bytes, every in found:
        yield Measure(f"{name}.{shown(wanted_bytes)}", max(every), "MB", MEMORY_GOAL_MB, "<=", samples=every)
    if len(found) > 1:
        growth = max(found[-1][1]) - max(found[0][1])
        yield Measure(f"{name}.growth", growth, "MB", FLAT_GOAL_MB, "<=")


def _round_trips(trips: RoundTrips) -> Iterator[Measure]:
    yield Measure("round_trip.databases", trips.made, "databases")
    for kind in KINDS:
        yield Measure(f"round_trip.with_{kind}", trips.having[kind], "databases", 1, ">=")
    yield Measure("round_trip.equal", trips.equal_share, "1", 1.0, "==")
