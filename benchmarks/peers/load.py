"""The load of a round, and what its records say: the fault's very instant, and the bad version's last answer."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from include.sandbox.environment import REPOSITORY
from include.sandbox.load.records import Recording, RequestRecord
from include.sandbox.load.summary import is_bad, longest_gap
from include.sandbox.processes import Process

_POLL_SECONDS: Final = 0.1
_STILL_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Seen:
    """What users saw of one round. Times are seconds since the epoch; lengths are seconds.

    :param fault_at: when the first answer came that the new version failed to give; None without any
    :param switch: from there to the last answer of the new version on a fresh connection
    :param drained: the same on any connection, kept ones included
    :param still: the new version was still answering when the load ended: the two above are lower bounds
    :param failed: answers of 500 or more from the fault on, and requests lost
    """

    sent: int
    lost: int
    failed: int
    bad_answers: int
    fault_at: float | None
    switch: float | None
    drained: float | None
    still: bool
    longest_gap: float
    complete: bool


@contextmanager
def load(url: str, rate: float, kept: float, out: Path) -> Iterator[None]:
    """Keep requests coming; none with a rate of 0.

    :param kept: share of them on kept connections
    """
    if rate == 0:
        yield
        return
    out.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "include.sandbox.load", "--url", url, "--out", str(out)]
    argv += ["--rate", str(rate), "--keep-alive-ratio", str(kept)]
    with Process("load", argv, cwd=REPOSITORY, log=out.with_suffix(".log")):
        yield


def judge(recordings: Sequence[Recording], new: str, *, crashes: bool = False) -> Seen:
    """Account for a round.

    :param recordings: of all that sent load
    :param new: the version that was promoted
    :param crashes: its fault is that it does not answer: the first lost request is the fault's instant
    """
    requests = [one for recording in recordings for one in recording.requests]
    bad = [one for one in requests if is_bad(one) or one.status is None]
    wrong = [one.done_at for one in bad if is_bad(one) and one.version == new]
    wrong += [one.done_at for one in bad if crashes and one.status is None]
    fault_at = min(wrong, default=None)
    ends = max((one.done_at for one in requests), default=0.0)
    after = [one for one in requests if one.version == new and fault_at is not None and one.done_at >= fault_at]
    fresh = [one for one in after if one.kind == "fresh"]
    last = max((one.done_at for one in after), default=0.0)
    return Seen(
        sent=len(requests),
        lost=sum(one.status is None for one in requests),
        failed=sum(fault_at is not None and one.done_at >= fault_at for one in bad),
        bad_answers=sum(is_bad(one) for one in requests),
        fault_at=fault_at,
        switch=_since(fault_at, fresh),
        drained=_since(fault_at, after),
        still=bool(fresh) and ends - max(one.done_at for one in fresh) < _STILL_SECONDS and last > 0,
        longest_gap=round(longest_gap(one.done_at for one in requests if one.status and not is_bad(one)), 3),
        complete=all(one.finished and one.planned == len(one.requests) for one in recordings),
    )


def wait_for_fault(file: Path, deadline_seconds: float) -> bool:
    """Follow a load's records until the first answer of 500 or more; False when none came in time."""
    deadline = time.monotonic() + deadline_seconds
    offset = 0
    while time.monotonic() < deadline:
        if file.exists():
            with file.open() as lines:
                lines.seek(offset)
                text = lines.read()
            whole, _, _ = text.rpartition("\n")
            offset += len(whole.encode()) + 1 if whole else 0
            if any((json.loads(line).get("status") or 0) >= 500 for line in whole.splitlines()):
                return True
        time.sleep(_POLL_SECONDS)
    return False


def _since(fault_at: float | None, answers: list[RequestRecord]) -> float | None:
    if fault_at is None or not answers:
        return None
    return round(max(one.done_at for one in answers) - fault_at, 3)
