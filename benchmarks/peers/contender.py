"""What a contender of the benchmark is: what it runs with, and the few things a round asks of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol

Kind = Literal["argo-rollouts", "flagger", "stellwerk"]
Result = Literal["switched-back", "promoted", "held", "refused", "unfinished"]
"""``switched-back``: the old version has the traffic again; ``promoted``: the new one was declared good; ``held``:
it has the traffic and a human is asked; ``refused``: it never got the traffic; ``unfinished``: none of these.
"""


@dataclass(frozen=True)
class Settings:
    """One line of the table. Times are in seconds.

    :param scrape_seconds: of the Prometheus that is asked; 0 where none is
    :param poll_seconds: between two looks
    :param lenient: Argo's condition is the one of its documentation that takes no data for success
    """

    name: str
    kind: Kind
    scrape_seconds: float
    poll_seconds: float
    lenient: bool = False


@dataclass(frozen=True)
class Promotion:
    """What one round asks for.

    :param tag: of the image that is to go live
    :param watch_seconds: how long it is analysed once it has the traffic
    :param traffic: whether anybody uses the application
    """

    tag: str
    watch_seconds: float
    traffic: bool = True


@dataclass(frozen=True)
class Outcome:
    """How a promotion ended.

    :param at: when it was seen, seconds since the epoch
    :param says: the contender's own words
    """

    result: Result
    at: float
    says: str


class Contender(Protocol):
    """A driver: starts what the contender consists of and does what a user of it would."""

    settings: Settings

    @property
    def public_url(self) -> str:
        """Where users reach the application."""

    def prepare(self) -> None:
        """Bring up whatever the contender consists of."""

    def reset(self, promotion: Promotion) -> None:
        """Return to the old version in traffic and nothing of a new one; take the next promotion's settings."""

    def promote(self, promotion: Promotion) -> None:
        """Ask for the new version; does not wait."""

    def analysing(self) -> bool:
        """Whether the analysis of the new version has begun (for most: it has the traffic)."""

    def on_new(self) -> bool:
        """Whether the traffic is on the new version."""

    def outcome(self) -> Outcome | None:
        """How it ended; None while it has not."""

    def kill_controller(self, part: str = "") -> None:
        """SIGKILL what decides (or another part of it); it is started again as its supervisor would."""

    def leave(self) -> None:
        """Remove what would take the next contender's time."""

    def close(self) -> None:
        """End every process and connection of this driver."""


CONTENDERS: Final = (
    Settings("argo-rollouts-5s", "argo-rollouts", 5, 5),
    Settings("argo-rollouts-1s", "argo-rollouts", 1, 1),
    Settings("argo-rollouts-1s-lenient", "argo-rollouts", 1, 1, lenient=True),
    Settings("flagger", "flagger", 1, 10),  # its interval cannot be shorter
    Settings("stellwerk-prometheus-5s", "stellwerk", 5, 5),
    Settings("stellwerk-prometheus-1s", "stellwerk", 1, 1),
    Settings("stellwerk-openmetrics-1s", "stellwerk", 0, 1),
)
