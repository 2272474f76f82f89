"""Containers' logs: written with time and stream, read back as kubectl asks for them."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.sandbox.node.capture import LONGEST_LINE, LineFormatter, LogFile, rotated, timestamp
from include.sandbox.node.logs import BadLogOptions, LogOptions, existing, last_words, shown, stream

SECOND = 1_000_000_000
NOW = dt.datetime(2026, 1, 31, 12, 0, 0, tzinfo=dt.UTC)


def test_times_have_nanoseconds() -> None:
    assert timestamp(1_769_860_800 * SECOND + 7) == "2026-01-31T12:00:00.000000007Z"


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(0, 3))
def test_what_a_program_wrote_comes_back_byte_for_byte(chunks: list[bytes], long: int) -> None:
    written = b"".join(chunks) + b"x" * (LONGEST_LINE * long)
    formatter, log = LineFormatter("stdout"), b""
    for chunk in [*chunks, b"x" * (LONGEST_LINE * long)]:
        log += formatter.feed(chunk, 0)
    log += formatter.close(0)
    read = b"".join(shown(line, LogOptions()) or b"" for line in log.split(b"\n")[:-1])
    assert read == (written if written.endswith(b"\n") or not written else written + b"\n")


def write(path: Path, *lines: str, at: int = 0, rotate_at: int = 1 << 20) -> None:
    log = LogFile(path, rotate_at=rotate_at)
    formatter = LineFormatter("stdout")
    for number, line in enumerate(lines):
        log.write(formatter.feed(f"{line}\n".encode(), (1_769_860_800 + at + number) * SECOND))
    log.close()


def read(path: Path, **options: object) -> list[str]:
    return [line.decode().strip() for line in existing(path, LogOptions(**options))[0]]  # type: ignore[arg-type]


def test_tail_since_and_timestamps(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, "a", "b", "c")
    assert read(path) == ["a", "b", "c"]
    assert read(path, tail=2) == ["b", "c"]
    assert read(path, tail=0) == []
    assert read(path, since="2026-01-31T12:00:01.000000") == ["b", "c"]
    assert read(path, timestamps=True, tail=1) == ["2026-01-31T12:00:02.000000000Z c"]


def test_a_rotated_log_is_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    lines = [f"line {number}" for number in range(12)]
    write(path, *lines, rotate_at=450)
    assert rotated(path).exists()
    assert path.stat().st_size <= 450
    found = read(path)
    assert found == lines[-len(found) :]
    assert len(found) > 6


async def collect(path: Path, options: LogOptions, alive: asyncio.Event) -> bytes:
    return b"".join([piece async for piece in stream(path, options, lambda: not alive.is_set())])


async def test_following_ends_with_the_container_and_misses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, "first")
    alive = asyncio.Event()
    alive.set()
    reading = asyncio.create_task(collect(path, LogOptions(follow=True), alive))
    await asyncio.sleep(0.15)
    write(path, "second")
    await asyncio.sleep(0.15)
    write(path, "third")
    alive.clear()
    assert (await reading).split() == [b"first", b"second", b"third"]


async def test_following_crosses_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, "first")
    alive = asyncio.Event()
    alive.set()
    reading = asyncio.create_task(collect(path, LogOptions(follow=True), alive))
    await asyncio.sleep(0.15)
    write(path, "second", rotate_at=1)
    await asyncio.sleep(0.25)
    alive.clear()
    assert (await reading).split() == [b"first", b"second"]


async def test_a_limit_cuts_at_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, "abcdef")
    assert await collect(path, LogOptions(limit_bytes=3), asyncio.Event()) == b"abc"


def test_options_are_read_from_the_query() -> None:
    query = {"follow": "true", "tailLines": "5", "sinceSeconds": "60", "timestamps": "1", "limitBytes": "9"}
    options = LogOptions.of(query, NOW)
    assert (options.follow, options.tail, options.timestamps, options.limit_bytes) == (True, 5, True, 9)
    assert options.since == "2026-01-31T11:59:00.000000"
    assert LogOptions.of({"sinceTime": "2026-01-31T13:00:00+01:00"}, NOW).since == "2026-01-31T12:00:00.000000"
    assert LogOptions.of({"previous": "true"}, NOW).previous


@pytest.mark.parametrize("query", [{"tailLines": "-1"}, {"sinceSeconds": "x"}, {"sinceTime": "yesterday"}])
def test_senseless_options_are_refused(query: dict[str, str]) -> None:
    with pytest.raises(BadLogOptions):
        LogOptions.of(query, NOW)


def test_last_words(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, *(f"line {number}" for number in range(200)))
    assert last_words(path).splitlines()[-1] == "line 199"
    assert len(last_words(path).splitlines()) == 80
    assert last_words(tmp_path / "none.log") == ""
