"""On whose authority staging is changed: the plan's own, recorded before anything acts (docs/adr/0015)."""

from __future__ import annotations

import logging
from typing import Any

from include.errors import ApprovalMissing
from include.ledger.grants import grant
from include.ledger.store import Ledger
from include.steps.record import require_approval
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)


def authorise(run: ReleaseRun, ledger: Ledger) -> dict[str, Any]:
    """Record that the plan lets this phase act, for what the run's fingerprint stands for now.

    :param run: with the fingerprint of what is about to happen
    :return: ``fingerprint`` and ``rule``
    :raises ApprovalMissing: the plan does not say so, or the environment is production
    :raises LedgerUnavailable: it cannot be recorded
    """
    environment = run.environment
    file = f"environments/{environment.name}.yaml"
    if environment.gate.automatic != run.phase:
        raise ApprovalMissing(
            f"{run.phase} may not act in {environment.name} without people",
            expected=f"gate.automatic: {run.phase} in {file}",
            seen=f"gate.automatic: {environment.gate.automatic or 'nothing'}",
            remedy=f"add it to {file} if it is staging; production is migrated and released by its own DAGs",
        )
    rule = f"gate.automatic of {file}"
    ledger.append(
        grant(
            phase=run.phase,
            rule=rule,
            fingerprint=run.fingerprint,
            release=run.release.version,
            environment=environment.name,
            run_id=run.run_id,
            actor=run.triggered_by or "release-calendar",
            born=run.born,
        )
    )
    require_approval(ledger, run)
    log.info("%s lets %s act, for fingerprint %s", rule, run.phase, run.fingerprint)
    return {"fingerprint": run.fingerprint, "rule": rule}
