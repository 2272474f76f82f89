"""A top-level phase is begun by one run of one release, whoever starts it (DESIGN, the calendar).

The first task of a phase claims it in the ledger, the last one records that it is completed. A second run, by hand
or by the calendar, finds the claim and ends before it acts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from include.errors import LedgerError, PhaseTaken, PlanError
from include.ledger.entry import Entry as Recorded
from include.ledger.entry import NewEntry
from include.ledger.store import Ledger
from include.plan.calendar import Entry, PhaseKey, Standing, run_id
from include.plan.timeline import BY_HAND
from include.steps.run import ReleaseRun

PHASE_STARTED: Final = "phase.started"
PHASE_COMPLETED: Final = "phase.completed"
KINDS: Final = (PHASE_STARTED, PHASE_COMPLETED)

RunState = Callable[[str, str], str | None]
"""DAG id and run id to Airflow's state of the run; None when there is no such run."""

RUNNING: Final = ("queued", "running")


def claim(
    run: ReleaseRun, ledger: Ledger, phase: str, repeat_reason: str = "", run_state: RunState = lambda *_: None
) -> int:
    """Begin the phase, or find out that this run has begun it already; return which attempt it is, from 1.

    :param phase: what is begun; the DAG's id, where one DAG is one phase
    :param run_state: what tells whether the other run is still running
    :param repeat_reason: why the phase is begun once more although another run has begun it; empty: it is not
    :raises PhaseTaken: another run has begun it, and is still running or is not to be repeated; or it has begun it
        once more since this one did. A run that was deleted and begun anew under its id is another one
    :raises LedgerUnavailable: nobody could tell
    """
    claims = _of(ledger, run, PHASE_STARTED, phase)
    if claims and _by(claims[-1], run):
        return int(claims[-1].payload["attempt"])
    superseded = any(_by(one, run) for one in claims)
    if superseded or (claims and not repeat_reason.strip()):
        raise _taken(run, phase, claims[-1])
    if claims and claims[-1].run_id != run.run_id and (dag := _dag_of(claims[-1])):
        state = run_state(dag, claims[-1].run_id)
        if state in RUNNING:
            raise _taken(run, phase, claims[-1], "it is still running: end it first")
    attempt = len(claims) + 1
    facts = {"phase": phase, "attempt": attempt, "reason": repeat_reason.strip()}
    entry = _append(ledger, run, PHASE_STARTED, facts)
    if not _by(entry, run):
        raise _taken(run, phase, entry)
    return attempt


def complete(run: ReleaseRun, ledger: Ledger, phase: str, by_hand: str = "") -> None:
    """Record that the phase has succeeded.

    :param by_hand: how people know, where it was they who did its steps
    :raises PhaseTaken: another run has begun it, or has begun it once more
    :raises LedgerError: nobody has
    :raises LedgerUnavailable: it cannot be recorded
    """
    claims = _of(ledger, run, PHASE_STARTED, phase)
    if not claims:
        raise LedgerError(
            f"{phase} of {run.release.version} was never begun",
            expected=f"a ledger entry {PHASE_STARTED} of run {run.run_id}",
            remedy="clear the run's first task",
        )
    if not _by(claims[-1], run):
        raise _taken(run, phase, claims[-1])
    facts = {"phase": phase, "attempt": claims[-1].payload["attempt"]}
    _append(ledger, run, PHASE_COMPLETED, {**facts, **({"by_hand": by_hand} if by_hand else {})})


