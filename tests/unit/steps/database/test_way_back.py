"""The way back: what has to be so before anything goes down; how it goes is for the contract tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.database.facts import DatabaseIdentity
from include.errors import LossNotConfirmed, MigrationBlocked, MigrationInterrupted, MigrationRefused
from include.ledger.entry import Entry
from include.migration.way_back import Loss, WayBackLoss
from include.steps.database import way_back
from include.steps.database.confirm import confirm, confirmation, refuse
from include.steps.database.entries import newest
from include.steps.database.rest import Rest
from include.steps.database.schemas import Schemas
from include.steps.database.way_back import state_way_back, take_back
from include.steps.record import CUTOVER_INTENDED, all_recorded, record, recorded
from include.steps.schema_course import (
    MIGRATED,
    MIGRATION_INTENDED,
    TAKEN_BACK,
    WAY_BACK_INTENDED,
    WAY_BACK_LEFT,
)
from include.steps.schema_proof import schema_proof
from tests.unit.steps.database.worlds import a_hotfix, a_ledger, a_run

RUN = a_run("r1")
SITE = cast(Any, SimpleNamespace(database=None, store=None, tree=None))
ERP = DatabaseIdentity(system_identifier="7", name="erp")


class World:
    """A migration that has ended, and what going back from it would lose."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger = a_ledger()
        self.losses: tuple[Loss, ...] = ()
        self.revisions, self.fingerprint = ["c"], "new"
        self.permits: list[Callable[[], object]] = []
        self.meanwhile: Callable[[], object] = lambda: None
        payload: dict[str, Any] = {"system": "7", "database": "erp", "current": ["b"], "target": ["c"], "env": "e"}
        payload["schemas"] = {"folder": "f"}
        self.began = record(self.ledger, RUN, MIGRATION_INTENDED, payload)
        record(self.ledger, RUN, MIGRATED, {"revisions": ["c"]})
        monkeypatch.setattr(way_back, "_surveyed", self.surveyed)
        monkeypatch.setattr(way_back, "found_at_rest", self.at_rest)
        monkeypatch.setattr(way_back, "connection", lambda _: nullcontext())
        monkeypatch.setattr(way_back, "state", lambda _: None)
        monkeypatch.setattr(way_back, "the_table", lambda *_: SimpleNamespace(revisions=self.revisions))
        monkeypatch.setattr(way_back, "described", lambda *_: {})
        monkeypatch.setattr(way_back, "job_of", self.job_of)
        monkeypatch.setattr(way_back, "kept_schemas", lambda _, reference: Schemas(reference.get("of"), None))  # type: ignore[arg-type]
        monkeypatch.setattr(way_back, "keep_schemas", lambda *given: {"of": given[3].fingerprint})
        monkeypatch.setattr(way_back, "Migration", self.migration)

    def surveyed(self, *_: object) -> Any:
        statement = WayBackLoss(ERP, frozenset(self.revisions), frozenset("b"), self.losses)
        before = SimpleNamespace(fingerprint=self.fingerprint)
        return SimpleNamespace(statement=statement, plan=(), graph=None, before=before, rendered=())

    @contextmanager
    def at_rest(self, *_: object) -> Iterator[Rest]:
        yield Rest(self.revisions, self.fingerprint)

    def job_of(self, *_: object, before: object, **__: object) -> Any:
        self.before = before
        return None, None

    def migration(self, *_: object, permit: Callable[[], object]) -> Any:
        def run() -> Any:
            self.meanwhile()
            permit()
            return SimpleNamespace(record=lambda: {"state": "target"})

        return SimpleNamespace(run=run)

    def confirm(self) -> None:
        stated = state_way_back(RUN, SITE, self.ledger)
        said = {"digest": stated["digest"], "by": "anna", "reason": "the outage is worse"}
        confirm(self.ledger, RUN, said, at=datetime.now(UTC))

    def refuse(self, by: str = "bo") -> None:
        why = f"{by} said Keep" if by else "no answer: timeout"
        refuse(self.ledger, RUN, {"by": by, "why": why}, at=datetime.now(UTC))

    def cut_over(self) -> Entry:
        return record(self.ledger, a_run("release"), CUTOVER_INTENDED, {})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.parametrize("losses", [(), (Loss("table", "notes", "", "c: DROP TABLE notes", 3),)])
