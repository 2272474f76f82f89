"""How well faults are told from health: writes ``build/evidence/detection.json``.

The evaluator judges every poll of the generated traces of ``tests/unit/slo/quality`` and the end of each; an
oracle that shares no code with it says what was to be found. Then evaluators that are broken on purpose do the
same: the traces have to notice each of them. About two minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from include.report.evidence import Evidence, Measure, write
from include.report.table import tables
from tests.unit.slo.quality.generate import FAMILIES, traces
from tests.unit.slo.quality.mutants import MUTANTS
from tests.unit.slo.quality.truth import Trace
from tests.unit.slo.quality.verdicts import Expected, caught_by, disagreements, expected_of

WITHOUT_DATA = ("never-seen", "silent", "only-health-checks")

Labelled = Sequence[tuple[Trace, Expected]]


def main() -> int:
    """Measure; 0 when every goal is reached, 1 when one is missed."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--each", type=int, default=8, help="traces of each family (%(default)s)")
    arguments = parser.parse_args()
    labelled = [(trace, expected_of(trace)) for trace in traces(arguments.each)]
    print(f"{len(labelled)} traces of {len(FAMILIES)} kinds are labelled …", flush=True)
    measures = (*agreement(labelled), *passed_without_data(labelled), *mutants(labelled))
    evidence = Evidence.of("detection", measures)
    write(evidence)
    print(tables([evidence]))
    return 0 if evidence.ok else 1


def agreement(labelled: Labelled) -> list[Measure]:
    """How often the evaluator and the oracle say the same."""
    states = Counter(poll.state for _, expected in labelled for poll in expected.polls)
    wrong = [difference for trace, expected in labelled for difference in disagreements(trace, expected)]
    for difference in wrong[:20]:
        print(difference)
    ends = [difference for difference in wrong if isinstance(difference.at, str)]
    polls, passed = sum(states.values()), sum(expected.passed for _, expected in labelled)
    return [
        Measure("detection.traces", len(labelled), "traces", goal=200, comparator=">="),
        Measure("detection.verdicts", polls, "verdicts"),
        *(
            Measure(f"detection.verdicts_{state.lower()}", count, "verdicts")
            for state, count in sorted(states.items())
        ),
        Measure("detection.verdicts_wrong", len(wrong) - len(ends), "verdicts", goal=0, comparator="=="),
        Measure("detection.ends_passed", passed, "traces"),
        Measure("detection.ends_held", len(labelled) - passed, "traces"),
        Measure("detection.ends_wrong", len(ends), "traces", goal=0, comparator="=="),
    ]


def passed_without_data(labelled: Labelled) -> list[Measure]:
    """Windows in which nothing could be known, and how many of them passed all the same."""
    blind = [(trace, expected) for trace, expected in labelled if trace.family in WITHOUT_DATA]
    passed = [
        trace.name
        for trace, expected in blind
        if expected.passed or any(d.at == "the end" for d in disagreements(trace, expected))
    ]
    return [
        Measure("detection.windows_without_data", len(blind), "traces", goal=1, comparator=">="),
        Measure("detection.windows_without_data_passed", len(passed), "traces", goal=0, comparator="=="),
    ]


def mutants(labelled: Labelled) -> list[Measure]:
    """How many evaluators that are broken on purpose the traces notice."""
    unnoticed = [mutant.name for mutant in MUTANTS if caught_by(mutant, labelled) is None]
    for name in unnoticed:
        print(f"not noticed: {name}")
    return [
        Measure("detection.mutants", len(MUTANTS), "evaluators", goal=12, comparator=">="),
        Measure("detection.mutants_unnoticed", len(unnoticed), "evaluators", goal=0, comparator="=="),
    ]


if __name__ == "__main__":
    sys.exit(main())
