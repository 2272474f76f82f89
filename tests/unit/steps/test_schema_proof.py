from __future__ import annotations

from typing import cast

import pytest

from include.errors import LedgerUnavailable
from include.ledger.entry import NewEntry
from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.steps.run import open_run
from include.steps.schema_proof import MIGRATED, REHEARSED, schema_proof, schema_proof_if_any
from tests.memory import MemoryLedger

RUN = open_run(
    load_plan(plan_folder()),
    release="3.0.0",
    environment="production",
    phase="production-blue-green",
    run_id="r1",
    triggered_by="rm",
)


def a_ledger(*entries: tuple[str, str, str]) -> Ledger:
    memory = MemoryLedger()
    for kind, release, environment in entries:
        memory.append(NewEntry(kind, release, environment, "any", "stellwerk"))
    return cast("Ledger", memory)


OURS = ("3.0.0", "production")


@pytest.mark.parametrize(
    ("entries", "proof"),
    [
        ([], "unchanged"),
        ([(REHEARSED, *OURS)], "unchanged"),
        ([(MIGRATED, *OURS)], "unproven"),
        ([(MIGRATED, *OURS), (REHEARSED, *OURS)], "rehearsed"),
        ([(REHEARSED, *OURS), (MIGRATED, *OURS)], "rehearsed"),
        ([(MIGRATED, "3.0.0", "staging")], "unchanged"),
        ([(MIGRATED, "2.9.0", "production")], "unchanged"),
        ([(MIGRATED, *OURS), (REHEARSED, "3.0.0", "staging")], "unproven"),
    ],
)
def test_the_proof_is_what_this_releases_entries_of_this_environment_say(entries, proof) -> None:
    assert schema_proof(RUN, a_ledger(*entries)) == proof
    assert schema_proof_if_any(RUN, lambda: a_ledger(*entries)) == proof


def test_going_back_waits_for_no_ledger() -> None:
    def out() -> Ledger:
        raise LedgerUnavailable("the database gives no answer")

    assert schema_proof_if_any(RUN, out) == "unknown"
