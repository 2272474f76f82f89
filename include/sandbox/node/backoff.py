"""Owns whether and when a container or an image is tried again, as kubelet decides it; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

FIRST_SECONDS: Final = 10.0
LONGEST_SECONDS: Final = 300.0
FORGET_AFTER_SECONDS: Final = 2 * LONGEST_SECONDS


@dataclass(frozen=True, slots=True)
class Backoff:
    """What is remembered between attempts.

    :param delay: seconds the *next* attempt has to wait after the last failure; 0: at once
    :param updated_at: epoch seconds of the last attempt
    """

    delay: float = 0.0
    updated_at: float = 0.0

    def remaining(self, ended_at: float, now: float) -> float:
        """Seconds still to wait at ``now`` after what ended at ``ended_at``; 0 when it may start."""
        if self._forgotten(ended_at):
            return 0.0
        return max(0.0, ended_at + self.delay - now)

    def next(self, ended_at: float, now: float) -> Backoff:
        """What to remember once the next attempt starts: doubled, capped, forgotten after a long calm."""
        if self.delay == 0.0 or self._forgotten(ended_at):
            return Backoff(FIRST_SECONDS, now)
        return replace(self, delay=min(self.delay * 2, LONGEST_SECONDS), updated_at=now)

    def _forgotten(self, ended_at: float) -> bool:
        return ended_at - self.updated_at > FORGET_AFTER_SECONDS


def starts_again(policy: str, code: int, *, init: bool) -> bool:
    """Whether a container that ended with this code is started again under the pod's restart policy."""
    if policy == "Always" and not init:
        return True
    return policy != "Never" and code != 0


def words(seconds: float) -> str:
    """A duration as Kubernetes prints it: ``10s``, ``1m20s``, ``5m0s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
