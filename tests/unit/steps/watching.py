"""A release that has cut over, in a ledger of memory: what the tests of the watch's steps begin with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.steps.arming import begin_watch
from include.steps.record import CUT_OVER, STARTED, VERIFIED, record
from include.steps.run import ReleaseRun, open_run
from include.watch.config import WatchConfig
from include.watch.steer import Answer
from tests.memory import MemoryLedger

CUTOVER = datetime(2026, 1, 1, 12, tzinfo=UTC)


def release_run(run_id: str = "r1", phase: str = "production-blue-green", user: str = "manager") -> ReleaseRun:
    return open_run(
        load_plan(plan_folder()),
        release="3.0.0",
        environment="production",
        phase=phase,
        run_id=run_id,
        triggered_by=user,
    )


def cut_over_ledger(run: ReleaseRun) -> tuple[Ledger, MemoryLedger]:
    """The ledger, and the same as what it holds."""
    memory = MemoryLedger()
    ledger = cast(Ledger, memory)
    verified(ledger, run)
    record(ledger, run, CUT_OVER, {"automatic_switch_back": True, "at": CUTOVER.isoformat()})
    return ledger, memory


def verified(ledger: Ledger, run: ReleaseRun) -> None:
    """A release that may cut over."""
    record(ledger, run, STARTED, {"from": "blue", "to": "green"})
    record(ledger, run, VERIFIED, {})


def begun(run: ReleaseRun, ledger: Ledger) -> WatchConfig:
    config = begin_watch(run, ledger)
    assert isinstance(config, WatchConfig)
    return config


def answer(choice: str, *, user: str = "technical-lead", after: float = 60.0, **fields: str) -> Answer:
    at = datetime.fromtimestamp(CUTOVER.timestamp() + after, UTC)
    return replace(Answer(choice, user, at), **fields)
