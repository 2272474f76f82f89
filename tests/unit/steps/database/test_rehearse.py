"""Which rehearsal is not done again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from include.steps.database import rehearse
from include.steps.database.entries import TRIED_OUT, note
from include.steps.database.look import rehearsal_digest
from include.steps.database.site import database_plan
from tests.unit.steps.database import worlds
from tests.unit.steps.database.worlds import a_ledger, a_run


class Anew(Exception):
    """A copy is about to be made."""


def tried_out(monkeypatch: pytest.MonkeyPatch, recorded: dict[str, Any], **plan: Any) -> Any:
    run, ledger = a_run(**plan), a_ledger()
    note(ledger, run, TRIED_OUT, {**worlds.TRIED, **recorded})
    backup = SimpleNamespace(payload={"backup": worlds.TRIED["backup"]})

    def anew(*_: object) -> None:
        raise Anew

    monkeypatch.setattr(rehearse, "proven", lambda *_: backup)
    monkeypatch.setattr(
        rehearse, "must_be_as_surveyed", lambda *_: SimpleNamespace(digest=worlds.SURVEYED["digest"])
    )
    monkeypatch.setattr(rehearse, "find_backup", anew)
    site = cast(Any, SimpleNamespace(plan=database_plan(run), store=None))
    return rehearse._tried_out(run, site, ledger, cast(Any, None), rehearse.Trying())


SUITE: dict[str, Any] = {"old_version": {"program": ["/srv/smoke"]}}
WITH_SUITE = {"plan": rehearsal_digest(database_plan(a_run(rehearsal=SUITE)))}


def test_what_was_rehearsed_just_so_is_not_rehearsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tried_out(monkeypatch, {}).payload["id"] == worlds.TRIED["id"]
    assert tried_out(monkeypatch, WITH_SUITE, rehearsal=SUITE).payload["id"] == worlds.TRIED["id"]


@pytest.mark.parametrize(
    ("recorded", "plan"),
    [
        ({}, {"rehearsal": SUITE}),
        ({}, {"migration": {"way_back_needed": False}}),
        (WITH_SUITE, {"rehearsal": {"old_version": {"program": ["/srv/smoke"], "timeout_seconds": 60}}}),
        (WITH_SUITE, {}),
        ({**WITH_SUITE, "old_version": {"proven": False}}, {"rehearsal": SUITE}),
        ({"previous": "2.8.0"}, {}),
    ],
)
def test_what_was_rehearsed_in_another_way_or_proved_nothing_is(
    monkeypatch: pytest.MonkeyPatch, recorded: dict[str, Any], plan: dict[str, Any]
) -> None:
    with pytest.raises(Anew):
        tried_out(monkeypatch, recorded, **plan)
