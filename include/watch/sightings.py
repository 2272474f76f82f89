"""What a watch has seen lately: bounded; of what is lost with its process the account hands on what matters."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, TypeVar

from include.plan.rules import SloRules, SourceName, Watch
from include.slo.evaluate import retention_seconds
from include.slo.looks import same
from include.slo.samples import LogSample, Observed, ProbeSample, SlotSample, Snapshot
from include.watch.config import WatchOutcome

_SAME_SECONDS: Final = 5.0


@dataclass
class Sightings:
    """The newest of every feed; ``news`` is set by whatever a verdict should not wait for.

    :param remembered: what the sources remembered when this process began; whole, unlike ``metrics``
    :param ended: how the watch has ended because somebody else moved the traffic; None while nobody has
    """

    rules: SloRules
    settings: Watch
    metrics: dict[SourceName, list[Snapshot]] = field(default_factory=dict)
    remembered: dict[SourceName, tuple[Snapshot, ...]] = field(default_factory=dict)
    probes: deque[ProbeSample] = field(default_factory=deque)
    slot: deque[SlotSample] = field(default_factory=deque)
    beside: Snapshot | None = None
    logs: LogSample | None = None
    ended: WatchOutcome | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def saw_metrics(self, source: SourceName, *snapshots: Snapshot) -> None:
        """Snapshots of the watched slot."""
        known = {snapshot.taken_at: snapshot for snapshot in (*self.metrics.get(source, ()), *snapshots)}
        newest = max(known, default=0.0)
        keep = self._keep_seconds
        recent = [known[at] for at in sorted(known) if newest - at <= keep]
        self.metrics[source] = thinned(recent, dense_seconds=self._dense_seconds, apart=self._apart_seconds)
        self.news.set()

    def saw_probe(self, sample: ProbeSample) -> None:
        """One round of the prober."""
        _remember(self.probes, sample, self._keep_seconds, self._same_seconds)

    def saw_slot(self, sample: SlotSample) -> None:
        """What the API server said."""
        _remember(self.slot, sample, self._keep_seconds, self._same_seconds)

    def saw_end(self, outcome: WatchOutcome) -> None:
        """Somebody else moved the traffic."""
        self.ended = self.ended or outcome
        self.news.set()

    @property
    def observed(self) -> Observed:
        """All of it, as it is judged."""
        return Observed(
            metrics={name: tuple(snapshots) for name, snapshots in self.metrics.items()},
            probes=tuple(self.probes),
            slot=tuple(self.slot),
            beside=self.beside,
            logs=self.logs,
        )

    def uncounted(self) -> Observed:
        """What an account has to see: once with everything the sources remembered."""
        observed, remembered = self.observed, self.remembered
        self.remembered = {}
        if not any(remembered.values()):
            return observed
        metrics = {
            name: tuple({s.taken_at: s for s in (*remembered.get(name, ()), *known)}.values())
            for name, known in observed.metrics.items()
        }
        return replace(observed, metrics=metrics)

    @cached_property
    def _keep_seconds(self) -> float:
        return retention_seconds(self.rules, self.settings)

    @cached_property
    def _dense_seconds(self) -> float:
        longest = max((rule.for_seconds for _, rule in self.rules.named()), default=0.0)
        return longest + 3 * self._apart_seconds

    @property
    def _same_seconds(self) -> float:
        # No longer than what counts as one stretch between two looks.
        return min(_SAME_SECONDS, self.settings.stale_seconds)

    @property
    def _apart_seconds(self) -> float:
        return self.settings.window_seconds


S = TypeVar("S", ProbeSample, SlotSample)


def _remember(samples: deque[S], sample: S, keep_seconds: float, same_seconds: float) -> None:
    """Append; of samples that say the same, one every some seconds is enough to know how long it has been so."""
    if len(samples) >= 2:
        before, last = samples[-2], samples[-1]
        if same(before, last) and same(last, sample) and sample.at - before.at <= same_seconds:
            samples.pop()
    samples.append(sample)
    while sample.at - samples[0].at > keep_seconds:
        samples.popleft()


def thinned(ordered: Sequence[Snapshot], *, dense_seconds: float, apart: float) -> list[Snapshot]:
    """Of what is older than ``dense_seconds`` only snapshots so far apart: windows that long take no more.

    Of the thinned ones those that saw everything are kept first; thinning again keeps what was kept before.

    :param ordered: by time
    """
    if not ordered:
        return []
    newest, kept = ordered[-1].taken_at, list[Snapshot]()
    for snapshot in ordered:
        dense = newest - snapshot.taken_at <= dense_seconds
        if dense or not kept or snapshot.taken_at - kept[-1].taken_at >= apart:
            kept.append(snapshot)
        elif kept[-1].errors and not snapshot.errors:
            kept[-1] = snapshot
    return kept
