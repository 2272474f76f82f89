"""Owns what kubelet says and how long it waits when an image cannot be had; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from include.sandbox.node.backoff import Backoff
from include.sandbox.node.views import Waiting

_ERROR_SHOWN_SECONDS: Final = 1.0
_LOOK_AGAIN_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Hold:
    """A reason not to start a container: what its status and an Event say, and for how many seconds."""

    waiting: Waiting
    reason: str
    message: str
    seconds: float


def invalid_name(problem: str) -> Hold:
    """The reference is no image's name."""
    return Hold(Waiting("InvalidImageName", problem), "InspectFailed", problem, _LOOK_AGAIN_SECONDS)


def never_pulled(image: str) -> Hold:
    """It may not be pulled, and it is not there."""
    message = f'Container image "{image}" is not present with pull policy of Never'
    return Hold(Waiting("ErrImageNeverPull", message), "ErrImageNeverPull", message, _LOOK_AGAIN_SECONDS)


def not_pulled(image: str, problem: str, backoff: Backoff, now: float) -> tuple[Hold, Hold, Backoff]:
    """Pulling failed: first the error, then the back-off; and what to remember for the next time."""
    following = backoff.next(now, now)
    message = f'failed to pull image "{image}": {problem}'
    error = Hold(Waiting("ErrImagePull", message), "Failed", "Error: ErrImagePull", _ERROR_SHOWN_SECONDS)
    back = f'Back-off pulling image "{image}"'
    waiting = Waiting("ImagePullBackOff", f"{back}: ErrImagePull: {message}")
    return error, Hold(waiting, "Failed", "Error: ImagePullBackOff", following.delay), following
