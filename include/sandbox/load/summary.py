"""What a run of the load generator proves: pure functions of its records.

``python -m include.sandbox.load.summary FILE`` prints it.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from include.errors import SandboxError
from include.sandbox.load.records import Recording, RequestRecord, StreamRecord, read

_BAD_STATUS = 500


@dataclass(frozen=True)
class SlotSummary:
    """What one slot answered. Times are seconds since the epoch, None when there was no such answer."""

    answers: int
    bad_answers: int
    first_answer_at: float | None
    last_answer_at: float | None
    first_bad_at: float | None
    last_bad_at: float | None
    p95_seconds: float | None


@dataclass(frozen=True)
class StreamSummary:
    """What became of the event streams; ``longest_gap_seconds`` is the longest any client was without one."""

    opened: int
    ended_cleanly: int
    cut: int
    refused: int
    events: int
    longest_gap_seconds: float


@dataclass(frozen=True)
class Summary:
    """A run, or a part of it.

    :param requests_lost: requests without an answer: timeouts, refused and broken connections
    :param lost_by_error: the same by reason
    :param bad_answers: answers with a status of 500 or more; they are not lost
    :param refused_answers: answers with a status from 400 to 499
    :param p95_seconds: from the planned time to the complete answer; None without answers
    :param longest_gap_seconds: the longest time in which no good answer arrived
    :param most_late_seconds: how far the generator itself fell behind its plan at worst
    :param complete: every planned request is accounted for
    """

    requests_sent: int
    requests_lost: int
    lost_by_error: Mapping[str, int]
    bad_answers: int
    refused_answers: int
    first_bad_at: float | None
    last_bad_at: float | None
    p95_seconds: float | None
    longest_gap_seconds: float
    most_late_seconds: float
    complete: bool
    slots: Mapping[str, SlotSummary]
    streams: StreamSummary

    def bad_by_slot(self) -> dict[str, int]:
        """Bad answers of each slot that answered at all."""
        return {slot: summary.bad_answers for slot, summary in self.slots.items()}


def summarise(recording: Recording, *, since: float = -math.inf, until: float = math.inf) -> Summary:
    """Account for the requests planned from ``since`` until before ``until`` (seconds since the epoch)."""
    requests = [request for request in recording.requests if since <= request.planned_at < until]
    streams = [stream for stream in recording.streams if stream.ended_at >= since and stream.opened_at < until]
    answered = [request for request in requests if request.status is not None]
    bad = [request for request in answered if is_bad(request)]
    lost = Counter(request.error or "unknown" for request in requests if request.status is None)
    slots = sorted({request.slot for request in answered})
    return Summary(
        requests_sent=len(requests),
        requests_lost=sum(lost.values()),
        lost_by_error=dict(lost),
        bad_answers=len(bad),
        refused_answers=sum(1 for request in answered if 400 <= (request.status or 0) < _BAD_STATUS),
        first_bad_at=min((request.done_at for request in bad), default=None),
        last_bad_at=max((request.done_at for request in bad), default=None),
        p95_seconds=percentile(_latencies(answered), 0.95),
        longest_gap_seconds=longest_gap(request.done_at for request in answered if not is_bad(request)),
        most_late_seconds=max((request.sent_at - request.planned_at for request in requests), default=0.0),
        complete=recording.finished and recording.planned == len(recording.requests),
        slots={slot: _slot([request for request in answered if request.slot == slot]) for slot in slots},
        streams=_streams(streams),
    )


def is_bad(request: RequestRecord) -> bool:
    """Whether the server answered that it failed."""
    return request.status is not None and request.status >= _BAD_STATUS


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that ``share`` of the values do not exceed (nearest rank); None without values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def longest_gap(times: Iterable[float]) -> float:
    """The longest time between two neighbours; 0 with fewer than two."""
    ordered = sorted(times)
    return max((after - before for before, after in itertools.pairwise(ordered)), default=0.0)


def lines(summary: Summary) -> list[str]:
    """The summary for people."""
    reasons = dict(summary.lost_by_error) or ""
    found = [
        f"requests  {summary.requests_sent} sent, {summary.requests_lost} lost {reasons}",
        f"answers   {summary.bad_answers} bad (5xx), {summary.refused_answers} refused (4xx)",
        f"latency   P95 {_shown(summary.p95_seconds)}, longest gap {_shown(summary.longest_gap_seconds)},"
        f" generator late by at most {_shown(summary.most_late_seconds)}",
    ]
    for name, slot in summary.slots.items():
        found.append(f"slot      {name or '?'}: {slot.answers} answers, {slot.bad_answers} bad")
    streams = summary.streams
    found.append(
        f"streams   {streams.opened} opened, {streams.ended_cleanly} ended cleanly, {streams.cut} cut,"
        f" {streams.refused} refused, {streams.events} events, longest gap {_shown(streams.longest_gap_seconds)}"
    )
    return (
        found if summary.complete else [*found, "INCOMPLETE: the run's record does not account for every request"]
    )


def _slot(answers: Sequence[RequestRecord]) -> SlotSummary:
    times = sorted(request.done_at for request in answers)
    bad = sorted(request.done_at for request in answers if is_bad(request))
    return SlotSummary(
        answers=len(answers),
        bad_answers=len(bad),
        first_answer_at=times[0] if times else None,
        last_answer_at=times[-1] if times else None,
        first_bad_at=bad[0] if bad else None,
        last_bad_at=bad[-1] if bad else None,
        p95_seconds=percentile(_latencies(answers), 0.95),
    )


def _streams(streams: Sequence[StreamRecord]) -> StreamSummary:
    ends = Counter(stream.end for stream in streams)
    gaps = [0.0]
    for client in {stream.client for stream in streams}:
        had = sorted((s for s in streams if s.client == client and s.end != "refused"), key=lambda s: s.opened_at)
        gaps += [after.opened_at - before.ended_at for before, after in itertools.pairwise(had)]
    return StreamSummary(
        opened=sum(1 for stream in streams if stream.status == 200),
        ended_cleanly=ends["clean"],
        cut=ends["cut"],
        refused=ends["refused"],
        events=sum(stream.events for stream in streams),
        longest_gap_seconds=max(gaps),
    )


def _latencies(requests: Iterable[RequestRecord]) -> list[float]:
    return [request.done_at - request.planned_at for request in requests]


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.3f} s"


def main() -> None:
    """Print the summary of a file."""
    parser = argparse.ArgumentParser(description="Summarise a run of the load generator.")
    parser.add_argument("file", type=Path)
    try:
        found = lines(summarise(read(parser.parse_args().file)))
    except SandboxError as error:
        sys.exit(str(error))
    print("\n".join(found))


if __name__ == "__main__":
    main()
