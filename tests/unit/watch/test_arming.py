"""An armed watch: it begins with the switch, ends when there never will be one, and answers whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from include.bluegreen.fence import LAST_SWITCH, Direction, LastSwitch
from include.clients.kubernetes import Cluster
from include.errors import ClusterUnreachable, LedgerUnavailable
from include.plan.loader import load_plan, plan_folder
from include.watch import arming
from include.watch.arming import Post, cutover_of, ordered_early, until_cut_over, window_of
from include.watch.config import Armed
from include.watch.steer import ROLL_BACK, Answer

RELEASE = "3.0.0@production/r1"
AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def armed() -> Armed:
    return Armed(
        release_id=RELEASE,
        version="3.0.0",
        environment=load_plan(plan_folder()).environment("production"),
        source="blue",
        target="green",
    )


def service(release: str | None = None, direction: Direction = "forward") -> Any:
    annotations = {}
    if release:
        annotations[LAST_SWITCH] = LastSwitch("green", "x", "y", AT, release, direction).encode()
    return SimpleNamespace(annotations=annotations)


class Surroundings:
    """What each look at Service, Airflow and ledger gives, in turn; the last goes on for ever."""

    def __init__(self, services: Sequence[Any], states: Sequence[str | None] = (None,), **more: Any) -> None:
        self.services, self.states = list(services), list(states)
        self.ledger: Callable[[], bool] = more.get("ledger", lambda: True)
        self.answers = self.looks = 0
        self.time = 0.0

    async def service(self, name: str) -> Any:
        self.looks += 1
        found = self.services.pop(0) if len(self.services) > 1 else self.services[0]
        if isinstance(found, Exception):
            raise found
        return found

    async def answer(self) -> bool:
        self.answers += 1
        return self.ledger()

    async def state(self) -> str | None:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def now(self) -> float:
        self.time += 1.0
        return self.time

    async def wait(self) -> LastSwitch | None:
        return await until_cut_over(armed(), Post(cast(Cluster, self), self.answer, self.state, self.now))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_LOOK_SECONDS", "_IDLE_SECONDS"):
        monkeypatch.setattr(arming, name, 0.0)


async def test_it_begins_with_the_switch_and_has_answered_before() -> None:
    world = Surroundings([service(), service("other"), service(), service(RELEASE)])
    moved = await world.wait()
    assert moved is not None
    assert moved.at == AT
    assert world.answers > 0


async def test_a_switch_that_was_taken_back_meanwhile_is_a_cutover_too() -> None:
    moved = await Surroundings([service(RELEASE, "back")]).wait()
    assert moved is not None
    assert moved.direction == "back"


@pytest.mark.parametrize("state", ["failed", "upstream_failed", "skipped", "removed", "success"])
async def test_a_cutover_that_has_ended_and_moved_nothing_is_waited_for_no_longer(state: str) -> None:
    world = Surroundings([service()], [None, "running", "up_for_retry", state])
    assert await world.wait() is None
    assert not world.states[1:], "not before"


async def test_a_cutover_that_moved_the_traffic_and_then_ended_is_watched() -> None:
    world = Surroundings([service(), service(RELEASE)], ["running", "failed"])
    assert await world.wait() is not None


async def test_without_an_answer_of_the_cluster_nobody_says_that_nothing_was_moved() -> None:
    out = ClusterUnreachable("no answer")
    world = Surroundings([out, out, service(RELEASE)], ["failed"])
    assert await world.wait() is not None


async def test_a_missing_service_is_no_cutover() -> None:
    assert cutover_of(None, RELEASE) is None
    assert await Surroundings([None], ["failed"]).wait() is None


async def test_a_ledger_that_is_out_is_asked_again_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def out() -> bool:
        raise LedgerUnavailable("no answer")

    world = Surroundings([*[service()] * 4, service(RELEASE)], ledger=out)
    assert await world.wait() is not None
    assert world.answers > 1
    assert caplog.text.count("cannot be told") == 1, "told once"


def test_a_window_is_taken_for_its_own_watch_only() -> None:
    mine = armed()
    window = mine.window(1.0, 1.0, {}, may_switch_back=True)
    assert window_of(mine, window.dump()) == window
    assert window_of(mine.model_copy(update={"number": 1}), window.dump()) is None
    assert window_of(mine.model_copy(update={"release_id": "3.0.0@production/r2"}), window.dump()) is None
    for nonsense in (None, "", {}, mine.dump(), {**window.dump(), "deadline": "soon"}):
        assert window_of(mine, nonsense) is None


def test_an_order_travels_with_the_outcome() -> None:
    order = Answer(ROLL_BACK, "technical-lead", AT, "stop")
    assert Answer.of_facts(ordered_early(order, 1.0).measures) == order
