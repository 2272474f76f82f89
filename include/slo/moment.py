"""What the rules look at: everything that was known at one moment, source by source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from include.plan.rules import Rule, SloRules, SourceName, Watch
from include.slo.lasting import lasting
from include.slo.newest import newest_interval
from include.slo.samples import Observed, ProbeSample, SlotSample, Snapshot
from include.slo.verdict import Finding, State
from include.slo.window import WindowStats, thinned, unusable, window_stats, within


def window_seconds(rules: SloRules, watch: Watch, source: SourceName) -> float:
    """Length of the short window: of Prometheus it spans two scrapes at least."""
    if source == "prometheus":
        return max(watch.window_seconds, 2 * rules.metrics.scrape_seconds)
    return watch.window_seconds


def allowed_age_seconds(rules: SloRules, watch: Watch, source: SourceName) -> float:
    """How old a sample may be and still say something about now: Prometheus' newest is a scrape old by nature."""
    return watch.stale_seconds + (rules.metrics.scrape_seconds if source == "prometheus" else 0.0)


def newest_seconds(rules: SloRules, watch: Watch, source: SourceName) -> float:
    """How far apart a pod's two newest samples may be: a poll (of Prometheus a scrape, if longer), and a delay."""
    scrape = rules.metrics.scrape_seconds if source == "prometheus" else 0.0
    return max(watch.poll_seconds, scrape) + watch.stale_seconds


def gap_seconds(watch: Watch, limit: float) -> float:
    """How much of the time between two looks counts towards a duration of ``limit`` seconds."""
    return max(watch.stale_seconds, limit / 10)


@dataclass(frozen=True)
class View:
    """What one source showed until a moment.

    :param known: the snapshots until then, in the order of time
    :param allowed_age: of a sample, in seconds
    :param newest_seconds: how long the newest interval may be; a longer one lies across looks that are missing
    :param expected: pods that were ready for as long as a sample may be old: with fewer a snapshot is not whole
    """

    source: SourceName
    known: tuple[Snapshot, ...]
    now: float
    window_seconds: float
    lookback_seconds: float
    allowed_age: float
    newest_seconds: float = 0.0
    expected: int = 0

    @cached_property
    def short(self) -> WindowStats:
        """The window that finds a fault fast."""
        return window_stats(self._recent, stale_seconds=self.allowed_age)

    @cached_property
    def long(self) -> WindowStats:
        """The window that gathers evidence where traffic is thin."""
        looked_back = within(self.known, now=self.now, seconds=max(self.lookback_seconds, self.window_seconds))
        return window_stats(
            thinned(looked_back, apart_seconds=self.window_seconds), stale_seconds=self.allowed_age
        )

    @cached_property
    def newest(self) -> WindowStats:
        """What the newest look or scrape brought: the fastest, for :data:`Z_NEWEST` alone and never for health."""
        return newest_interval(
            self._recent,
            now=self.now,
            stale_seconds=self.allowed_age,
            longest_seconds=min(self.newest_seconds, self.window_seconds),
        )

    @cached_property
    def _recent(self) -> list[Snapshot]:
        return within(self.known, now=self.now, seconds=self.window_seconds)

    @cached_property
    def whole(self) -> Snapshot | None:
        """The newest snapshot that shows every pod and is of now; None when nothing is known about now."""
        return next((s for s in reversed(self.known) if not self._lacks(s)), None)

    @cached_property
    def missing(self) -> str:
        """Why the data say nothing about now, one sentence; empty when they do."""
        if self.whole is not None:
            return ""
        if not self.known:
            return "no data yet: no poll has been made"
        return self._lacks(self.known[-1])

    @cached_property
    def whole_at(self) -> float | None:
        """When the source last showed everything, whether or not that is long ago."""
        found = (s for s in reversed(self.known) if s.pods and not s.errors and not self._broken(s, s.taken_at))
        return next((s.taken_at for s in found), None)

    def _lacks(self, snapshot: Snapshot) -> str:
        age = self.now - snapshot.taken_at
        if age > self.allowed_age:
            return f"no data: the newest sample is {age:.0f} s old"
        if snapshot.errors:
            return f"data incomplete: {'; '.join(snapshot.errors)}"
        if not snapshot.pods:
            return f"no data: no pod of {snapshot.slot} could be read"
        if broken := self._broken(snapshot, self.now):
            return f"no usable data: {'; '.join(broken)}"
        if len(snapshot.pods) < self.expected:
            return f"data incomplete: {len(snapshot.pods)} pods were read, {self.expected} are ready"
        return ""

    def _broken(self, snapshot: Snapshot, now: float) -> tuple[str, ...]:
        # Whether a clock is ahead is told by the look that met it; whether a sample is too old, by now.
        reasons = (
            unusable(sample, at, self.allowed_age) for sample in snapshot.pods for at in (snapshot.taken_at, now)
        )
        return tuple(dict.fromkeys(reason for reason in reasons if reason))


