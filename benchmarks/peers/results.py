"""Rounds kept as they are played, so that an interrupted run goes on; and the figures they make."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.contender import CONTENDERS, Settings
from benchmarks.peers.floor import evidence_seconds, floor_seconds
from benchmarks.peers.rounds import Record
from benchmarks.peers.scenarios import BY_NAME, FAULT_RATIO, SCENARIOS
from include.report.evidence import Measure, Reference

GRACE_SECONDS: Final = 1.0
OPENMETRICS_SECONDS: Final = 4.0
LIMIT: Final = 0.05


class Results:
    """One line of JSON for each round."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> list[Record]:
        """All rounds; of a round that was played twice, the later one."""
        if not self.file.exists():
            return []
        lines = [json.loads(line) for line in self.file.read_text().splitlines() if line.endswith("}")]
        return list({(one["contender"], one["scenario"], one["round"]): one for one in lines}.values())

    def add(self, record: Record) -> None:
        """Append a round."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as out:
            out.write(json.dumps(record) + "\n")

    def has(self, contender: str, scenario: str, number: int) -> bool:
        """Whether a round has been played."""
        wanted = (contender, scenario, number)
        return any((one["contender"], one["scenario"], one["round"]) == wanted for one in self.read())


def measures(records: Sequence[Record]) -> list[Measure]:
    """Every figure of the rounds that have been played, with what it has to be where it has to."""
    found: list[Measure] = []
    for scenario in SCENARIOS:
        for settings in CONTENDERS:
            mine = [
                one for one in records if (one["contender"], one["scenario"]) == (settings.name, scenario.name)
            ]
            if mine:
                stem = f"{scenario.name}.{settings.name}"
                found += list(_timed(stem, settings, mine, records)) if scenario.name == "fault" else []
                found += list(_rows(stem, settings, scenario.name, mine))
    return found


def _timed(stem: str, settings: Settings, mine: list[Record], all_: Sequence[Record]) -> Iterator[Measure]:
    back = [one for one in mine if one["result"] == "switched-back" and not one["seen"]["still"]]
    switch = _samples(back, "switch")
    ours = settings.kind == "stellwerk"
    yield _zero(f"{stem}.not_switched_back", len(mine) - len(back), "rounds", ours=ours)
    if not switch:
        yield Measure(f"{stem}.switch_seconds", None, "s")
        return
    median, floor = round(statistics.median(switch), 2), _floor(settings)
    if ours:
        goal = (
            min(floor + GRACE_SECONDS, OPENMETRICS_SECONDS)
            if not settings.scrape_seconds
            else floor + GRACE_SECONDS
        )
        yield Measure(f"{stem}.switch_seconds", median, "s", round(goal, 2), "<=", samples=switch)
        argo = _argo_median(settings, all_)
        if argo is not None:
            reference = Reference("Argo Rollouts", argo)
            yield Measure(f"{stem}.switch_seconds_beside_argo", median, "s", argo, "<=", reference)
    else:
        yield Measure(f"{stem}.switch_seconds", median, "s", samples=switch)
    yield Measure(f"{stem}.switch_seconds_least", min(switch), "s")
    yield Measure(f"{stem}.switch_seconds_most", max(switch), "s")
    yield Measure(f"{stem}.floor_seconds", round(floor, 2), "s")
    drained = _samples(back, "drained")
    yield Measure(f"{stem}.drained_seconds", round(statistics.median(drained), 2), "s", samples=drained)
    failed = tuple(float(one["seen"]["failed"]) for one in back)
    yield Measure(f"{stem}.failed_requests", statistics.median(failed), "requests", samples=failed)


def _rows(stem: str, settings: Settings, scenario: str, mine: list[Record]) -> Iterator[Measure]:
    ours = settings.kind == "stellwerk"
    yield Measure(f"{stem}.outcome", ", ".join(sorted({one["result"] for one in mine})), "")
    yield _zero(f"{stem}.wrong_success", sum(bool(one["wrong_success"]) for one in mine), "rounds", ours=ours)
    yield Measure(f"{stem}.wrong_rollback", sum(bool(one["wrong_rollback"]) for one in mine), "rounds")
    if BY_NAME[scenario].rate:
        lost = sum(one["seen"]["lost"] for one in mine)
        crash = BY_NAME[scenario].build == "crashing"  # refused connections are the fault itself
        yield _zero(f"{stem}.requests_lost", lost, "requests", ours=ours and not crash)
    if scenario != "fault" and BY_NAME[scenario].faulty:
        yield Measure(f"{stem}.failed_requests", sum(one["seen"]["failed"] for one in mine), "requests")
    if BY_NAME[scenario].kill:
        switch = _samples(mine, "switch")
        yield Measure(f"{stem}.switch_seconds", round(statistics.median(switch), 2) if switch else None, "s")


def _zero(name: str, value: int, unit: str, *, ours: bool) -> Measure:
    return Measure(name, value, unit, 0, "==") if ours else Measure(name, value, unit)


def _samples(records: Iterable[dict[str, Any]], key: str) -> tuple[float, ...]:
    return tuple(float(one["seen"][key]) for one in records if one["seen"][key] is not None)


def _floor(settings: Settings) -> float:
    evidence = evidence_seconds(
        rate=BY_NAME["fault"].rate,
        error_ratio=FAULT_RATIO,
        limit=LIMIT,
        interval_seconds=max(settings.scrape_seconds, settings.poll_seconds),
    )
    return floor_seconds(
        scrape_seconds=settings.scrape_seconds, poll_seconds=settings.poll_seconds, evidence=evidence
    )


def _argo_median(settings: Settings, records: Sequence[Record]) -> float | None:
    if not settings.scrape_seconds:
        return None
    name = f"argo-rollouts-{settings.scrape_seconds:g}s"
    mine = (one for one in records if (one["contender"], one["scenario"]) == (name, "fault"))
    found = _samples((one for one in mine if one["result"] == "switched-back"), "switch")
    return round(statistics.median(found), 2) if found else None
