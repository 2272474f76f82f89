"""The T-3 mail tells what comes and how it did in staging, once, and nothing without a rehearsal."""

from __future__ import annotations

import pytest

from include.errors import TrafficError
from include.messages.model import Message
from include.steps.announce import announce
from include.steps.record import record
from include.steps.staging.entries import REHEARSAL_COMPLETED
from tests.unit.steps.staging.rehearsals import a_ledger, a_run

TOLD = {
    "result": "passed",
    "fingerprint": "0123456789abcdef" * 4,
    "findings": [{"severity": "minor", "text": "Schrift ist klein"}],
    "links": [{"title": "evidence", "url": "https://reports.example/evidence.zip"}],
    "evidence": {},
}


def test_it_has_the_result_and_where_to_read_more() -> None:
    run, ledger, sent = a_run(), a_ledger(), list[Message]()
    record(ledger, run, REHEARSAL_COMPLETED, TOLD)
    for _ in range(2):
        announce(run, "announcement", ledger, {"mail": sent.append, "slack": sent.append})
    [mail] = sent
    assert "3.0.0" in mail.subject
    for said in ("0123456789ab", "Schrift ist klein", "https://reports.example/evidence.zip", "15.01.2099"):
        assert said in mail.text


def test_without_a_rehearsal_there_is_nothing_to_announce() -> None:
    with pytest.raises(TrafficError, match="rehearsal-completed"):
        announce(a_run(), "announcement", a_ledger(), {})
