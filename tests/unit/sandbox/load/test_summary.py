"""What a run proves, down to what it does not prove."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import SandboxError
from include.sandbox.load.records import Recorder, Recording, RequestRecord, StreamRecord, read
from include.sandbox.load.summary import lines, longest_gap, percentile, summarise

GOOD = RequestRecord("fresh", "GET", "/", 10.0, 10.0, 10.1, 200, None, "blue", "2.9.0", "p")
STREAM = StreamRecord(0, 10.0, 20.0, 200, "clean", None, 3, "blue", "2.9.0")


def at(second: float, **changes: object) -> RequestRecord:
    moved = replace(GOOD, planned_at=second, sent_at=second, done_at=second + 0.1)
    return replace(moved, **changes)  # type: ignore[arg-type]


def recording(*requests: RequestRecord, streams: tuple[StreamRecord, ...] = ()) -> Recording:
    return Recording(requests, streams, len(requests), finished=True)


def test_lost_bad_and_refused_are_told_apart() -> None:
    summary = summarise(
        recording(
            at(1),
            at(2, status=500, slot="green"),
            at(3, status=503, slot="green"),
            at(4, status=404),
            at(5, status=None, error="timeout", slot=""),
            at(6, status=None, error="refused", slot=""),
            at(7),
        )
    )
    assert summary.requests_sent == 7
    assert summary.requests_lost == 2
    assert summary.lost_by_error == {"timeout": 1, "refused": 1}
    assert summary.bad_answers == 2
    assert summary.refused_answers == 1
    assert summary.bad_by_slot() == {"blue": 0, "green": 2}
    assert (summary.first_bad_at, summary.last_bad_at) == (2.1, 3.1)
    assert summary.slots["green"].last_answer_at == 3.1
    assert summary.slots["blue"].last_answer_at == 7.1
    assert summary.slots["blue"].first_bad_at is None
    assert summary.complete


def test_the_longest_gap_is_one_without_good_answers() -> None:
    summary = summarise(recording(at(1), at(2), at(3, status=500), at(6), at(6.5)))
    assert summary.longest_gap_seconds == pytest.approx(4.0)


def test_latency_counts_from_the_planned_time() -> None:
    late = at(1, sent_at=3.0, done_at=3.1)
    summary = summarise(recording(late))
    assert summary.p95_seconds == pytest.approx(2.1)
    assert summary.most_late_seconds == pytest.approx(2.0)


def test_a_part_of_a_run_can_be_summarised() -> None:
    run = recording(at(1), at(2), at(3), streams=(STREAM, replace(STREAM, opened_at=1.0, ended_at=1.5)))
    summary = summarise(run, since=2, until=3)
    assert summary.requests_sent == 1
    assert summary.streams.opened == 0


@pytest.mark.parametrize("broken", [{"finished": False}, {"planned": 3}])
def test_a_run_that_does_not_account_for_every_request_is_incomplete(broken: dict[str, int]) -> None:
    summary = summarise(replace(recording(at(1), at(2)), **broken))  # type: ignore[arg-type]
    assert not summary.complete
    assert "INCOMPLETE" in lines(summary)[-1]


def test_nothing_at_all_is_summarised_too() -> None:
    summary = summarise(recording())
    assert (summary.requests_sent, summary.p95_seconds, summary.longest_gap_seconds) == (0, None, 0)
    assert lines(summary)


def test_streams_are_counted_by_their_end() -> None:
    streams = (
        STREAM,
        replace(STREAM, opened_at=20.4, ended_at=30.0, end="cut"),
        replace(STREAM, opened_at=30.2, ended_at=30.2, end="refused", status=None, events=0),
        replace(STREAM, opened_at=31.5, ended_at=40.0, end="stopped"),
        replace(STREAM, client=1, opened_at=39.0, ended_at=40.0, end="stopped"),
    )
    found = summarise(recording(streams=streams)).streams
    assert (found.opened, found.ended_cleanly, found.cut, found.refused) == (4, 1, 1, 1)
    assert found.events == 12
    assert found.longest_gap_seconds == pytest.approx(1.5)


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_a_value_that_enough_values_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values)


@given(st.lists(st.floats(0, 1000)))
def test_the_longest_gap_does_not_depend_on_the_order(times: list[float]) -> None:
    assert longest_gap(times) == longest_gap(reversed(times))
    assert 0 <= longest_gap(times) <= (max(times) - min(times) if times else 0)


def test_records_survive_writing_and_reading(tmp_path: Path) -> None:
    file = tmp_path / "run"
    lost = at(3, status=None, error="timeout")
    with file.open("w") as out:
        recorder = Recorder(out)
        recorder.begin({"rate": 1})
        recorder.request(GOOD)
        recorder.request(lost)
        recorder.stream(STREAM)
        recorder.end(2)
    assert read(file) == Recording((GOOD, lost), (STREAM,), 2, finished=True)


def test_a_line_that_is_being_written_is_left_for_later(tmp_path: Path) -> None:
    out = io.StringIO()
    recorder = Recorder(out)
    recorder.request(GOOD)
    recorder.flush()
    file = tmp_path / "run"
    file.write_text(out.getvalue() + '{"record":"requ')
    assert read(file) == Recording((GOOD,), (), 0, finished=False)


@pytest.mark.parametrize("line", ["no json", "[]", '{"record":"request"}', '{"kind":1}', '{"record":"end"}'])
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "run"
    file.write_text(f"{line}\n")
    with pytest.raises(SandboxError, match="line 1 is no record"):
        read(file)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="no record of a load run"):
        read(tmp_path / "none")
