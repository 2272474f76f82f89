"""The evaluator's word on a trace beside the oracle's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# By module, not by name: a mutant replaces what a module holds.
from include.slo import account as accounts
from include.slo import evaluate as evaluation
from include.slo import summary as summaries
from tests.unit.slo.quality.mutation import Mutant, broken
from tests.unit.slo.quality.oracle import Judged
from tests.unit.slo.quality.oracle_end import EndOracle
from tests.unit.slo.quality.truth import Trace


@dataclass(frozen=True)
class Expected:
    """What the oracle says of every poll after the baseline, and of the whole watch."""

    polls: tuple[Judged, ...]
    passed: bool


@dataclass(frozen=True)
class Disagreement:
    """Where the evaluator and the oracle part."""

    trace: str
    at: float | str
    expected: str
    seen: str

    def __str__(self) -> str:
        return f"{self.trace} at {self.at}: expected {self.expected}, seen {self.seen}"


def expected_of(trace: Trace) -> Expected:
    """Let the oracle judge every poll of a trace, and its end."""
    oracle = EndOracle(trace)
    polls = tuple(oracle.judge(at) for at in trace.polls[1:])
    return Expected(polls, oracle.passed(polls))


def disagreements(trace: Trace, expected: Expected) -> Iterator[Disagreement]:
    """Watch the trace with the evaluator and compare, poll by poll and at the end."""
    rules, watch = trace.rules, trace.watch
    baselines = {source: snapshots[0] for source, snapshots in trace.snapshots.items()}
    account = accounts.Account.begin(baselines, at=0.0, source=rules.source)
    for at, wanted in zip(trace.polls[1:], expected.polls, strict=True):
        observed = trace.observed_at(at)
        verdict = evaluation.evaluate(rules, watch, observed, at, cutover_at=0.0)
        account = account.add(observed, verdict, at)
        seen, early = verdict.state, verdict.gathering
        if (seen, early) != (wanted.state, wanted.early):
            told = f"{seen}{' (early)' if early else ''}: {verdict.sentence}"
            yield Disagreement(trace.name, at, f"{wanted.state}{' (early)' if wanted.early else ''}", told)
    end = trace.polls[-1]
    summary = summaries.summarise(rules, watch, account, trace.observed_at(end), now=end, cutover_at=0.0)
    if (summary.state == "PASSED") != expected.passed:
        wanted_state = "PASSED" if expected.passed else "HOLD"
        yield Disagreement(trace.name, "the end", wanted_state, f"{summary.state}: {summary.sentence}")


def caught_by(mutant: Mutant, labelled: Sequence[tuple[Trace, Expected]]) -> str | None:
    """The first trace on which a broken evaluator and the oracle part; None when it goes unnoticed."""
    likely_first = sorted(labelled, key=lambda pair: pair[0].family not in mutant.families)
    with broken(mutant):
        for trace, expected in likely_first:
            vars(trace).pop("snapshots", None)  # what is shown may be what the mutant changes
            difference = _first(trace, expected)
            vars(trace).pop("snapshots", None)
            if difference:
                return difference
    return None


def _first(trace: Trace, expected: Expected) -> str:
    try:
        return next((str(difference) for difference in disagreements(trace, expected)), "")
    except Exception as error:
        return f"{trace.name}: {type(error).__name__}: {error}"
