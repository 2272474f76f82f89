"""When the database and its backups are looked at, and when nobody waits for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest

from include.bluegreen.eligibility import Candidate, Restorable, SchemaProof, WayBack, rollback_options
from include.bluegreen.fence import LastSwitch
from include.bluegreen.state import ServiceState
from include.errors import NotEnoughEndpoints, RollbackBlocked
from include.steps import rollback_choice
from include.steps.rollback_choice import DatabaseSide, Held, Situation, choose
from tests.unit.steps.applications import HOLDER
from tests.unit.steps.database.worlds import a_run

RUN = a_run()
BACKUP = Restorable(usable=True, reason="backup b1 is verified")
BACK = Candidate(usable=True, reason="revision 3 is brought back", revision=3)


class World:
    """A release that was cut over, with an old slot in some state."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.way = WayBack("unchanged", ready=3, required=3, candidate=BACK)
        self.direction: Literal["forward", "back"] = "forward"
        self.looked = 0
        monkeypatch.setattr(rollback_choice, "held", self._held)
        monkeypatch.setattr(rollback_choice, "assess", self._assess)

    async def _held(self, *_: object) -> Held:
        to: Any = "green" if self.direction == "forward" else "blue"
        moved = LastSwitch(to, "watch", "why", datetime(2030, 5, 1, tzinfo=UTC), HOLDER, self.direction)
        return Held(ServiceState("valeo-erp", RUN.environment.traffic.selector_for(to)), HOLDER, moved)

    async def _assess(self, *arguments: Any, rehearsal: str) -> Situation:
        way = replace(self.way, schema=arguments[3], rehearsal=rehearsal)
        return Situation(arguments[4], way, rollback_options(way))

    def _look(self) -> Restorable:
        self.looked += 1
        return BACKUP

    async def choose(self, wanted: str, schema: SchemaProof = "unchanged", rehearsal: str = "") -> dict[str, Any]:
        nothing = cast(Any, SimpleNamespace())
        return await choose(RUN, nothing, None, schema, wanted, DatabaseSide(rehearsal, self._look))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.parametrize("schema", ["unchanged", "rehearsed", "unknown"])
@pytest.mark.parametrize("wanted", ["auto", "blue-cutover", "helm-rollback"])
async def test_who_can_go_back_without_a_restore_waits_for_no_database(
    world: World, schema: SchemaProof, wanted: str
) -> None:
    assert (await world.choose(wanted, schema))["option"] == "blue-cutover"
    world.way = replace(world.way, ready=0)
    if wanted != "blue-cutover":
        assert (await world.choose(wanted, schema))["option"] == "helm-rollback"
    assert world.looked == 0


async def test_the_proof_is_named_in_the_reason(world: World) -> None:
    done = await world.choose("auto", "rehearsed", "0123456789abcdef")
    assert "by rehearsal 0123456789abcdef" in done["options"]["blue-cutover"][1]


@pytest.mark.parametrize("direction", ["forward", "back"])
async def test_a_full_restore_is_looked_for_where_it_is_asked_for(
    world: World, direction: Literal["forward", "back"]
) -> None:
    """Also after a switch back, which has not mended the data."""
    world.direction = direction
    done = await world.choose("full-restore", "rehearsed")
    assert (done["option"], done["done"], done["slot"], world.looked) == ("full-restore", False, "blue", 1)


async def test_where_nothing_else_is_possible_it_is_named_and_not_taken(world: World) -> None:
    with pytest.raises(RollbackBlocked, match="only full-restore is") as blocked:
        await world.choose("auto", "unproven")
    assert world.looked == 1
    assert "backup b1 is verified" in blocked.value.remedy


async def test_a_ledger_that_is_out_leaves_the_backup_alone(world: World) -> None:
    world.way = replace(world.way, ready=0, candidate=None)
    with pytest.raises(NotEnoughEndpoints):
        await world.choose("full-restore", "unknown")
    assert world.looked == 0
