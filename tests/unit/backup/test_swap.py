"""How a restore goes on: from every state of the server there is one next step, and killed anywhere it arrives."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.backup.loss import RestoreLoss
from include.backup.swap import Seen, Standing, Step, names, next_step
from include.database.facts import DatabaseIdentity
from include.errors import RestoreRefused

MARK = "0123456789"
NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def statement(name: str, **more: object) -> RestoreLoss:
    identity = DatabaseIdentity(system_identifier="1", name=name)
    facts: dict[str, object] = {
        "database": identity,
        "source": identity,
        "backup": "one",
        "backup_sha256": "0" * 64,
        "backup_at": NOW,
        "made_at": NOW,
        "target_missing": False,
        "readable": True,
        "tables": (),
        "revisions_then": {},
    }
    return RestoreLoss.model_validate({**facts, **more})


def acted(seen: Seen, step: Step) -> Seen:
    """What the server looks like after a step."""
    match step:
        case Step.DISCARD:
            return replace(seen, new=None)
        case Step.RESTORE:
            return replace(seen, new=Standing("verified", MARK))
        case Step.SWAP:
            kept = None if seen.target is None else Standing("replaced", MARK, open=False)
            return Seen(Standing("restored", MARK), None, kept)
        case Step.OPEN:
            assert seen.target is not None
            return replace(seen, target=replace(seen.target, open=True))
    return seen


# What killed attempts can leave of the new database and of the one to be replaced.
NEW = st.sampled_from([None, Standing(), Standing("restoring", MARK), Standing("verified", MARK)])
TARGET = st.sampled_from([Standing(), Standing("replacing", MARK, open=False), Standing("restored", "abc")])


@given(NEW, TARGET | st.none())
def test_from_whatever_a_killed_attempt_left_it_arrives(new: Standing | None, target: Standing | None) -> None:
    seen, steps = Seen(target, new, None), []
    while (step := next_step(seen, MARK, target_missing=target is None)) is not Step.DONE:
        steps.append(step)
        seen = acted(seen, step)
        # Once the names are exchanged, the statement's "missing" is history.
        assert len(steps) < 5
    assert seen.target == Standing("restored", MARK)
    assert steps[-1] is Step.SWAP


def test_a_new_database_that_is_not_proven_is_never_put_in_place() -> None:
    for new in (Standing(), Standing("restoring", MARK), Standing("verified", "abc")):
        assert next_step(Seen(Standing(), new, None), MARK, target_missing=False) is Step.DISCARD


def test_a_restored_database_that_lets_nobody_in_is_opened() -> None:
    closed = Seen(Standing("restored", MARK, open=False), None, None)
    assert next_step(closed, MARK, target_missing=False) is Step.OPEN


@pytest.mark.parametrize(
    ("seen", "missing", "told"),
    [
        (Seen(None, None, None), False, "has gone"),
        (Seen(Standing(), None, None), True, "has appeared"),
        (Seen(Standing(), None, Standing()), False, "is taken"),
    ],
)
def test_what_nothing_explains_is_refused(seen: Seen, missing: bool, told: str) -> None:
    with pytest.raises(RestoreRefused, match=told):
        next_step(seen, MARK, target_missing=missing)


@given(st.text(min_size=1, max_size=63).filter(lambda name: len(name.encode(errors="ignore")) <= 63))
def test_names_fit_and_differ(name: str) -> None:
    found = names(statement(name.encode(errors="ignore").decode()))
    for made in (found.new, found.kept):
        assert len(made.encode()) <= 63
    assert len({found.target, found.new, found.kept}) == 3


def test_the_kept_database_is_dated_and_the_same_for_every_attempt() -> None:
    found = names(statement("erp"))
    assert found.kept.startswith("erp_damaged_20260301_1230_")
    assert names(statement("erp")) == found
    long = "ü" * 31
    assert names(statement(long)).kept != names(statement("ü" * 30 + "o")).kept
    assert names(statement("erp", backup="two")).new != found.new
