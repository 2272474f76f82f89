"""Measure backup, verification and restore: writes ``build/evidence/database.json``.

On a PostgreSQL of its own, beside PostgreSQL's programs called by hand, with more and more data; and whether
generated schemas come back as they were. About eight minutes and 6 GB of disk on two cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.database import raw
from benchmarks.database.data import connect, create, drop, fill
from benchmarks.database.place import Place
from benchmarks.database.process import Done, run
from benchmarks.database.results import Observed, measures_of
from benchmarks.database.round_trip import RoundTrips, delete, difference, round_trips
from include.backup.dump import find_backup
from include.errors import StellwerkError
from include.report.evidence import Evidence, write
from include.report.table import tables
from include.sandbox.environment import REPOSITORY
from include.sandbox.signals import end_on_signals


def observe(place: Place, wanted_bytes: int, rounds: int, trips: RoundTrips) -> Observed:
    """Measure everything with one amount of data."""
    workshop = place.workshop
    with connect(place.database.named("postgres")) as administration:
        create(administration, place.database.name)
    size = fill(place.database, wanted_bytes)
    try:
        print(f"{size / 1e6:,.0f} MB: {rounds} backups and as many by hand …", flush=True)
        file = place.folder / "by-hand.dump"
        backups, raw_backups = in_turn(
            rounds,
            lambda number: run(place.order("backup", f"round-{number}")),
            lambda _: raw.dump_and_list(place.database, workshop.clients, file),
            after=lambda number: delete(workshop, f"round-{number - 1}"),
        )
        last = find_backup(workshop.store, f"round-{rounds - 1}")
        archive = place.archive(last)
        print(f"{size / 1e6:,.0f} MB: {rounds} restores and as many by hand …", flush=True)
        restores, raw_restores = in_turn(
            rounds,
            lambda _: run(place.order("restore", last.id)),
            lambda _: raw.restore(place.database.named("by_hand"), workshop.clients, archive),
        )
        print(f"{size / 1e6:,.0f} MB: there and back, and a backup into an object store …", flush=True)
        trips.add((), difference(place.database, workshop, last.id))
        delete(workshop, last.id)
        away = run(place.order("backup", "away", away=True))
        delete(place.away, "away")
    finally:
        with connect(place.database.named("postgres")) as administration:
            drop(administration, place.database.name)
    return Observed(wanted_bytes, size, last.size, backups, raw_backups, restores, raw_restores, away)


def in_turn(
    rounds: int,
    ours: Callable[[int], Done],
    theirs: Callable[[int], float],
    *,
    after: Callable[[int], None] = lambda _: None,
) -> tuple[tuple[Done, ...], tuple[float, ...]]:
    """Do both in every round; who begins changes, so that what one leaves behind disturbs both alike."""
    done, seconds = [], []
    for number in range(rounds):
        if number % 2 == 0:
            done.append(ours(number))
        seconds.append(theirs(number))
        if number % 2 == 1:
            done.append(ours(number))
        after(number)
        print(f"  {done[-1].seconds:.2f} s, by hand {seconds[-1]:.2f} s", flush=True)
    return tuple(done), tuple(seconds)


def main() -> int:
    """Measure; 0 when every goal is reached, 1 when one is missed, 2 when it could not be measured."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    sizes = [10**7, 10**8, 10**9]
    parser.add_argument("--bytes", type=int, nargs="+", default=sizes, help="how much data (10 MB, 100 MB, 1 GB)")
    parser.add_argument("--rounds", type=int, default=3, help="backups and restores of each amount (%(default)s)")
    parser.add_argument("--schemas", type=int, default=60, help="generated schemas (%(default)s)")
    arguments = parser.parse_args()
    try:
        with end_on_signals(), Place(REPOSITORY / "build" / "bench-database") as place:
            print(f"{arguments.schemas} generated schemas …", flush=True)
            trips = round_trips(place.database, place.workshop, arguments.schemas)
            observed = [observe(place, size, arguments.rounds, trips) for size in sorted(set(arguments.bytes))]
    except (StellwerkError, subprocess.CalledProcessError) as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 2
    for sentence in trips.unequal:
        print(f"not equal: {sentence}")
    evidence = Evidence.of("database", measures_of(observed, trips))
    write(evidence)
    print(tables([evidence]))
    return 0 if evidence.ok else 1


if __name__ == "__main__":
    sys.exit(main())
