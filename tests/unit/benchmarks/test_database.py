"""The benchmark of backups: how much data, what counts as memory, what is judged against which goal."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bench_database import in_turn
from benchmarks.database.data import units_missing
from benchmarks.database.process import Done, Resident, above_idle, run
from benchmarks.database.raw import lines_digest
from benchmarks.database.results import Observed, measures_of, shown
from benchmarks.database.round_trip import KINDS, RoundTrips, kinds_of
from benchmarks.database.task import Order
from include.database.connection import Database
from include.errors import SandboxError
from include.report.evidence import Measure

MB = 1_000_000
DATABASE = Database("127.0.0.1", 1, 'a "b"', "u", "p:w")
ORDER = Order("backup", "one", DATABASE, "/store", Path("/nowhere"), {"secret": "s:w"})


def observed(wanted: int, *, ours: tuple[float, ...], raw: tuple[float, ...], memory: int = 5 * MB) -> Observed:
    done = tuple(Done(seconds, seconds / 10, memory, 1) for seconds in ours)
    away = Done(1.0, 0.1, 8 * memory, 30 * MB)
    return Observed(wanted, wanted + 1, wanted // 2, done, raw, done, raw, away)


def measured(*amounts: Observed, trips: RoundTrips | None = None) -> dict[str, Measure]:
    return {one.name: one for one in measures_of(amounts, trips or RoundTrips())}


def test_data_grow_until_there_is_enough_and_not_far_beyond() -> None:
    size = units = 0
    while step := units_missing(100 * MB, size, units):
        assert step <= 64
        units += step
        size = units * 1_100_000
    assert 100 * MB <= size < 102 * MB
    assert units_missing(5, 5, 1) == 0


def test_memory_is_counted_from_idle_and_the_peak_between_two_samples_counts() -> None:
    idle = Resident(now=50, most=60)
    assert above_idle(idle, Resident(now=55, most=90), sampled=80) == 40
    # Importing needed more than the task: what the kernel kept is of that time.
    assert above_idle(idle, Resident(now=55, most=60), sampled=58) == 8
    assert above_idle(idle, Resident(now=45, most=60), sampled=50) == 0


def test_the_ratio_is_that_of_the_medians_and_judged_where_there_is_much_data() -> None:
    found = measured(
        observed(10 * MB, ours=(0.9, 0.8, 1.5), raw=(0.5, 0.6, 0.7)),
        observed(1000 * MB, ours=(50.0, 54.0, 90.0), raw=(50.0, 51.0, 49.0)),
    )
    assert found["backup.10MB.ratio"].value == pytest.approx(1.5)
    assert found["backup.10MB.ratio"].comparator is None
    assert found["backup.1GB.ratio"].value == pytest.approx(1.08)
    assert found["backup.1GB.ratio"].ok
    assert found["backup.1GB.ratio"].samples == pytest.approx((1.0, 54 / 51, 90 / 49))
    assert not measured(observed(1000 * MB, ours=(56.0,), raw=(50.0,)))["backup.1GB.ratio"].ok
    assert found["restore.1GB.ratio"].comparator is None


def test_memory_has_to_be_small_with_every_amount_and_not_to_grow() -> None:
    times = {"ours": (1.0,), "raw": (1.0,)}
    small = observed(10 * MB, memory=5 * MB, **times)
    found = measured(observed(1000 * MB, memory=20 * MB, **times), small)
    assert (found["memory.10MB"].value, found["memory.1GB"].value) == (5.0, 20.0)
    assert (found["memory.growth"].value, found["memory.growth"].ok) == (15.0, True)
    assert (found["memory.object_store.10MB"].ok, found["memory.object_store.1GB"].ok) == (True, False)
    assert not found["memory.object_store.growth"].ok
    assert found["memory.object_store.opening"].value == 30.0
    grown = measured(small, observed(1000 * MB, memory=65 * MB, **times))
    assert not grown["memory.1GB"].ok
    assert not grown["memory.growth"].ok


def test_one_database_that_came_back_changed_misses_the_goal_and_none_at_all_does_too() -> None:
    times = observed(10 * MB, ours=(1.0,), raw=(1.0,))
    trips = RoundTrips()
    trips.add(["CREATE SCHEMA a"], "")
    assert measured(times, trips=trips)["round_trip.equal"].ok
    trips.add(["CREATE SCHEMA a"], "table a.b is missing")
    assert (trips.equal_share, trips.unequal) == (0.5, ["table a.b is missing"])
    assert not measured(times, trips=trips)["round_trip.equal"].ok
    assert not measured(times)["round_trip.equal"].ok


def test_what_the_generated_databases_have_to_have_in_them_is_counted() -> None:
    statements = ['CREATE SCHEMA "a""b"', "CREATE TYPE x AS ENUM ('1')", "CREATE TABLE p PARTITION OF q DEFAULT"]
    none = "SELECT lo_from_bytea(0, 'x'::bytea) FROM generate_series(1, 0)"
    assert kinds_of([*statements, none]) == {"quotes_in_names", "enums", "partitions"}
    assert "large_objects" in kinds_of([none.replace("(1, 0)", "(1, 2)")])
    assert "several_schemas" in kinds_of(["CREATE SCHEMA a", "CREATE SCHEMA b"])
    trips = RoundTrips()
    trips.add([*statements, none], "")
    found = measured(observed(10 * MB, ours=(1.0,), raw=(1.0,)), trips=trips)
    missed = {kind for kind in KINDS if not found[f"round_trip.with_{kind}"].ok}
    assert missed == {"identity_columns", "sequences", "extensions", "several_schemas", "large_objects"}


def test_amounts_are_shown_in_decimal_units() -> None:
    assert [shown(amount) for amount in (10 * MB, 1500 * MB, 2000, 7)] == ["10MB", "1.5GB", "2kB", "7B"]


def test_who_begins_changes_from_round_to_round() -> None:
    said: list[str] = []

    def ours(number: int) -> Done:
        said.append(f"ours {number}")
        return Done(1.0, 0.1, number, 0)

    def theirs(number: int) -> float:
        said.append(f"theirs {number}")
        return float(number)

    done, raw = in_turn(3, ours, theirs, after=lambda number: said.append(f"after {number}"))
    assert ([one.above_idle_bytes for one in done], raw) == ([0, 1, 2], (0.0, 1.0, 2.0))
    assert said[:6] == ["ours 0", "theirs 0", "after 0", "theirs 1", "ours 1", "after 1"]


def test_an_order_goes_through_a_pipe_and_shows_no_password() -> None:
    assert "\n" not in ORDER.to_json()
    assert Order.from_json(ORDER.to_json()) == ORDER
    assert "p:w" not in repr(ORDER)
    assert "s:w" not in repr(ORDER)


def test_a_task_that_fails_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SandboxError, match="the task backup of one failed"):
        run(ORDER)
    assert "ClientUnusable" in capfd.readouterr().err


def test_scripts_are_equal_whatever_the_order_of_rows_and_only_then() -> None:
    def digest(*lines: str) -> str:
        return lines_digest(f"{line}\n".encode() for line in lines)

    script = ("CREATE TABLE a ();", "COPY a FROM stdin;", "1", "2", "\\.", "COPY b FROM stdin;", "3", "\\.")
    moved = ("CREATE TABLE a ();", "COPY a FROM stdin;", "2", "1", "\\.", "COPY b FROM stdin;", "3", "\\.")
    other_table = ("CREATE TABLE a ();", "COPY a FROM stdin;", "1", "3", "\\.", "COPY b FROM stdin;", "2", "\\.")
    assert digest(*script) == digest(*moved)
    assert digest(*script) != digest(*other_table)
    assert digest(*script) != digest(*script[:3], *script[4:])
    assert digest(*script) != digest(*script[:3], "2", *script[3:])