def test_nothing_goes_down_without_somebodys_word_in_the_ledger(world: World, losses: tuple[Loss, ...]) -> None:
    world.losses = losses
    state_way_back(RUN, SITE, world.ledger)
    with pytest.raises(LossNotConfirmed, match="nobody has confirmed it"):
        take_back(RUN, SITE, world.ledger)
    assert newest(world.ledger, RUN, WAY_BACK_INTENDED) is None
    world.confirm()
    assert take_back(RUN, SITE, world.ledger)["needed"]
    assert recorded(world.ledger, RUN, TAKEN_BACK) is not None


def test_a_way_back_that_may_have_changed_rows_is_not_said_to_have_changed_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(way_back, "described", lambda *_: {"plan": [["c", False]], "unseen": ["c"]})

    def stopped(*_: object, permit: Callable[[], object]) -> Any:
        def run() -> Any:
            permit()
            raise MigrationInterrupted("the process was killed")

        return SimpleNamespace(run=run)

    monkeypatch.setattr(way_back, "Migration", stopped)
    world.confirm()
    with pytest.raises(MigrationInterrupted):
        take_back(RUN, SITE, world.ledger)
    state_way_back(RUN, SITE, world.ledger)
    assert recorded(world.ledger, RUN, WAY_BACK_LEFT) is None
    assert schema_proof(RUN, world.ledger) == "unproven"
    monkeypatch.setattr(way_back, "Migration", world.migration)
    assert take_back(RUN, SITE, world.ledger)["needed"], "it goes on"


def test_under_another_releases_migration_nothing_is_stated_and_nothing_goes_down(world: World) -> None:
    world.confirm()
    record(world.ledger, a_hotfix(), MIGRATION_INTENDED, {})
    for step in (state_way_back, take_back):
        with pytest.raises(MigrationRefused, match="has migrated on top of"):
            step(RUN, SITE, world.ledger)
    assert newest(world.ledger, RUN, WAY_BACK_INTENDED) is None


def test_under_a_version_that_was_cut_over_since_nothing_is_stated_and_nothing_goes_down(world: World) -> None:
    world.confirm()
    world.cut_over()
    for step in (state_way_back, take_back):
        with pytest.raises(MigrationRefused, match="under a version that users are on"):
            step(RUN, SITE, world.ledger)
    assert newest(world.ledger, RUN, WAY_BACK_INTENDED) is None


def test_a_cutover_between_the_intent_and_an_attempt_is_seen(world: World) -> None:
    world.confirm()
    world.meanwhile = world.cut_over
    with pytest.raises(MigrationRefused, match="under a version that users are on"):
        take_back(RUN, SITE, world.ledger)
    assert recorded(world.ledger, RUN, TAKEN_BACK) is None


def blocked() -> None:
    raise MigrationBlocked("no lock was to be had")


@pytest.mark.parametrize("by", ["bo", ""])
@pytest.mark.parametrize("half_way", [True, False])
def test_the_last_answer_counts_and_a_yes_after_a_no_is_a_yes(world: World, *, by: str, half_way: bool) -> None:
    world.confirm()
    world.meanwhile = blocked
    with pytest.raises(MigrationBlocked):
        take_back(RUN, SITE, world.ledger)
    world.meanwhile = lambda: None
    if half_way:
        world.revisions = ["half-way"]
    stated = state_way_back(RUN, SITE, world.ledger)
    world.refuse(by)
    with pytest.raises(LossNotConfirmed, match=r"the schema is kept.*(bo said Keep|no answer)"):
        take_back(RUN, SITE, world.ledger)
    assert confirmation(world.ledger, RUN, stated["digest"]) is None
    assert recorded(world.ledger, RUN, TAKEN_BACK) is None
    world.confirm()
    take_back(RUN, SITE, world.ledger)
    assert recorded(world.ledger, RUN, TAKEN_BACK) is not None