def done_by_hand(
    run: ReleaseRun, ledger: Ledger, phase: str, how: str, run_state: RunState = lambda *_: None
) -> int:
    """Record that people have done the steps of a phase themselves; return which attempt it is.

    :param how: how they know, in a sentence
    :raises PlanError: nobody says so, or not how; or it is no such phase of this environment
    :raises PhaseTaken: the phase is completed, or a run is at it
    :raises LedgerUnavailable: it cannot be recorded
    """
    known: dict[str, str] = {one.name: one.environment for one in BY_HAND}
    if known.get(phase) != run.environment.name or not how.strip() or not run.triggered_by:
        raise PlanError(
            f"{phase} of {run.release.version} is not recorded as done by hand",
            expected=f"{', '.join(f'{name} in {place}' for name, place in known.items())}; a reason; a person",
            seen=f"{phase} in {run.environment.name}; {how.strip() or 'no reason'}; {run.triggered_by}",
            remedy="trigger it again, by hand, and fill in the form",
        )
    claims, completed = (_of(ledger, run, kind, phase) for kind in KINDS)
    newest = claims[-1] if claims else None
    if newest and not _by(newest, run):
        done = [one for one in completed if one.payload.get("attempt") == newest.payload.get("attempt")]
        if done:
            raise _taken(run, phase, done[-1], "nothing: it is completed")
    attempt = claim(run, ledger, phase, how, run_state)
    complete(run, ledger, phase, by_hand=how.strip())
    return attempt


def has_begun(run: ReleaseRun, ledger: Ledger, phase: str) -> bool:
    """Whether this run has begun the phase, and no other has begun it once more since then.

    :raises LedgerUnavailable: nobody could tell
    """
    claims = _of(ledger, run, PHASE_STARTED, phase)
    return bool(claims) and _by(claims[-1], run)


def standings(
    wanted: Iterable[Entry], recorded: Sequence[Recorded], run_state: RunState
) -> dict[PhaseKey, Standing]:
    """What became of phases whose time has come.

    :param recorded: the ledger's entries of :data:`KINDS`
    """
    newest: dict[_Place, Recorded] = {}
    for one in recorded:
        newest[one.kind, one.release, one.environment, str(one.payload.get("phase", ""))] = one
    return {entry.key: _standing(entry, newest, run_state) for entry in wanted}


_Place = tuple[str, str, str, str]


def _standing(entry: Entry, newest: Mapping[_Place, Recorded], run_state: RunState) -> Standing:
    key, place = entry.key, entry.environment
    started = newest.get((PHASE_STARTED, key.release, place, key.phase))
    completed = newest.get((PHASE_COMPLETED, key.release, place, key.phase))
    if completed and started and completed.payload.get("attempt") == started.payload.get("attempt"):
        return Standing.SUCCEEDED
    state = run_state(key.phase, started.run_id if started else run_id(key))
    if state is None:
        # A run that is gone has begun the phase all the same.
        return Standing.GONE if started else Standing.NOT_STARTED
    # A run that ended without completing it has not succeeded, whatever somebody has set its state to.
    return Standing.FAILED if state in ("success", "failed") else Standing.STARTED


def _by(claimed: Recorded, run: ReleaseRun) -> bool:
    return (claimed.run_id, claimed.payload.get("born", "")) == (run.run_id, run.born)


def _dag_of(claimed: Recorded) -> str:
    return str(claimed.payload.get("dag", "")) or str(claimed.payload.get("phase", "")).partition(":")[0]


def _of(ledger: Ledger, run: ReleaseRun, kind: str, phase: str) -> list[Recorded]:
    entries = ledger.entries(release=run.release.version, environment=run.environment.name, kinds=(kind,))
    return [entry for entry in entries if entry.payload.get("phase") == phase]


def _append(ledger: Ledger, run: ReleaseRun, kind: str, facts: Mapping[str, object]) -> Recorded:
    place = f"{run.release.version}@{run.environment.name}"
    told = {**facts, "dag": run.phase, **({"born": run.born} if run.born else {})}
    return ledger.append(
        NewEntry(
            kind=kind,
            release=run.release.version,
            environment=run.environment.name,
            run_id=run.run_id,
            actor=run.triggered_by or "release-calendar",
            payload=told,
            key=f"{place}:{facts['phase']}:{kind}:{facts['attempt']}",
        )
    )


def _taken(run: ReleaseRun, phase: str, by: Recorded, remedy: str = "") -> PhaseTaken:
    return PhaseTaken(
        f"{phase} of {run.release.version} has been begun already",
        expected="a phase that nobody has begun",
        seen=f"run {by.run_id}, started by {by.actor} at {_clock(by.at)}",
        remedy=remedy
        or "follow that run; to repeat the phase on purpose, start it by hand and say why (repeat_reason)",
    )


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
