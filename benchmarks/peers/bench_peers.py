"""Measure Stellwerk beside Argo Rollouts and Flagger: ``build/evidence/peers.json``; docs/benchmarks.md says how.

Every round is kept in ``build/peers/rounds.ndjson`` as it is played: a run that was interrupted, or that was given
only some minutes, goes on with what is missing. All contenders share one sandbox, one Prometheus, one load.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.peers.argo import ArgoRollouts
from benchmarks.peers.contender import CONTENDERS, Contender, Settings
from benchmarks.peers.flagger import Flagger
from benchmarks.peers.monitoring import Monitoring
from benchmarks.peers.place import Place, import_images, tag_of
from benchmarks.peers.programs import peer_program
from benchmarks.peers.results import Results, measures
from benchmarks.peers.rounds import Record, play
from benchmarks.peers.scenarios import BY_NAME, SCENARIOS, Build, Scenario
from benchmarks.peers.stellwerk import Stellwerk
from include.errors import StellwerkError
from include.report.evidence import Evidence, write
from include.report.table import tables
from include.sandbox.environment import REPOSITORY, Options, Sandbox
from include.sandbox.programs import program
from include.sandbox.signals import end_on_signals

FOLDER: Final = REPOSITORY / "build" / "peers"
SHOWN: Final = 1500  # letters of an error
Todo = dict[Settings, list[tuple[Scenario, int]]]


def main() -> int:
    """Measure; 0 when every goal is reached, 1 when one is missed, 2 when a round could not be played."""
    arguments = _arguments()
    results = Results(arguments.results)
    todo = _todo(arguments, results)
    failed = False
    if todo and not arguments.report:
        with end_on_signals():
            failed = not _play_all(todo, results, time.monotonic() + 60 * arguments.minutes)
    evidence = Evidence.of("peers", measures(results.read()))
    write(evidence)
    print(tables([evidence]))
    left = sum(len(rounds) for rounds in _todo(arguments, results).values())
    print(f"{left} rounds left to play" if left else "every round is played")
    return 2 if failed else 0 if evidence.ok else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [one.name for one in CONTENDERS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="CONTENDER", help=f"of {', '.join(names)}")
    parser.add_argument("--scenario", nargs="+", choices=list(BY_NAME), metavar="ROW", help=", ".join(BY_NAME))
    parser.add_argument("--rounds", type=int, help="rounds of each row instead of its own number")
    parser.add_argument("--minutes", type=float, default=60, help="begin no round after so long (60)")
    parser.add_argument("--results", type=Path, default=FOLDER / "rounds.ndjson")
    parser.add_argument("--fresh", action="store_true", help="forget the rounds that were played")
    parser.add_argument("--report", action="store_true", help="play nothing: only write what the rounds say")
    arguments = parser.parse_args()
    if arguments.fresh:
        arguments.results.unlink(missing_ok=True)
    return arguments


def _todo(arguments: argparse.Namespace, results: Results) -> Todo:
    found: Todo = {}
    for settings in CONTENDERS:
        for scenario in SCENARIOS:
            if settings.name not in (arguments.only or [settings.name]) or settings.name not in scenario.only:
                continue
            if scenario.name not in (arguments.scenario or [scenario.name]):
                continue
            for number in range(arguments.rounds or scenario.rounds):
                if not results.has(settings.name, scenario.name, number):
                    found.setdefault(settings, []).append((scenario, number))
    return found


def _play_all(todo: Todo, results: Results, deadline: float) -> bool:
    """Play what is missing, contender by contender; False when a round could not be played."""
    _build_first(todo)
    wanted: set[tuple[Build, int]] = {(one.build, number) for rounds in todo.values() for one, number in rounds}
    options = Options(state=FOLDER / "state", watch_seconds=20, extra_plan=_releases(wanted))
    fine = True
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(options))
        import_images(sandbox, wanted)
        state = options.state / "monitoring"
        monitoring = stack.enter_context(Monitoring(sandbox.cluster, state))
        for settings, rounds in todo.items():
            place = Place.of(sandbox, _namespace(settings, sandbox), monitoring.url)
            contender = _contender(settings, sandbox, place)
            try:
                contender.prepare()
                monitoring.scrape(place.namespace, settings.scrape_seconds)
                for scenario, number in rounds:
                    if time.monotonic() > deadline:
                        return fine
                    fine = _one(contender, scenario, number, monitoring, results) and fine
                contender.leave()
            finally:
                contender.close()
    return fine


def _one(contender: Contender, scenario: Scenario, number: int, monitoring: Monitoring, results: Results) -> bool:
    what = f"{contender.settings.name} {scenario.name} {number}"
    try:
        record = play(contender, scenario, number, monitoring, FOLDER / "state")
    except StellwerkError as error:
        print(f"{what}: not played: {str(error)[:SHOWN]}", file=sys.stderr, flush=True)
        return False
    results.add(record)
    print(f"{what}: {_told(record)}", flush=True)
    return True


def _told(record: Record) -> str:
    seen = record["seen"]
    return (
        f"{record['result']} in {record['seconds']:.0f} s; {seen['sent']} sent, {seen['lost']} lost, "
        f"{seen['failed']} failed; switch {seen['switch']} s, drained {seen['drained']} s | {record['says'][:160]}"
    )


def _build_first(todo: Todo) -> None:
    """Before the sandbox runs, so that no build disturbs a measurement."""
    if any(settings.scrape_seconds for settings in todo):
        program("prometheus")
    kinds = {settings.kind for settings in todo}
    if "argo-rollouts" in kinds:
        peer_program("rollouts-controller")
    if "flagger" in kinds:
        peer_program("flagger")


def _releases(wanted: set[tuple[Build, int]]) -> Path:
    """A plan's releases for the images of all rounds; Stellwerk refuses what no plan knows."""
    folder = FOLDER / "plan"
    (folder / "releases").mkdir(parents=True, exist_ok=True)
    for index, tag in enumerate(sorted(tag_of(build, number) for build, number in wanted)):
        day = date(2031, 1, 15) + timedelta(weeks=index)  # a plan refuses two releases on one day
        text = f"version: {tag}\nprevious: 2.9.0\ndate: {day}\ntimezone: Europe/Berlin\n"
        (folder / "releases" / f"{tag}.yaml").write_text(f"{text}image: {{ repository: valeo-erp, tag: {tag} }}\n")
    return folder


def _namespace(settings: Settings, sandbox: Sandbox) -> str:
    return sandbox.options.namespace if settings.kind == "stellwerk" else settings.name


def _contender(settings: Settings, sandbox: Sandbox, place: Place) -> Contender:
    if settings.kind == "stellwerk":
        return Stellwerk(place, settings, sandbox)
    return ArgoRollouts(place, settings) if settings.kind == "argo-rollouts" else Flagger(place, settings)


if __name__ == "__main__":
    sys.exit(main())