@given(st.lists(st.tuples(st.sampled_from(["anna", "bo"]), st.booleans())))
def test_whoever_said_what_before_the_last_answer_counts(answers: list[tuple[str, bool]]) -> None:
    ledger = a_ledger()
    for hour, (by, yes) in enumerate(answers):
        at = datetime(2030, 5, 1, tzinfo=UTC) + timedelta(hours=hour)
        if yes:
            confirm(ledger, RUN, {"digest": "d", "by": by, "reason": "the outage is worse"}, at=at)
        else:
            refuse(ledger, RUN, {"digest": "d", "by": by, "why": f"{by} said Keep"}, at=at)
    given = confirmation(ledger, RUN, "d")
    last, wanted = answers[-1] if answers else ("", False)
    assert (given.by if given else None) == (last if wanted else None)


def test_a_no_between_two_attempts_ends_the_way_back(world: World) -> None:
    world.confirm()
    world.meanwhile = world.refuse
    with pytest.raises(LossNotConfirmed, match="bo said Keep"):
        take_back(RUN, SITE, world.ledger)
    assert recorded(world.ledger, RUN, TAKEN_BACK) is None


def test_a_way_back_that_changed_nothing_is_recorded_when_it_is_asked_about_again(world: World) -> None:
    world.confirm()
    world.meanwhile = blocked
    with pytest.raises(MigrationBlocked):
        take_back(RUN, SITE, world.ledger)
    world.fingerprint = "half-way"
    state_way_back(RUN, SITE, world.ledger)
    assert recorded(world.ledger, RUN, WAY_BACK_LEFT) is None
    world.fingerprint = "new"
    state_way_back(RUN, SITE, world.ledger)
    assert recorded(world.ledger, RUN, WAY_BACK_LEFT) is not None
    world.meanwhile = lambda: None
    take_back(RUN, SITE, world.ledger)
    assert len(all_recorded(world.ledger, RUN, WAY_BACK_INTENDED)) == 2
    assert schema_proof(RUN, world.ledger) == "unchanged"


def test_after_a_migration_that_began_since_it_is_decided_again(world: World) -> None:
    world.losses = (Loss("table", "notes", "", "c: DROP TABLE notes", 3),)
    world.confirm()
    world.meanwhile = blocked
    with pytest.raises(MigrationBlocked):
        take_back(RUN, SITE, world.ledger)
    world.meanwhile = lambda: None
    record(world.ledger, a_run("r2"), MIGRATION_INTENDED, {"current": ["c"]})
    world.losses = (*world.losses, Loss("table", "more", "", "d: DROP TABLE more", 1))
    with pytest.raises(LossNotConfirmed, match="more than what anna has confirmed"):
        take_back(RUN, SITE, world.ledger)


@pytest.mark.parametrize("gone", [True, False])
def test_what_is_lost_is_counted_again_by_every_try_before_anything_is_gone(world: World, gone: bool) -> None:
    world.losses = (Loss("table", "notes", "", "c: DROP TABLE notes", 1270),)
    world.confirm()
    world.meanwhile = blocked
    with pytest.raises(MigrationBlocked):
        take_back(RUN, SITE, world.ledger)
    world.meanwhile = lambda: None
    world.losses = (Loss("table", "notes", "", "c: DROP TABLE notes", 200_000),)  # a day later
    if gone:
        world.revisions = ["half-way"]
        assert take_back(RUN, SITE, world.ledger)["needed"], "what is half-way is brought to its end"
    else:
        with pytest.raises(LossNotConfirmed, match=r"confirmed: 200000 .* rows of notes"):
            take_back(RUN, SITE, world.ledger)


def test_a_way_back_is_held_against_the_schema_that_it_began_with(world: World) -> None:
    world.confirm()
    world.meanwhile = blocked
    with pytest.raises(MigrationBlocked):
        take_back(RUN, SITE, world.ledger)
    assert world.before == "new"
    world.fingerprint = "an index is gone"  # by a statement outside of a transaction, or by somebody
    with pytest.raises(MigrationBlocked):
        take_back(RUN, SITE, world.ledger)
    assert world.before == "new", "which is told, and refused"
    state_way_back(RUN, SITE, world.ledger)  # a human is shown what is so now
    world.meanwhile = lambda: None
    take_back(RUN, SITE, world.ledger)
    assert world.before == "an index is gone"
