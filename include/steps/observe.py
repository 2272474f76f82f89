"""Watching a switch from the outside while a step makes it.

The observation is evidence and never a condition: whatever goes wrong with the prober itself, the step goes on and
the evidence says that there is none, and why.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from include.bluegreen.observation import observation, settled
from include.bluegreen.slots import Slot, other
from include.clients.observer import Observer
from include.plan.models import Environment

log = logging.getLogger(__name__)

LEAD_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1


class SwitchWitness:
    """The prober around one switch, and what is to be recorded of it."""

    def __init__(self, environment: Environment) -> None:
        self._observer = Observer(environment.traffic.public_url, environment.smoke[0], environment.prober)
        self._began = time.time()

    def start(self) -> None:
        """Begin asking."""
        self._observer.start()

    def stop(self) -> None:
        """Ask no more; does not wait."""
        self._observer.stop()

    async def lead(self) -> None:
        """Wait until the prober has seen a second of the time before the switch."""
        await asyncio.sleep(max(0.0, self._began + LEAD_SECONDS - time.time()))

    async def conclude(self, to: Slot, at: datetime) -> dict[str, Any]:
        """Go on until the switch has arrived everywhere (10 s after it at the latest) and sum up.

        :param to: slot the traffic was moved to by this very step
        :param at: when it was moved
        """
        old, switched_at = other(to), at.timestamp()
        while (now := time.time()) - switched_at < LONGEST_SECONDS and self._observer.failure is None:
            if settled(self._observer.probes(), old=old, switched_at=switched_at, now=now):
                break
            await asyncio.sleep(_POLL_SECONDS)
        probes = await self._observer.finish()
        if self._observer.failure is not None:
            return none_because(f"the prober failed: {self._observer.failure}")
        seen = observation(probes, old=old, new=to, switched_at=switched_at)
        if not seen.sent:
            return none_because("the prober sent no request")
        log.log(logging.ERROR if seen.lost or seen.old_after_new else logging.INFO, "observed: %s", seen.sentence)
        return {"sentence": seen.sentence, **seen.payload()}


@contextmanager
def witnessed(environment: Environment) -> Iterator[SwitchWitness | None]:
    """Have a prober ask the public URL while in this context; None when it cannot be started."""
    witness: SwitchWitness | None = None
    try:
        witness = SwitchWitness(environment)
        witness.start()
    except Exception as error:  # noqa: BLE001 - evidence is never a condition
        log.warning("the prober cannot be started: %s", error)
        witness = None
    try:
        yield witness
    finally:
        if witness is not None:
            witness.stop()


async def account(witness: SwitchWitness | None, *, to: Slot, at: datetime) -> dict[str, Any]:
    """What is to be recorded of a switch that this very step has made; never raises."""
    if witness is None:
        return none_because("the prober could not be started")
    try:
        return await witness.conclude(to, at)
    except Exception as error:  # noqa: BLE001 - evidence is never a condition
        return none_because(f"the prober failed: {error}")


def none_because(reason: str) -> dict[str, Any]:
    """The evidence of a switch that nobody watched."""
    sentence = f"no observation because {reason}"
    log.warning("%s", sentence)
    return {"sentence": sentence}
