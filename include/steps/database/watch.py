"""The watch of the running version on the new schema as a step: what it begins with and how it ended (ADR 0012).

The watch itself is :func:`include.watch.loop.watch_schema`. Its window is counted from the migration's record, so
a watch that was killed goes on with the same one. What another run has left is watched from now on.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from include.bluegreen.fence import LAST_SWITCH
from include.bluegreen.slots import active_slot
from include.clients.kubernetes import Cluster
from include.clients.prometheus import Prometheus
from include.errors import FailsOnNewSchema, LedgerError, TrafficError
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.database.entries import (
    MIGRATION_WATCH_FAILED,
    MIGRATION_WATCH_STARTED,
    MIGRATION_WATCHED,
    NEEDLESS,
    NOTHING_PENDING,
)
from include.steps.database.site import database_plan
from include.steps.database.watched import passed_on, to_be_watched, undone_since
from include.steps.page import Matter, matters
from include.steps.record import all_recorded, record, recorded
from include.steps.run import ReleaseRun
from include.steps.schema_course import MIGRATED
from include.watch.baseline import sources_if_any, take_baselines
from include.watch.config import WatchOutcome
from include.watch.schema import SchemaWindow, triggers_alone

log = logging.getLogger(__name__)

_FAILS: Final = "the running version fails on the new schema"
_NOT_KNOWN: Final = "nobody knows how the running version does on the new schema"
_DECIDE: Final = "answer way_back.ask: the run states what taking the schema back would lose"
_AGAIN: Final = f"{_DECIDE}; or clear this task to watch whatever takes the traffic now for another window"


def settled(run: ReleaseRun, ledger: Ledger) -> dict[str, Any] | None:
    """What is told without watching: nothing was migrated, or a watch has passed. None: it is to be watched.

    That another run has migrated is no reason to watch nothing: its watch may have failed, or never ended.

    :raises FailsOnNewSchema: the migration has been undone, so that no watch can be about it
    """
    if applied := recorded(ledger, run, MIGRATED):
        _must_be_there(run, ledger, applied.sequence)
    about = to_be_watched(run, ledger)
    if about is None:
        for window in _windows(run, ledger)[-1:]:
            _must_be_there(run, ledger, window.migrated)
        return _nothing(run, ledger)
    passed = passed_on(run, ledger, about)
    return _told(passed) if passed else None


def _nothing(run: ReleaseRun, ledger: Ledger) -> dict[str, Any]:
    """Nothing was migrated, by whichever run; recorded where this one has seen that nothing was to be."""
    if seen := recorded(ledger, run, NOTHING_PENDING):
        revisions = ", ".join(seen.payload["revisions"]) or "no revision"
        sentence = f"nothing was to be migrated, the schema is the release's already ({revisions})"
        record(ledger, run, NEEDLESS, {**seen.payload, "sentence": sentence}, number=seen.sequence)
    return {"watched": False, "sentence": "nothing was migrated"}


def _must_be_there(run: ReleaseRun, ledger: Ledger, migrated: int) -> None:
    """Refuse to tell of a schema that is not there any more, whoever has undone it.

    :raises FailsOnNewSchema: it is not
    """
    if undone := undone_since(run, ledger, migrated):
        raise FailsOnNewSchema(
            "the migration has been undone: there is no new schema to be watched on",
            seen=f"ledger entry {undone.sequence}, {undone.kind}",
            remedy="start a new run",
        )


def open_window(run: ReleaseRun, ledger: Ledger, *, retried: bool) -> SchemaWindow | None:
    """The window that has begun and not ended; None when one has to begin.

    :param retried: whether an attempt of this very task has died or failed before, as opposed to a human who has
        cleared it
    :raises FailsOnNewSchema: that attempt has ended its watch, and its death does not undo what was seen
    """
    about = to_be_watched(run, ledger)
    windows = [window for window in _windows(run, ledger) if about and window.migrated == about.sequence]
    if not windows:
        return None
    last = windows[-1]
    ends = all_recorded(ledger, run, MIGRATION_WATCH_FAILED, MIGRATION_WATCHED)
    end = next((entry for entry in ends if entry.payload["number"] == last.number), None)
    if end is None:
        return last
    if retried and end.kind == MIGRATION_WATCH_FAILED:
        raise _failure(WatchOutcome.load(end.payload))
    return None


def _windows(run: ReleaseRun, ledger: Ledger) -> tuple[SchemaWindow, ...]:
    begun = all_recorded(ledger, run, MIGRATION_WATCH_STARTED)
    return tuple(SchemaWindow.load(entry.payload["window"]) for entry in begun)


async def begin_window(
    run: ReleaseRun, cluster: Cluster, ledger: Ledger, prometheus: Prometheus | None = None
) -> SchemaWindow:
    """Fix whom to watch and until when, with what every source says of it now; once for each window.

    The first window is counted from the record of what the run has applied, however late this is called. One that
    humans want after another has failed begins now, and so does one on what was left half-way, or by another run.

    :param prometheus: where rules read that do not read the pods
    :raises ClusterError: the traffic Service cannot be read
    :raises TrafficError: nothing was migrated; or the Service names neither slot
    """
    if known := open_window(run, ledger, retried=False):
        return known
    about = to_be_watched(run, ledger)
    if about is None:
        raise TrafficError("the watch on the new schema refused", seen="nothing was migrated")
    windows, now = _windows(run, ledger), time.time()
    environment = triggers_alone(run.environment)
    service = await cluster.service(environment.traffic.service)
    slot = active_slot(service, environment.traffic)
    assert service is not None, "active_slot refuses a missing Service"
    sources = sources_if_any(environment, cluster, prometheus)
    taken = await take_baselines(sources, slot, now, wanted=environment.slo.sources)
    ours = about.kind == MIGRATED and about.run_id == run.run_id
    again = any(window.migrated == about.sequence for window in windows)
    began_at = about.at.timestamp() if ours and not again else now
    window = SchemaWindow(
        release_id=run.release_id,
        version=run.release.version,
        environment=environment,
        target=slot,
        number=len(windows),
        migrated=about.sequence,
        began_at=began_at,
        deadline=began_at + database_plan(run).watch_seconds,
        baselines=taken.baselines,
        switch=service.annotations.get(LAST_SWITCH),
    )
    entry = record(ledger, run, MIGRATION_WATCH_STARTED, {"window": window.dump()}, number=window.number)
    return SchemaWindow.load(entry.payload["window"])


def conclude(run: ReleaseRun, ledger: Ledger, window: SchemaWindow, outcome: WatchOutcome) -> dict[str, Any]:
    """Record how the watch ended, with the figures of the whole window.

    A failure is told whether or not it could be recorded: humans are asked because of it.

    :return: ``watched``, and in short what was recorded, when it passed
    :raises LedgerError: it passed, which counts only once it is recorded
    :raises FailsOnNewSchema: it did not pass, and humans decide about the recorded way back; or the migration was
        undone meanwhile, so that it has nothing to pass on
    """
    ended = outcome.model_copy(update={"account": None}).dump()
    told = {"slot": window.target, "until": window.deadline_text}
    payload = {**ended, **told, "number": window.number, "migrated": window.migrated}
    if outcome.result == "PASSED":
        # Others may have taken the schema back, or restored the database, while it was watched.
        _must_be_there(run, ledger, window.migrated)
        return _told(record(ledger, run, MIGRATION_WATCHED, payload, number=window.number))
    try:
        record(ledger, run, MIGRATION_WATCH_FAILED, payload, number=window.number)
    except LedgerError as error:
        log.warning("how the watch ended is not recorded: %s", error)
    raise _failure(outcome)


def called_for(window: SchemaWindow, outcome: WatchOutcome) -> tuple[Matter, ...]:
    """What humans are called for: trouble while the watch goes on, and once that they have to decide."""
    if outcome.result == "PASSED":
        return ()
    if outcome.result == "NOTICE":
        return matters(window, outcome)
    return (Matter(f"schema:{window.number}", _what(outcome), outcome.sentence, _DECIDE),)


def _told(passed: Entry) -> dict[str, Any]:
    payload = passed.payload
    return {"watched": True, **{name: payload[name] for name in ("slot", "until", "sentence", "measures")}}


def _what(outcome: WatchOutcome) -> str:
    bad = any(state in ("DEGRADED", "ROLLBACK") for _, state, _ in outcome.findings)
    return _FAILS if outcome.result == "FIRED" or (outcome.result == "HELD" and bad) else _NOT_KNOWN


def _failure(outcome: WatchOutcome) -> FailsOnNewSchema:
    return FailsOnNewSchema(
        _what(outcome),
        expected="no rollback trigger broken, and everything known, for the whole window",
        seen=outcome.sentence,
        remedy=_DECIDE if outcome.result == "FIRED" else _AGAIN,
    )
