"""Call people from a task: over the environment's connections, and whatever the ledger says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from include.steps.page import Matter
    from include.steps.run import ReleaseRun
    from stellwerk.operators.base import StellwerkOperator


def call_people(task: StellwerkOperator, run: ReleaseRun, matters: Iterable[Matter]) -> None:
    """Call people about each matter: once, and within seconds; it never raises."""
    from include.steps.page import page
    from stellwerk.notifiers.transport import transports

    called = tuple(matters)
    if not called:
        return
    connections = run.environment.connections
    try:
        ledger = task.ledger(run)
    except LedgerError as error:
        task.log.warning("%s", error)
        ledger = None
    for matter in called:
        page(run, ledger, matter, transports(connections.slack, connections.smtp))
