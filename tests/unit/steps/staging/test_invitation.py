"""Key users are told once for each asking, and a dead Slack is in nobody's way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from include.errors import MessageError
from include.steps.staging.invitation import invite
from tests.unit.steps.staging.rehearsals import a_ledger, a_run

T = datetime(2026, 1, 12, 12, 0, tzinfo=UTC)


def test_each_asking_is_told_once() -> None:
    run, ledger, sent = a_run(), a_ledger(), []
    send: Any = {"slack": lambda message: sent.append(message.text)}
    for _ in range(2):
        invite(run, ledger, "anna", T, send)
        invite(run, ledger, "anna", T, send, "say why")
        invite(run, ledger, "anna", T, send, reminder=True)
    assert len(sent) == 3
    assert "say why" in sent[1]


def test_a_dead_slack_is_in_nobodys_way() -> None:
    def dead(message: Any) -> None:
        raise MessageError("Slack gives no answer")

    send: Any = {"slack": dead}
    assert not invite(a_run(), a_ledger(), "anna", T, send)