@dataclass(frozen=True)
class Moment:
    """Everything that was known at ``now``; what was observed later is not looked at.

    :param now: seconds since the epoch
    :param cutover_at: the same
    """

    rules: SloRules
    watch: Watch
    observed: Observed
    now: float
    cutover_at: float

    @cached_property
    def _views(self) -> dict[SourceName, View]:
        return {}

    def view(self, rule: Rule | SourceName) -> View:
        """What the source of a rule (or a source by name) showed."""
        source = rule if isinstance(rule, str) else self.rules.source_of(rule)
        if source not in self._views:
            self._views[source] = self._view(source)
        return self._views[source]

    @cached_property
    def probes(self) -> tuple[ProbeSample, ...]:
        """The rounds of the prober, newest first."""
        return tuple(sorted((p for p in self.observed.probes if p.at <= self.now), key=lambda p: -p.at))

    @cached_property
    def slot(self) -> tuple[SlotSample, ...]:
        """What the API server said, newest first."""
        return tuple(sorted((s for s in self.observed.slot if s.at <= self.now), key=lambda s: -s.at))

    def before(self, at: float) -> Moment:
        """An earlier moment."""
        return replace(self, now=at)

    def _view(self, source: SourceName) -> View:
        known = sorted(
            (s for s in self.observed.metrics.get(source, ()) if s.taken_at <= self.now), key=lambda s: s.taken_at
        )
        allowed = allowed_age_seconds(self.rules, self.watch, source)
        ready = [s.ready for s in self.slot if s.ready is not None and self.now - s.at <= allowed]
        return View(
            source=source,
            known=tuple(known),
            now=self.now,
            window_seconds=window_seconds(self.rules, self.watch, source),
            lookback_seconds=self.watch.lookback_seconds,
            allowed_age=allowed,
            newest_seconds=newest_seconds(self.rules, self.watch, source),
            expected=min(ready, default=0),
        )


Judge = Callable[[Moment, Rule], Finding]


def sustained(moment: Moment, rule: Rule, judge: Judge, *, broken: State, meanwhile: State) -> Finding:
    """The rule's finding, ``broken`` only once it has been so for the rule's ``for_seconds`` without a break.

    :param broken: the state of a broken rule
    :param meanwhile: its state until then
    """
    finding = judge(moment, rule)
    if finding.state != broken or rule.for_seconds == 0:
        return finding
    run = lasting(_looks(moment, rule, judge, broken), gap_seconds=gap_seconds(moment.watch, rule.for_seconds))
    lasted = run.seconds if run else 0.0
    if lasted >= rule.for_seconds:
        return replace(finding, sentence=f"{finding.sentence}, for {lasted:.0f} s")
    return Finding(
        finding.rule, meanwhile, f"{finding.sentence}, for {lasted:.0f} s of at most {rule.for_seconds:.0f} s"
    )


def _looks(moment: Moment, rule: Rule, judge: Judge, broken: State) -> Iterator[tuple[float, bool | None]]:
    times = {moment.now, *(snapshot.taken_at for snapshot in moment.view(rule).known)}
    for at in sorted(times, reverse=True):
        state = judge(moment.before(at), rule).state
        yield at, None if state == "UNKNOWN" else state == broken
