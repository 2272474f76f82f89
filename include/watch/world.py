"""What a watch works with: the cluster, the sources of metrics, and whom it tells how it is doing."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from include.clients.kubernetes import Cluster
from include.plan.models import Environment
from include.plan.rules import SourceName
from include.slo.account import Account
from include.slo.samples import ProbeSample
from include.slo.source import Source
from include.watch.config import Progress
from include.watch.rounds import probe


@dataclass(frozen=True)
class World:
    """Everything a watch reads, changes and tells; opened and closed by the caller.

    The two callbacks run beside the watch, never two of one kind at once. They may take their time and may fail:
    that is logged, and delays neither a verdict nor a switch. Both are cancelled when the watch ends, after a
    last ``checkpoint``.

    :param sources: by name; every source that some rule reads (``environment.slo.sources``)
    :param account: the newest that ``checkpoint`` was given in this window
        (:func:`include.steps.watch.kept_account`); None when there is none
    :param checkpoint: called with the account of the whole window every minute or so, to be kept where the next
        process finds it (the ledger: :func:`include.steps.watch.keep_account`)
    :param progress: called whenever the state of the verdict changes, and every 15 s otherwise
    :param now: seconds since the epoch
    :param probe: one round of the prober
    """

    cluster: Cluster
    sources: Mapping[SourceName, Source] = field(default_factory=dict)
    account: Account | None = None
    checkpoint: Callable[[Account], Awaitable[None]] | None = None
    progress: Callable[[Progress], Awaitable[None]] | None = None
    now: Callable[[], float] = time.time
    probe: Callable[[Environment, Callable[[], float]], Awaitable[ProbeSample]] = probe
