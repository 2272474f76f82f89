"""A rehearsal whose every part is in the ledger."""

from __future__ import annotations

from typing import Any

from include.ledger.store import Ledger
from include.steps.database.entries import BACKUP_PROVEN, MIGRATION_VERIFIED, TRIED_OUT
from include.steps.record import CUT_OVER, RELEASED, STARTED, record
from include.steps.run import ReleaseRun
from include.steps.staging.entries import LOAD_MEASURED, SERVED, UAT_CONCLUDED, URLS_VERIFIED
from tests.unit.steps.staging.rehearsals import deployed

TRIED: dict[str, Any] = {"id": "t1", "up": {}, "old_version": {"proven": True}, "way_back": {"proven": True}}
SHOWN: dict[str, dict[str, Any]] = {
    BACKUP_PROVEN: {"backup": "b1", "level": "restore", "purpose": "safety", "sha256": "x"},
    TRIED_OUT: TRIED,
    MIGRATION_VERIFIED: {"revisions": ["c"], "fingerprint": "f", "tables": ["a"]},
    CUT_OVER: {"from": "blue", "to": "green", "at": "2026-01-12T09:00:00+00:00"},
    SERVED: {
        "ok": True,
        "problem": "",
        "slot": "green",
        "by": "3.0.0__staging-deploy",
        "images": ["valeo-erp:3.0.0"],
        "contents": ["sha256:a"],
    },
    URLS_VERIFIED: {"ok": True, "results": ["frontend: fine"], "failed": []},
    RELEASED: {"slot": "green", "checks": ["alive: fine"]},
    LOAD_MEASURED: {"result": "PASSED", "reasons": [], "figures": {"requests": 9}, "artefacts": []},
    UAT_CONCLUDED: {"result": "passed", "reasons": [], "findings": [], "silent": []},
}


def show(ledger: Ledger, run: ReleaseRun, *, without: str = "", **changes: dict[str, Any]) -> None:
    """Record every part of a rehearsal.

    :param without: the kind of entry that is missing
    :param changes: kind, with ``_`` for ``.`` and ``-`` → what is different in its payload
    """
    record(ledger, run, STARTED, {"from": "blue", "to": "green"})
    deployed(ledger, run)
    for number, (kind, payload) in enumerate(SHOWN.items()):
        if kind != without:
            changed = changes.get(kind.replace(".", "_").replace("-", "_"), {})
            record(ledger, run, kind, {**payload, **changed}, number=f"{number}:{len(ledger.entries())}")
