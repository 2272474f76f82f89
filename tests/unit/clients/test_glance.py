"""Who looks at the same thing at the same time asks once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from include.bluegreen.state import PodState, ServiceState
from include.clients.kubernetes import Glance, fresh
from include.errors import ClusterUnreachable
from tests.unit.watch.worlds import Erp


class Counted(Erp):
    asked = 0
    services = 0

    async def service(self, name: str) -> ServiceState:
        self.services += 1
        return await super().service(name)

    async def pods(self, labels: Mapping[str, str]) -> tuple[PodState, ...]:
        self.asked += 1
        return await super().pods(labels)


def glance(erp: Erp) -> Glance:
    erp._transport = None  # type: ignore[assignment]  # nothing goes over the network
    return Glance(erp)


async def test_two_at_once_ask_once_and_a_third_later_asks_again() -> None:
    erp = Counted()
    looking = glance(erp)
    one, two = await asyncio.gather(looking.pods({"app": "x"}), looking.pods({"app": "x"}))
    assert (one, erp.asked) == (two, 1)
    await looking.pods({"app": "y"})
    assert erp.asked == 2
    await asyncio.sleep(0.35)
    await looking.pods({"app": "x"})
    assert erp.asked == 3


async def test_a_service_is_asked_for_once_by_all_who_look() -> None:
    erp = Counted()
    looking = glance(erp)
    one, two = await asyncio.gather(looking.service("valeo-erp"), looking.service("valeo-erp"))
    assert (one, erp.services) == (two, 1)
    await fresh(looking).service("valeo-erp")
    assert erp.services == 2


async def test_who_gives_up_takes_the_answer_from_nobody() -> None:
    looking = glance(Counted())
    first, second = (asyncio.create_task(looking.pods({"app": "x"})) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert len(await second) == 3


async def test_no_answer_is_no_answer_for_all() -> None:
    looking = glance(Counted(unreachable=True))
    with pytest.raises(ClusterUnreachable):
        await looking.pods({"app": "x"})


def test_who_changes_something_takes_the_cluster_itself() -> None:
    erp = Erp()
    assert fresh(glance(erp)) is erp
    assert fresh(erp) is erp
