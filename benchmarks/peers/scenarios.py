"""What is done to every contender, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Answers = Literal["pass", "gone", "empty", "nan"]
Build = Literal["good", "faulty", "late-faulty", "crashing"]
Moment = Literal["", "before-switch", "during-switch"]

FAULT_RATIO: Final = 0.3
PHASES: Final = (150, 190, 230, 270, 310, 350, 390)
"""After how many requests of each process the fault begins: spread over more than one scrape and poll, so that no
contender's clock happens to agree with the fault's."""


@dataclass(frozen=True)
class Scenario:
    """One row, for every contender it applies to.

    :param rate: requests a second; 0 for none
    :param rounds: how often it is repeated
    :param watch_seconds: how long the new version is analysed
    :param answers: what Prometheus answers from the moment the new version has the traffic
    :param kill: when the controller is killed
    :param part: which part of it; the one that decides when empty
    :param tail_seconds: how long users are looked at after the outcome
    :param kept_from_before: half of the load is on connections kept from before the switch; otherwise that half
        comes after it, so that the new version gets all of the load, whatever becomes of old connections
    :param only: contenders it is run with; all when empty
    """

    name: str
    build: Build
    rate: float = 100.0
    rounds: int = 1
    watch_seconds: float = 25.0
    answers: Answers = "pass"
    kill: Moment = ""
    part: str = ""
    tail_seconds: float = 10.0
    kept_from_before: bool = False
    only: tuple[str, ...] = ()

    @property
    def faulty(self) -> bool:
        """Whether the new version is bad, so that declaring it good is wrong."""
        return self.build != "good"

    @property
    def without_data(self) -> bool:
        """Whether there is nothing to judge by, so that declaring anything good is a guess."""
        return self.answers != "pass" or self.rate == 0


_TIMED = (
    "argo-rollouts-5s",
    "argo-rollouts-1s",
    "stellwerk-prometheus-5s",
    "stellwerk-prometheus-1s",
    "stellwerk-openmetrics-1s",
)
_DECIDING = ("argo-rollouts-1s", "flagger", "stellwerk-prometheus-1s", "stellwerk-openmetrics-1s")
_ASKING = ("argo-rollouts-1s", "argo-rollouts-1s-lenient", "flagger", "stellwerk-prometheus-1s")
_AFTER = ("argo-rollouts-1s", "stellwerk-prometheus-1s", "stellwerk-openmetrics-1s")

SCENARIOS: Final = (
    Scenario("fault", "faulty", rounds=7, watch_seconds=60, only=_TIMED),
    Scenario("fault-after-promotion", "late-faulty", tail_seconds=30, only=("flagger",)),
    Scenario("healthy", "good", rate=200, tail_seconds=25, kept_from_before=True, only=_DECIDING),
    Scenario("metrics-gone", "faulty", answers="gone", only=_ASKING),
    Scenario("metrics-empty", "faulty", answers="empty", only=_ASKING),
    Scenario("metrics-nan", "faulty", answers="nan", only=_ASKING),
    Scenario("crash-loop", "crashing", watch_seconds=30, only=_DECIDING),
    Scenario("killed-before-switch", "faulty", watch_seconds=60, kill="before-switch", only=_AFTER),
    Scenario("killed-during-switch", "faulty", watch_seconds=60, kill="during-switch", only=_AFTER),
    Scenario(
        "scheduler-killed-before-switch",
        "faulty",
        watch_seconds=60,
        kill="before-switch",
        part="scheduler",
        only=("stellwerk-openmetrics-1s",),
    ),
    Scenario("no-traffic", "good", rate=0, only=(*_DECIDING, "argo-rollouts-1s-lenient")),
)
BY_NAME: Final[Mapping[str, Scenario]] = {one.name: one for one in SCENARIOS}
