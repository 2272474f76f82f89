"""The watch of the running version on a schema that was migrated under it: it judges and tells, and moves nothing.

Switching slots would take nobody off the new schema, both are on it. So there is no way back that a watch could go
by itself: whatever it finds is for a human, who is offered the recorded one.
"""

from __future__ import annotations

from collections.abc import Iterator

from include.bluegreen.fence import LAST_SWITCH
from include.bluegreen.slots import active_slot
from include.bluegreen.state import ServiceState
from include.errors import TrafficError
from include.plan.models import Environment
from include.plan.rules import Criteria, SloRules
from include.slo.account import Account
from include.slo.samples import Observed
from include.watch.config import WatchOutcome
from include.watch.ending import conclusion
from include.watch.rhythm import Feed
from include.watch.seeing import service_feed
from include.watch.sightings import Sightings
from include.watch.window import Window
from include.watch.world import World


class SchemaWindow(Window):
    """Everything the watch of a migrated schema needs to know; no credentials.

    :param environment: with :func:`triggers_alone`
    :param target: the slot that took the traffic when the window began
    :param migrated: ledger entry of the migration whose schema is watched
    :param switch: the last switch as the traffic Service told it then, None when it told of none: "there and back
        again" leaves the same selector
    """

    migrated: int = 0
    switch: str | None = None


def triggers_alone(environment: Environment, *, min_requests: int = 1) -> Environment:
    """The environment as a schema is judged in it: by the rollback triggers, and by no further criterion.

    Criteria say whether a new version has succeeded. Here they say that the triggers' own limits were kept.

    :param min_requests: fewer prove nothing. Of a single moment one is enough; the window as a whole needs as many
        as the environment's watch says
    """
    rules = environment.slo
    limits = {
        name: getattr(rules.triggers, name).model_copy(update={"min_requests": min_requests})
        for name in ("error_rate", "p95_seconds")
    }
    kept = rules.model_copy(update={"criteria": Criteria(**limits, pods=False, logs=False)})
    return environment.model_copy(update={"slo": kept})


class OnlyTelling:
    """See :class:`include.watch.course.Course`."""

    def __init__(self, window: SchemaWindow, world: World) -> None:
        self.window = window
        self.world = world

    def feeds(self, seen: Sightings) -> Iterator[Feed]:
        """Whether users still get what is watched."""
        yield service_feed(self.window, self.world, seen, self._moved)

    async def fired(self, reason: str, *, detected_at: float, now: float) -> WatchOutcome | None:
        """End: a human decides."""
        return WatchOutcome(result="FIRED", sentence=reason, at=now, detected_at=detected_at, pages=("held",))

    def end(self, account: Account, observed: Observed, now: float) -> WatchOutcome:
        """Passed when every trigger's limit was kept and known to be; else a human decides."""
        return conclusion(self.window, self._rules, account, observed, now)

    @property
    def _rules(self) -> SloRules:
        environment = self.window.environment
        return triggers_alone(environment, min_requests=environment.watch.min_requests).slo

    def _moved(self, service: ServiceState | None, now: float) -> WatchOutcome | None:
        return moved_meanwhile(self.window, service, now=now)


def moved_meanwhile(window: SchemaWindow, service: ServiceState | None, *, now: float) -> WatchOutcome | None:
    """How the watch has ended because of what the traffic Service says; None while all is as it was.

    :param service: as it was read; None when it does not exist
    :param now: seconds since the epoch
    """
    try:
        slot = active_slot(service, window.environment.traffic)
    except TrafficError as error:
        return _moved(str(error), now)
    assert service is not None, "active_slot refuses a missing Service"
    if slot != window.target:
        return _moved(f"the traffic went from {window.target} to {slot} meanwhile", now)
    if service.annotations.get(LAST_SWITCH) != window.switch:
        return _moved(f"the traffic has left {slot} meanwhile and is back", now)
    return None


def _moved(sentence: str, now: float) -> WatchOutcome:
    return WatchOutcome(result="MOVED", sentence=sentence, at=now, pages=("held",))
