"""How the polls of a watch went, in all and rule by rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from include.slo.verdict import Finding, State, Verdict, heavier


@dataclass(frozen=True)
class RuleTally:
    """How often a rule was found in which state, and what it said when it was not kept.

    :param missed: the first sentence of a poll that found it broken
    :param unknown_because: the last sentence of a poll that could not tell
    :param last: what the newest poll that judged it found
    """

    healthy: int = 0
    degraded: int = 0
    unknown: int = 0
    missed: str = ""
    unknown_because: str = ""
    last: State = "UNKNOWN"

    @property
    def unknown_ratio(self) -> float:
        """Share of its polls that could not tell; 1 without any."""
        polls = self.healthy + self.degraded + self.unknown
        return self.unknown / polls if polls else 1.0

    def count(self, finding: Finding) -> RuleTally:
        """The tally with one more poll."""
        if finding.state == "HEALTHY":
            return replace(self, healthy=self.healthy + 1, last=finding.state)
        if finding.state == "UNKNOWN":
            return replace(self, unknown=self.unknown + 1, unknown_because=finding.sentence, last=finding.state)
        return replace(
            self, degraded=self.degraded + 1, missed=self.missed or finding.sentence, last=finding.state
        )


@dataclass(frozen=True)
class Tally:
    """The polls of a watch; one that was due and not made counts as unknown.

    :param gathering: polls of the first moments, when nothing was missing yet
    :param state: what the newest poll found
    :param since: since when without a break, seconds since the epoch
    """

    healthy: int = 0
    degraded: int = 0
    rollback: int = 0
    unknown: int = 0
    gathering: int = 0
    state: State = "UNKNOWN"
    since: float | None = None
    last_at: float | None = None
    rules: Mapping[str, RuleTally] = field(default_factory=dict)

    @property
    def judged(self) -> int:
        """Polls that brought knowledge."""
        return self.healthy + self.degraded + self.rollback

    def count(self, verdict: Verdict, at: float) -> Tally:
        """The tally with one more poll."""
        name = "gathering" if verdict.gathering else verdict.state.lower()
        same = verdict.state == self.state and self.since is not None
        rules = dict(self.rules) if verdict.gathering else _counted(self.rules, verdict)
        return replace(
            self,
            **{name: getattr(self, name) + 1},
            state=verdict.state,
            since=self.since if same else at,
            last_at=at,
            rules=rules,
        )

    def unknown_ratio(self, poll_seconds: float, *, began_at: float, now: float) -> float:
        """Share of the polls due since the window began that brought no knowledge; 1 without any."""
        made = self.judged + self.unknown + self.gathering
        if not made:
            return 1.0
        # Half of the due polls may drift away before any counts as missed: polls take time themselves.
        due = max(made, int((now - began_at) / (2 * poll_seconds)))
        return (self.unknown + due - made) / due


def _counted(rules: Mapping[str, RuleTally], verdict: Verdict) -> dict[str, RuleTally]:
    worst: dict[str, Finding] = {}
    for finding in verdict.findings:
        seen = worst.get(finding.rule)
        if seen is None or (heavier(finding.state, seen.state) == finding.state != seen.state):
            worst[finding.rule] = finding
    return {**rules, **{name: rules.get(name, RuleTally()).count(finding) for name, finding in worst.items()}}
