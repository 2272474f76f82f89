"""Measure cutovers, switch-backs and the DAG's overhead: ``make bench`` writes ``build/evidence/cutover.json``.

On the embedded cluster, or on the one that KUBECONFIG names. About seven minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.overhead import measure_overhead
from benchmarks.starting_point import World
from benchmarks.switches import measure_switches, measures_of
from include.errors import StellwerkError
from include.report.evidence import Evidence, write
from include.report.table import tables
from include.sandbox.environment import REPOSITORY, Options, Sandbox
from include.sandbox.external_cluster import demo_namespace
from include.sandbox.signals import end_on_signals

SHORTEST_WATCH_SECONDS = 10.0  # a watch has to last at least one window of the sandbox's plan


def main() -> int:
    """Measure; 0 when every goal is reached, 1 when one is missed, 2 when it could not be measured."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--switches", type=int, default=20, help="cutovers, and as many switch-backs (20)")
    parser.add_argument("--rounds", type=int, default=3, help="releases by the DAG and by plain commands (3)")
    arguments = parser.parse_args()
    state = REPOSITORY / "build" / "bench"
    options = Options(state=state, namespace=demo_namespace(), watch_seconds=SHORTEST_WATCH_SECONDS)
    try:
        with end_on_signals(), Sandbox(options) as sandbox:
            World(sandbox).install_green()
            print(f"{arguments.switches} cutovers and as many switch-backs …", flush=True)
            measures = measures_of(measure_switches(sandbox, arguments.switches))
            print(f"{arguments.rounds} releases by the DAG, and by plain commands …", flush=True)
            measures += measure_overhead(sandbox, arguments.rounds)
    except StellwerkError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 2
    evidence = Evidence.of("cutover", measures)
    write(evidence)
    print(tables([evidence]))
    return 0 if evidence.ok else 1


if __name__ == "__main__":
    sys.exit(main())
