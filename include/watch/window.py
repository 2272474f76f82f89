"""A window in which one slot is watched: what every kind of watch has, as plain JSON.

All times are absolute (seconds since the epoch), so whichever process goes on with a watch goes on with the same
window. Nothing here holds a credential.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from include.plan.models import Environment
from include.plan.rules import SourceName
from include.plan.slots import Slot
from include.slo.account import Account
from include.slo.samples import Snapshot

if TYPE_CHECKING:
    from include.watch.config import WatchOutcome

Page = Literal["metrics", "criterion", "prober", "blocked", "held"]
"""What a human is called for: data missing, a criterion missed for long, a prober that cannot work, a rollback
that is due and impossible, a window that is over without proof of health."""


class Portable(BaseModel):
    """Travels as plain JSON through Airflow's database."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    def dump(self) -> dict[str, Any]:
        """Return plain JSON values."""
        # By way of text: only there infinity (a histogram's last bucket) becomes a string.
        values: dict[str, Any] = json.loads(self.model_dump_json())
        return values

    @classmethod
    def load(cls, value: Any) -> Self:
        """Read what :meth:`dump` wrote."""
        return cls.model_validate(value)


class Watched(Portable):
    """What is watched, by whom.

    :param release_id: the run that watches
    :param target: slot that is (or is going to be) watched
    :param number: 0 for the first window of the run
    """

    release_id: str
    version: str
    environment: Environment
    target: Slot
    number: int = 0

    @property
    def connection(self) -> str:
        """Id of the Airflow connection to the cluster."""
        return self.environment.connections.kubernetes

    @property
    def namespace(self) -> str:
        """Namespace of the application."""
        return self.environment.namespace


class Window(Watched):
    """From when until when.

    :param began_at: seconds since the epoch
    :param deadline: when the window is over; seconds since the epoch
    :param baselines: what each source said of the watched slot when the window began; one that could not be had
        has its reason among its errors. Empty for a window that begins with its first look
    :param paged: what humans have been called for already, and are not again before it has been well
    :param account: of the window so far, where the watch goes on after a human was called
    """

    began_at: float
    deadline: float
    baselines: Mapping[SourceName, Snapshot]
    paged: tuple[Page, ...] = ()
    account: Account | None = None

    @property
    def changed_at(self) -> float:
        """When that happened because of which somebody watches; seconds since the epoch."""
        return self.began_at

    @property
    def ends_at(self) -> float:
        """When this watch ends at the latest; seconds since the epoch."""
        return self.deadline

    @property
    def holding(self) -> bool:
        """Whether the window is over and goes on for a human's decision."""
        return False

    @property
    def deadline_text(self) -> str:
        """When it ends, for humans."""
        return datetime.fromtimestamp(self.ends_at, UTC).isoformat(timespec="seconds")

    def after(self, outcome: WatchOutcome) -> Self:
        """What goes on after a human was called: the same window.

        :raises ValueError: the outcome is an end
        """
        if outcome.result != "NOTICE":
            raise ValueError(f"{outcome.result} is the end of a watch")
        return self.called(outcome)

    def called(self, outcome: WatchOutcome) -> Self:
        """The same window, in which humans know what the outcome calls them for."""
        paged = tuple(dict.fromkeys((*outcome.paged, *outcome.pages)))
        return self.model_copy(update={"paged": paged, "account": outcome.account or self.account})
