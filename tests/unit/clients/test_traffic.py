"""Moving the traffic in a world where answers get lost and others move things too."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, last_switch, release_id
from include.bluegreen.slots import active_slot
from include.bluegreen.state import PodState
from include.clients.kubernetes import Cluster
from include.clients.traffic import claim, point_preview, services, switch, switching
from include.errors import (
    ClusterUnreachable,
    NotEnoughEndpoints,
    PatchRefused,
    ReleaseFenced,
    TrafficServiceMissing,
    UnknownSelector,
    VerificationFailed,
)
from tests.unit.bluegreen.model import START, TRAFFIC, apply_patch, preview, service


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(switching, "_PAUSE_SECONDS", 0.001)


class World(Cluster):
    """Two Services in memory. ``before_patch`` and ``after_patch`` are what others do just then."""

    def __init__(self, state, *, ready=3):
        self.namespace = "production"
        self.state = state
        self.preview = preview("green")
        self.ready = ready
        self.patches = 0
        self.before_patch = []
        self.after_patch = []
        self.reads_fail = 0

    async def service(self, name):
        await asyncio.sleep(0)
        if self.reads_fail:
            self.reads_fail -= 1
            raise ClusterUnreachable("no answer")
        return self.preview if name == TRAFFIC.preview_service else self.state

    async def patch_service(self, name, patch):
        await asyncio.sleep(0)
        self.patches += 1
        if self.before_patch:
            self.before_patch.pop(0)(self)
        if name == TRAFFIC.preview_service:
            self.preview = apply_patch(self.preview, patch)
            return self.preview
        self.state = patched = apply_patch(self.state, patch)
        if self.after_patch:
            self.after_patch.pop(0)(self)
        return patched

    async def pods(self, labels):
        return tuple(PodState(f"p{n}", f"u{n}", labels, "Running", True) for n in range(self.ready))

    def annotate(self, **annotations):
        self.state = replace(self.state, annotations={**self.state.annotations, **annotations})

    def select(self, selector):
        self.state = replace(self.state, selector=selector)


def lost(world):
    raise ClusterUnreachable("the connection broke")


def refused(world):
    raise PatchRefused("a webhook says no")


def taken_over(world):
    world.annotate(**{RELEASE_ID: "r2"})


def go(world, target="green", **options):
    given = {"release_id": "r1", "by": "conductor", "reason": "cutover", "now": START, **options}
    return switch(world, TRAFFIC, target=target, **given)


async def test_forward_and_back():
    world = World(service("blue"))
    forward = await go(world)
    assert forward.changed
    assert (forward.at, forward.noticed, forward.page) == (START, (), False)
    assert active_slot(world.state, TRAFFIC) == "green"

    later = START + timedelta(minutes=5)
    back = await go(world, "blue", back=True, now=later, by="watch", reason="30 % errors", required=3)
    assert back.changed
    assert active_slot(world.state, TRAFFIC) == "blue"
    recorded = last_switch(world.state)
    assert recorded is not None
    assert (recorded.direction, recorded.by, recorded.at) == ("back", "watch", later)


async def test_it_is_there_already():
    world = World(service("green"))
    result = await go(world)
    assert not result.changed
    assert world.patches == 0


async def test_already_there_tells_when_it_was_moved():
    world = World(service("blue"))
    await go(world)
    again = await go(world, now=START + timedelta(hours=1))
    assert (again.changed, again.at) == (False, START)


@pytest.mark.parametrize("held_by", ["r2", None])
async def test_a_release_that_does_not_hold_the_service_moves_nothing(held_by):
    world = World(service("blue", held_by=held_by))
    with pytest.raises(ReleaseFenced, match=held_by or "no release id"):
        await go(world)
    assert world.patches == 0


async def test_another_release_claims_it_between_looking_and_switching():
    world = World(service("blue"))
    world.before_patch = [taken_over]
    with pytest.raises(ReleaseFenced, match="r2"):
        await go(world)
    assert active_slot(world.state, TRAFFIC) == "blue"
    assert world.patches == 1


async def test_somebody_changes_the_selector_between_looking_and_switching():
    world = World(service("blue"))
    world.before_patch = [lambda w: w.select({**w.state.selector, "debug": "yes"})]
    with pytest.raises(UnknownSelector, match="debug=yes"):
        await go(world)


async def test_somebody_moves_the_traffic_there_by_hand_in_between():
    world = World(service("blue"))
    world.before_patch = [lambda w: w.select(TRAFFIC.selector_for("green"))]
    result = await go(world)
    assert not result.changed
    assert "changed between looking and switching: selector from" in result.noticed[0]


async def test_a_change_by_hand_since_the_last_switch_is_noticed():
    world = World(service("blue"))
    await go(world)
    world.select(TRAFFIC.selector_for("blue"))
    result = await go(world, "blue", back=True)
    assert "was changed by hand since the last switch (to green" in result.noticed[0]


async def test_there_and_back_again_while_it_slept():
    """Its selector and its release id are as it saw them, and yet it must not go forward."""
    world = World(service("blue"))

    def there_and_back(w):
        w.before_patch = []
        switch_there = switching.switch_patch(
            w.state,
            selector=TRAFFIC.selector_for("green"),
            to="green",
            release_id="r1",
            by="twin",
            reason="cutover",
            now=START,
        )
        w.state = apply_patch(w.state, switch_there)
        switch_back = switching.switch_patch(
            w.state,
            selector=TRAFFIC.selector_for("blue"),
            to="blue",
            release_id="r1",
            by="watch",
            reason="errors",
            now=START,
            back=True,
        )
        w.state = apply_patch(w.state, switch_back)

    world.before_patch = [there_and_back]
    with pytest.raises(ReleaseFenced, match="switched back by watch"):
        await go(world)
    assert active_slot(world.state, TRAFFIC) == "blue"


async def test_a_release_is_cut_over_once():
    world = World(service("blue"))
    await go(world)
    await go(world, "blue", back=True)
    with pytest.raises(ReleaseFenced, match="cut over once"):
        await go(world)
    assert active_slot(world.state, TRAFFIC) == "blue"


async def test_an_answer_that_got_lost_after_the_switch():
    world = World(service("blue"))
    world.after_patch = [lost]
    result = await go(world)
    assert result.changed
    assert world.patches == 1
    assert any("the answer to the switch was lost" in sentence for sentence in result.noticed)


async def test_a_request_that_got_lost_before_the_switch():
    world = World(service("blue"))
    world.before_patch = [lost]
    result = await go(world)
    assert result.changed
    assert world.patches == 2


async def test_a_cluster_that_never_answers():
    world = World(service("blue"))
    world.before_patch = [lost] * 20
    with pytest.raises(ClusterUnreachable):
        await go(world)
    assert world.patches == switching.ATTEMPTS


async def test_another_process_of_the_release_was_faster_while_the_answer_got_lost():
    world = World(service("blue"))

    def twin_wins(w):
        patch = switching.switch_patch(
            w.state,
            selector=TRAFFIC.selector_for("green"),
            to="green",
            release_id="r1",
            by="twin",
            reason="cutover",
            now=START,
        )
        w.state = apply_patch(w.state, patch)
        raise ClusterUnreachable("lost")

    world.before_patch = [twin_wins]
    result = await go(world)
    assert not result.changed


async def test_a_change_that_is_refused_though_nothing_changed():
    world = World(service("blue"))
    world.before_patch = [refused] * 20
    with pytest.raises(PatchRefused, match="a webhook says no"):
        await go(world)
    assert world.patches == 1, "trying the same again would be refused again"


async def test_a_service_that_never_holds_still():
    world = World(service("blue"))
    ticks = iter(range(100))
    world.before_patch = [lambda w: w.annotate(**{LAST_SWITCH: f"unreadable {next(ticks)}"})] * 20
    with pytest.raises(PatchRefused):
        await go(world)
    assert world.patches == switching.ATTEMPTS


async def test_switched_and_changed_again_at_once():
    world = World(service("blue"))
    world.after_patch = [lambda w: w.select(TRAFFIC.selector_for("blue"))]
    with pytest.raises(VerificationFailed, match="changed again at once"):
        await go(world)


async def test_switched_and_taken_over_at_once():
    world = World(service("blue"))
    world.after_patch = [taken_over]
    with pytest.raises(ReleaseFenced):
        await go(world)


async def test_switched_and_gone_at_once():
    world = World(service("blue"))
    world.after_patch = [lambda w: setattr(w, "state", None)]
    with pytest.raises(TrafficServiceMissing):
        await go(world)


async def test_a_confirmed_switch_that_cannot_be_read_back_counts():
    world = World(service("blue"))
    world.after_patch = [lambda w: setattr(w, "reads_fail", 1)]
    result = await go(world)
    assert result.changed
    assert "could not be read back" in result.noticed[0]
    assert result.service.selector == TRAFFIC.selector_for("green")


async def test_going_back_to_nobody_moves_nothing():
    world = World(service("blue"))
    await go(world)
    world.ready = 0
    with pytest.raises(NotEnoughEndpoints):
        await go(world, "blue", back=True, required=3)
    assert active_slot(world.state, TRAFFIC) == "green"


async def test_going_back_to_too_few_is_done_and_paged():
    world = World(service("blue"))
    await go(world)
    world.ready = 1
    result = await go(world, "blue", back=True, required=3)
    assert result.changed
    assert result.page
    assert "1 ready endpoint(s) where 3 are required" in result.noticed[0]


async def test_no_service_and_no_selector():
    with pytest.raises(TrafficServiceMissing):
        await go(World(None))
    with pytest.raises(UnknownSelector):
        await go(World(replace(service("blue"), selector={})))


async def test_eight_at_once_of_two_releases_move_it_once():
    world = World(service("blue"))
    moves = [go(world, release_id=f"r{1 + n % 2}", now=START + timedelta(microseconds=n)) for n in range(8)]
    results = await asyncio.gather(*moves, return_exceptions=True)
    won = [result for result in results if isinstance(result, switching.SwitchResult) and result.changed]
    fenced = [result for result in results if isinstance(result, ReleaseFenced)]
    assert (len(won), len(fenced)) == (1, 4)
    assert all(isinstance(result, switching.SwitchResult | ReleaseFenced) for result in results)


async def test_times_survive_another_time_zone():
    from zoneinfo import ZoneInfo

    world = World(service("blue"))
    world.after_patch = [lost]
    now = datetime(2030, 7, 1, 14, 0, 0, 5, tzinfo=ZoneInfo("Europe/Berlin"))
    result = await go(world, now=now)
    assert result.changed
    assert result.at == now.astimezone(UTC)


async def test_claiming_a_free_service_and_claiming_it_again():
    world = World(service("blue", held_by=None))
    assert release_id(await claim(world, TRAFFIC, "r1")) == "r1"
    assert release_id(await claim(world, TRAFFIC, "r1")) == "r1"
    assert world.patches == 1


async def test_claiming_over_a_release_that_has_ended():
    world = World(service("blue", held_by="old"))
    assert release_id(await claim(world, TRAFFIC, "r1")) == "r1"


async def test_another_release_claims_first():
    world = World(service("blue", held_by="old"))
    world.before_patch = [taken_over]
    with pytest.raises(ReleaseFenced, match="r2"):
        await claim(world, TRAFFIC, "r1")
    assert release_id(world.state) == "r2"


async def test_a_claim_that_was_decided_about_an_older_service():
    world = World(service("blue", held_by="old"))
    observed = world.state
    taken_over(world)
    with pytest.raises(ReleaseFenced, match="r2"):
        await claim(world, TRAFFIC, "r1", observed=observed)


async def test_a_claim_survives_an_unrelated_change():
    world = World(service("blue", held_by="old"))
    world.before_patch = [lambda w: w.select(TRAFFIC.selector_for("green"))]
    assert release_id(await claim(world, TRAFFIC, "r1")) == "r1"


async def test_claiming_what_does_not_exist():
    with pytest.raises(TrafficServiceMissing):
        await claim(World(None), TRAFFIC, "r1")


async def test_the_preview_follows():
    world = World(service("blue"))
    assert dict((await point_preview(world, TRAFFIC, "blue")).selector) == TRAFFIC.selector_for("blue")
    assert world.patches == 1
    await point_preview(world, TRAFFIC, "blue")
    assert world.patches == 1


async def test_the_preview_is_set_whatever_it_selects():
    world = World(service("blue"))
    world.preview = replace(world.preview, selector={"something": "else"})
    await point_preview(world, TRAFFIC, "green")
    assert dict(world.preview.selector) == TRAFFIC.selector_for("green")


async def test_a_preview_that_is_missing_or_never_holds_still():
    world = World(service("blue"))
    world.before_patch = [refused] * 20
    with pytest.raises(PatchRefused):
        await point_preview(world, TRAFFIC, "blue")
    assert world.patches == services.ATTEMPTS
    world.preview = None
    with pytest.raises(TrafficServiceMissing, match="valeo-erp-preview"):
        await point_preview(world, TRAFFIC, "blue")
