"""What one source of metrics showed of the slot since the baseline, pod by pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from include.slo.counters import Growth, carried, growth, not_numbers, number, whole
from include.slo.samples import PodSample, Snapshot
from include.slo.timeline import thinned_series
from include.slo.window import WindowStats, monotone

_FORGOTTEN_AFTER_SECONDS: Final = 900.0
_MEMORY_POINTS: Final = 64


@dataclass(frozen=True)
class PodAccount:
    """What one pod contributed.

    :param last: its newest counters; None once the pod has been gone for long: should it come back, it begins anew
    :param since: when its part in the watch began, seconds since the epoch
    :param cpu_seconds: processor time used over :param cpu_over: seconds
    :param memory: (seconds since the epoch, bytes), thinned out
    :param memory_most: bytes
    """

    pod: str
    since: float
    last: PodSample | None
    cpu_seconds: float = 0.0
    cpu_over: float = 0.0
    memory: tuple[tuple[float, float], ...] = ()
    memory_most: float | None = None


@dataclass(frozen=True)
class SourceAccount:
    """What one source showed since the baseline.

    :param baseline_at: when the baseline was taken, None when there was none that showed a pod
    :param counted_at: the newest snapshot that is in the account, seconds since the epoch
    :param requests: answered requests by status
    :param latency: cumulative counts by upper bound, in the order of the bounds
    :param mixed: histograms of different bounds were met: there is no latency then
    :param pods: by uid
    :param restarted: names of pods whose process began again
    """

    baseline_at: float | None = None
    counted_at: float | None = None
    requests: Mapping[str, float] = field(default_factory=dict)
    latency: tuple[tuple[float, float], ...] = ()
    mixed: bool = False
    pods: Mapping[str, PodAccount] = field(default_factory=dict)
    restarted: tuple[str, ...] = ()

    def add(self, snapshot: Snapshot, began_at: float) -> SourceAccount:
        """The account with a snapshot that is newer than all that were added."""
        account = self
        for sample in snapshot.pods:
            if not not_numbers(sample):
                account = account._add(sample, snapshot.taken_at, began_at)
        gone = snapshot.taken_at - _FORGOTTEN_AFTER_SECONDS
        pods = {
            uid: replace(pod, last=None) if pod.last and pod.last.taken_at < gone else pod
            for uid, pod in account.pods.items()
        }
        baseline_at = self.baseline_at if self.baseline_at is not None or not pods else snapshot.taken_at
        return replace(account, pods=pods, baseline_at=baseline_at, counted_at=snapshot.taken_at)

    def stats(self, began_at: float) -> WindowStats:
        """The whole window as the rules look at windows."""
        since = began_at if self.baseline_at is None else max(began_at, self.baseline_at)
        return WindowStats(
            requests=round(sum(self.requests.values())),
            errors=round(sum(count for status, count in self.requests.items() if status.startswith("5"))),
            latency=() if self.mixed else monotone(dict(self.latency)),
            span_seconds=(self.counted_at or since) - since,
            pods=len(self.pods),
            memory_bytes={p.pod: p.memory_most for p in self.pods.values() if p.memory_most is not None},
            cpu_cores={p.pod: p.cpu_seconds / p.cpu_over for p in self.pods.values() if p.cpu_over > 0},
            restarted=self.restarted,
        )

    def _add(self, sample: PodSample, at: float, began_at: float) -> SourceAccount:
        known = self.pods.get(sample.pod_uid)
        before = known.last if known else None
        grown = Growth()
        if before is not None:
            if sample.taken_at < before.taken_at:
                return self
            grown = growth(before, sample)
        elif (
            known is None
            and self.counted_at is not None
            and (sample.started_at or 0.0) >= self._born_after(began_at)
        ):
            grown = whole(sample)
        pod = known or PodAccount(sample.pod, at, sample)
        pod = _followed(pod, sample, grown, before)
        restarted = self.restarted
        if grown.restarted and sample.pod not in restarted:
            restarted = (*restarted, sample.pod)
        return replace(self._grown(grown), pods={**self.pods, sample.pod_uid: pod}, restarted=restarted)

    def _born_after(self, began_at: float) -> float:
        return began_at if self.baseline_at is None else min(began_at, self.baseline_at)

    def _grown(self, grown: Growth) -> SourceAccount:
        requests, latency = dict(self.requests), dict(self.latency)
        for status, count in grown.requests.items():
            requests[status] = requests.get(status, 0.0) + count
        mixed = self.mixed or bool(
            latency and grown.latency and list(latency) != [bound for bound, _ in grown.latency]
        )
        for bound, count in grown.latency:
            latency[bound] = latency.get(bound, 0.0) + count
        return replace(self, requests=requests, latency=tuple(latency.items()), mixed=mixed)


def _followed(pod: PodAccount, sample: PodSample, grown: Growth, before: PodSample | None) -> PodAccount:
    """The pod's account with its newest sample, the counters aside."""
    seconds = sample.taken_at - before.taken_at if before else 0.0
    used = grown.cpu_seconds if grown.cpu_seconds is not None and seconds > 0 else None
    memory, size = pod.memory, number(sample.memory_bytes)
    if size is not None:
        memory = thinned_series(memory, sample.taken_at, size, most=_MEMORY_POINTS)
    return replace(
        pod,
        last=carried(before, sample) if before else sample,
        cpu_seconds=pod.cpu_seconds + (used or 0.0),
        cpu_over=pod.cpu_over + (seconds if used is not None else 0.0),
        memory=memory,
        memory_most=max((m for m in (pod.memory_most, size) if m is not None), default=None),
    )
