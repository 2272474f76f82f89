"""What users saw of a switch: answers to an independent prober become one account of it.

The prober does not wait for answers (an open loop), tries nothing twice and uses a connection of its own for each
request, so that every one is routed anew. All times are seconds; those of an observation count from the switch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

from include.bluegreen.switch import SETTLE_SECONDS

SILENT_SECONDS: Final = 1.0
_MOST_STRETCHES: Final = 40
_MOST_PROBLEMS: Final = 5


@dataclass(frozen=True)
class Probe:
    """One request.

    :param sent_at: seconds since the epoch
    :param seconds: until the whole answer, or until it was given up
    :param ok: the answer was the one the check expects
    :param slot: who answered; None without an answer, or when the application does not say
    :param problem: what was wrong, in words
    """

    sent_at: float
    seconds: float
    ok: bool
    slot: str | None = None
    problem: str = ""

    @property
    def ended_at(self) -> float:
        """When the answer was there, or given up; seconds since the epoch."""
        return self.sent_at + self.seconds


@dataclass(frozen=True)
class Stretch:
    """Requests that followed one another and fared alike; when the first and the last of them were sent."""

    slot: str | None
    ok: bool
    number: int
    first_seconds: float
    last_seconds: float


@dataclass(frozen=True)
class CutoverObservation:
    """One switch as the prober saw it.

    :param lost: requests without a good answer: none at all, or not the one the check expects
    :param lost_before: those of them that had ended when the switch was made; the switch cannot be their cause
    :param stretches: run-length encoded sequence of the requests, in the order of sending
    :param longest_gap_seconds: the longest time without a good answer, up to either end of the observation
    :param old_last_seconds: when the slot that was left answered last; 0 when that was before the switch, None
        when it never answered under its name
    :param new_first_seconds: when the other slot answered first; None when it never did under its name
    :param old_after_new: answers of the old slot to requests sent after the new one's first answer had arrived
    :param problems: what was wrong with the first requests that were lost
    """

    sent: int
    lost: int
    lost_before: int
    stretches: tuple[Stretch, ...]
    longest_gap_seconds: float
    old_last_seconds: float | None
    new_first_seconds: float | None
    old_after_new: int
    problems: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The observation in words; what was lost comes first and loud."""
        if not self.sent:
            return "no observation because no request was sent"
        parts = [f"{self.sent} requests across the switch, none lost"]
        if self.lost:
            before = f" ({self.lost_before} of them before the switch)" if self.lost_before else ""
            parts = [f"{self.lost} OF {self.sent} REQUESTS LOST across the switch{before}"]
            parts += [f"first: {self.problems[0]}"] if self.problems else []
        parts.append(f"longest gap {self.longest_gap_seconds:.3f} s")
        if self.old_last_seconds is None or self.new_first_seconds is None:
            parts.append("the answers do not name both slots (header X-Slot)")
        else:
            parts.append(f"last answer of the old slot {self.old_last_seconds:.3f} s after the switch")
            parts.append(f"first of the new one {self.new_first_seconds:.3f} s after it")
        if self.old_after_new:
            parts.append(f"FLAPPING: {self.old_after_new} answer(s) of the old slot after the new one's first")
        return "; ".join(parts)

    def payload(self) -> dict[str, Any]:
        """Plain JSON of bounded size; the sequence's middle is left out when it is long."""
        first, last = self.stretches[: _MOST_STRETCHES // 2], self.stretches[_MOST_STRETCHES // 2 :]
        last = last[max(0, len(last) - _MOST_STRETCHES // 2) :]
        return {
            **asdict(self),
            "stretches": [list(asdict(stretch).values()) for stretch in (*first, *last)],
            "stretches_total": len(self.stretches),
            "problems": list(self.problems),
        }


def observation(probes: Iterable[Probe], *, old: str, new: str, switched_at: float) -> CutoverObservation:
    """Account for the requests around one switch.

    :param probes: in any order
    :param old: slot that was left
    :param new: slot the traffic went to
    :param switched_at: seconds since the epoch
    """
    ordered = sorted(probes, key=lambda probe: (probe.sent_at, probe.ended_at))
    lost = [probe for probe in ordered if not probe.ok]
    olds = [probe for probe in ordered if probe.slot == old]
    news = [probe.ended_at for probe in ordered if probe.slot == new]
    first_new = min(news, default=None)
    last_old = max((probe.ended_at for probe in olds), default=None)
    return CutoverObservation(
        sent=len(ordered),
        lost=len(lost),
        lost_before=sum(probe.ended_at <= switched_at for probe in lost),
        stretches=_stretches(ordered, switched_at),
        longest_gap_seconds=round(_longest_gap(ordered), 3),
        old_last_seconds=None if last_old is None else max(0.0, round(last_old - switched_at, 3)),
        new_first_seconds=None if first_new is None else round(first_new - switched_at, 3),
        old_after_new=sum(first_new is not None and probe.sent_at > first_new for probe in olds),
        problems=tuple(probe.problem for probe in lost if probe.problem)[:_MOST_PROBLEMS],
    )


def settled(probes: Sequence[Probe], *, old: str, switched_at: float, now: float) -> bool:
    """Whether the switch has arrived everywhere: its time is up, and the old slot has been silent for a while."""
    last_old = max((probe.ended_at for probe in probes if probe.slot == old), default=switched_at)
    return now - switched_at >= SETTLE_SECONDS and now - max(last_old, switched_at) >= SILENT_SECONDS


def _stretches(ordered: Sequence[Probe], switched_at: float) -> tuple[Stretch, ...]:
    found: list[Stretch] = []
    for probe in ordered:
        at = round(probe.sent_at - switched_at, 3)
        if found and (found[-1].slot, found[-1].ok) == (probe.slot, probe.ok):
            one = found[-1]
            found[-1] = Stretch(one.slot, one.ok, one.number + 1, one.first_seconds, at)
        else:
            found.append(Stretch(probe.slot, probe.ok, 1, at, at))
    return tuple(found)


def _longest_gap(ordered: Sequence[Probe]) -> float:
    if not ordered:
        return 0.0
    good = sorted(probe.ended_at for probe in ordered if probe.ok)
    edges = [ordered[0].sent_at, *good, max(probe.ended_at for probe in ordered)]
    return max(after - before for before, after in pairwise(edges))
