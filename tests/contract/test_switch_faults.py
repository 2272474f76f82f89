"""An API server in trouble in the middle of a switch: a clear error or convergence, and one switch at most."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from include.bluegreen.fence import last_switch
from include.bluegreen.slots import Slot
from include.clients.kubernetes import Cluster
from include.clients.traffic import SwitchResult, claim, switch
from include.errors import ClusterUnreachable, PatchRefused, TrafficServiceMissing
from include.plan.models import Traffic
from tests.contract.api_faults import Fault, Faults, after_it_was_done, cuts, hangs, says, troubled
from tests.contract.support import Kubectl, service

TRAFFIC = Traffic(
    service="erp",
    preview_service="erp-preview",
    selector={"app": "erp"},
    slot_label="version",
    public_url="http://erp.example",
    preview_url="http://preview.example",
)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def client(kubectl: Kubectl, faults: Faults) -> AsyncIterator[Cluster]:
    """A client behind the proxy; the traffic is on blue and held by release r1."""
    kubectl("delete", "service", TRAFFIC.service, "--ignore-not-found")
    kubectl.apply(service(TRAFFIC.service, TRAFFIC.selector_for("blue")))
    async with troubled(kubectl.kubeconfig, kubectl.namespace, faults) as cluster:
        await claim(cluster, TRAFFIC, "r1")
        faults.served.clear()
        yield cluster


async def go(client: Cluster, target: Slot = "green") -> SwitchResult:
    now = datetime.now(UTC)
    return await switch(client, TRAFFIC, target=target, release_id="r1", by="test", reason="a fault", now=now)


def selector(kubectl: Kubectl) -> dict[str, str]:
    found: dict[str, str] = kubectl.get("service", TRAFFIC.service)["spec"]["selector"]
    return found


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(says(429, Retry_After="1"), id="429"),
        pytest.param(says(500), id="500"),
        pytest.param(says(503), id="503"),
        pytest.param(hangs, id="timeout"),
        pytest.param(cuts, id="cut"),
        pytest.param(after_it_was_done(says(500)), id="done-then-500"),
        pytest.param(after_it_was_done(hangs), id="done-then-timeout"),
        pytest.param(after_it_was_done(cuts), id="done-then-cut"),
    ],
)
async def test_trouble_while_switching_ends_in_exactly_one_switch(
    client: Cluster, kubectl: Kubectl, faults: Faults, fault: Fault
) -> None:
    faults.befall("PATCH", fault)
    result = await go(client)
    assert result.changed
    assert selector(kubectl) == TRAFFIC.selector_for("green")
    assert faults.changes() == 1
    recorded = last_switch(result.service)
    assert recorded is not None
    assert recorded.at == result.at


@pytest.mark.parametrize("fault", [says(500), hangs], ids=["500", "timeout"])
async def test_trouble_while_reading_back_does_not_undo_the_switch(
    client: Cluster, kubectl: Kubectl, faults: Faults, fault: Fault
) -> None:
    async def then_reading_fails(request, forward):
        faults.befall("GET", fault)
        return await forward()

    faults.befall("PATCH", then_reading_fails)
    result = await go(client)
    assert result.changed
    assert any("could not be read back" in sentence for sentence in result.noticed)
    assert selector(kubectl) == TRAFFIC.selector_for("green")


async def test_a_conflict_is_said_and_the_next_try_makes_the_switch(
    client: Cluster, kubectl: Kubectl, faults: Faults
) -> None:
    faults.befall("PATCH", says(409))
    with pytest.raises(PatchRefused, match="injected 409"):
        await go(client)
    assert selector(kubectl) == TRAFFIC.selector_for("blue")
    assert (await go(client)).changed
    assert faults.changes() == 1


async def test_a_server_that_stays_in_trouble_leaves_the_traffic_where_it_is(
    client: Cluster, kubectl: Kubectl, faults: Faults
) -> None:
    faults.befall("PATCH", *[says(503)] * 4)
    with pytest.raises(ClusterUnreachable, match="503"):
        await go(client)
    assert faults.changes() == 0
    assert selector(kubectl) == TRAFFIC.selector_for("blue")
    assert (await go(client)).changed


async def test_a_server_too_busy_for_too_long_is_an_error_that_says_so(
    client: Cluster, kubectl: Kubectl, faults: Faults
) -> None:
    faults.befall("PATCH", *[says(429, Retry_After="60")] * 4)
    with pytest.raises(ClusterUnreachable, match="429"):
        await go(client)
    assert selector(kubectl) == TRAFFIC.selector_for("blue")


async def test_a_service_deleted_between_looking_and_switching(
    client: Cluster, kubectl: Kubectl, faults: Faults
) -> None:
    async def deleted_meanwhile(request, forward):
        kubectl("delete", "service", TRAFFIC.service)
        return await forward()

    faults.befall("PATCH", deleted_meanwhile)
    with pytest.raises(TrafficServiceMissing):
        await go(client)
    with pytest.raises(TrafficServiceMissing):
        await go(client)


async def test_a_service_deleted_right_after_the_switch(client: Cluster, kubectl: Kubectl, faults: Faults) -> None:
    async def deleted_afterwards(request, forward):
        answer = await forward()
        kubectl("delete", "service", TRAFFIC.service)
        return answer

    faults.befall("PATCH", deleted_afterwards)
    with pytest.raises(TrafficServiceMissing):
        await go(client)
