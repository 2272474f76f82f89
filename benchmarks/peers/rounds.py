"""One round: bring up the old version, promote the new one under load, do what the scenario says, look."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from benchmarks.peers.contender import Contender, Outcome, Promotion
from benchmarks.peers.load import Seen, judge, load, wait_for_fault
from benchmarks.peers.place import tag_of
from benchmarks.peers.scenarios import Answers, Scenario
from include.errors import SandboxError
from include.sandbox.load.records import Recording, read

LEAD_SECONDS: Final = 3.0
PROMOTION_SECONDS: Final = 120.0
PATIENCE_SECONDS: Final = 60.0  # beyond the watch's length
FAULT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.2

Record = dict[str, Any]


class Users:
    """Who sends the load: half of them from the beginning, the other half, on kept connections, as a row says."""

    def __init__(self, url: str, scenario: Scenario, stem: Path) -> None:
        self.files = [stem.with_suffix(".ndjson")]
        self._url = url
        self._scenario = scenario
        self._stack = ExitStack()

    def __enter__(self) -> Users:
        rate, from_before = self._scenario.rate, self._scenario.kept_from_before
        share, kept = (1.0, 0.5) if from_before else (0.5, 0.0)
        self._stack.enter_context(load(self._url, rate * share, kept, self.files[0]))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def join(self) -> None:
        """The other half comes, if it is not there yet."""
        if not self._scenario.kept_from_before:
            self.files.append(self.files[0].with_suffix(".kept.ndjson"))
            self._stack.enter_context(load(self._url, self._scenario.rate / 2, 1.0, self.files[1]))

    def recordings(self) -> list[Recording]:
        """What they saw, once they have left."""
        return [read(file) for file in self.files] if self._scenario.rate else []


class MetricsFault(Protocol):
    """The proxy before Prometheus."""

    def answers(self, mode: Answers) -> None:
        """Change what everybody gets."""


def play(contender: Contender, scenario: Scenario, number: int, metrics: MetricsFault, folder: Path) -> Record:
    """Play a round and return everything that was seen, as plain JSON.

    :raises SandboxError: the old version did not come up, or the load generator lost count
    """
    began = time.monotonic()
    tag = tag_of(scenario.build, number)
    promotion = Promotion(tag, scenario.watch_seconds, traffic=scenario.rate > 0)
    metrics.answers("pass")
    contender.reset(promotion)
    with Users(contender.public_url, scenario, folder / f"{contender.settings.name}-{scenario.name}") as users:
        time.sleep(LEAD_SECONDS)
        contender.promote(promotion)
        outcome = _promotion(contender, scenario, metrics, users)
        time.sleep(scenario.tail_seconds)
        on_new_at_the_end = contender.on_new()
    metrics.answers("pass")
    seen = judge(users.recordings(), tag, crashes=scenario.build == "crashing")
    if not seen.complete:
        raise SandboxError("the load's record does not account for every request", seen=str(users.files))
    return _record(contender, scenario, number, outcome, seen) | {
        "on_new_at_the_end": on_new_at_the_end,
        "seconds": round(time.monotonic() - began, 1),
    }


def _promotion(contender: Contender, scenario: Scenario, metrics: MetricsFault, users: Users) -> Outcome:
    outcome = _first(contender, contender.analysing, PROMOTION_SECONDS)
    if outcome is not None:
        return outcome
    users.join()
    metrics.answers(scenario.answers)
    if scenario.kill:
        if wait_for_fault(users.files[0], FAULT_SECONDS) and scenario.kill == "during-switch":
            _until(lambda: not contender.on_new(), FAULT_SECONDS)
        contender.kill_controller(scenario.part)
    patience = scenario.watch_seconds + PATIENCE_SECONDS
    found = _first(contender, lambda: False, patience)
    return found or Outcome("unfinished", time.time(), f"neither ended nor asked anybody within {patience:g} s")


def _first(contender: Contender, enough: Callable[[], bool], seconds: float) -> Outcome | None:
    """Wait for an outcome; None as soon as it is enough, or too late."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if enough():
            return None
        if found := contender.outcome():
            return found
        time.sleep(POLL_SECONDS)
    return None


def _until(what: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS / 4)


def _record(contender: Contender, scenario: Scenario, number: int, outcome: Outcome, seen: Seen) -> Record:
    promoted = outcome.result == "promoted"
    return {
        "contender": contender.settings.name,
        "scenario": scenario.name,
        "round": number,
        "result": outcome.result,
        "says": outcome.says,
        "wrong_success": promoted and (scenario.faulty or scenario.without_data),
        "wrong_rollback": outcome.result in ("switched-back", "refused") and not scenario.faulty,
        "seen": asdict(seen),
        "taken_at": time.time(),
    }
