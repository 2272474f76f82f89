"""Whether the release is in staging already: only what the ledger has proven, unchanged, counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, LastSwitch
from include.bluegreen.state import PodState, ServiceState
from include.errors import EvidenceError
from include.plan.slots import Slot
from include.steps.record import RELEASED, STARTED, record
from include.steps.staging.entries import DEPLOYED_ALREADY
from include.steps.staging.standing import Seen, look, missing
from tests.unit.steps.staging.rehearsals import a_ledger, a_run, deployed, with_another_chart

EARLIER = a_run("earlier")
IMAGE = EARLIER.release.image.reference
NOW = datetime(2026, 1, 12, tzinfo=UTC)


def a_past(*, released: bool = True, slot: Slot = "green") -> Any:
    ledger = a_ledger()
    record(ledger, EARLIER, STARTED, {"from": "blue", "to": slot, "fingerprint": EARLIER.fingerprint})
    deployed(ledger, EARLIER, slot)
    if released:
        record(ledger, EARLIER, RELEASED, {"slot": slot, "checks": []})
    return ledger


def seen(**changes: Any) -> Seen:
    ledger = changes.pop("ledger", None) or a_past()
    there = Seen(EARLIER.release_id, "green", frozenset({IMAGE}), ledger.entries(run_id="earlier"))
    return replace(there, **changes)


def test_what_is_there_and_proven_is_not_deployed_again() -> None:
    assert missing(a_run(), seen()) == ""


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (seen(holder=None), "no release has brought there"),
        (seen(holder="2.9.0@staging/x"), "the traffic is on 2.9.0@staging/x"),
        (seen(holder="3.0.0@production/earlier"), "the traffic is on 3.0.0@production"),
        (seen(told=()), "no proof that it works"),
        (seen(ledger=a_past(released=False)), "no proof that it works"),
        (seen(active="blue"), "has deployed to green, and the traffic is on blue"),
        (seen(images=frozenset({IMAGE, "valeo-erp:2.9.0"})), "run valeo-erp:2.9.0 instead of"),
        (seen(images=frozenset()), "run nothing instead of"),
    ],
)
def test_everything_else_is_deployed(what: Seen, why: str) -> None:
    assert why in missing(a_run(), what)


def test_a_plan_that_has_changed_is_deployed() -> None:
    changed = a_run(values={"logLevel": "debug"})
    assert "are others than they were" in missing(changed, seen())
    again = a_past()
    deployed(again, a_run("earlier", values={"logLevel": "debug"}))
    assert "are others than they were" in missing(a_run(), seen(ledger=again)), "whatever the run has begun with"


class Cluster:
    """Traffic on green, brought there by a run."""

    def __init__(self, holder: str, *, switched: bool = False, back: bool = False) -> None:
        self.told, self.active = {RELEASE_ID: holder}, cast("Slot", "blue" if back else "green")
        if switched:
            switch = LastSwitch(
                self.active, "staging-deploy", "cutover", NOW, holder, "back" if back else "forward"
            )
            self.told[LAST_SWITCH] = switch.encode()

    async def service(self, name: str) -> ServiceState:
        traffic = EARLIER.environment.traffic
        return ServiceState(name, traffic.selector_for(self.active), self.told)

    async def pods(self, labels: dict[str, str]) -> tuple[PodState, ...]:
        pod = PodState("p", "p", labels, "Running", ready=True)
        return (replace(pod, image=IMAGE), replace(pod, name="q", image="old", deleting=True))


async def test_what_is_there_is_recorded_with_who_brought_it() -> None:
    run, ledger = a_run(), a_past()
    found = await look(run, cast(Any, Cluster(EARLIER.release_id)), ledger, None)
    assert found["deploy"] is False
    [entry] = ledger.entries(kinds=(DEPLOYED_ALREADY,))
    assert entry.payload == {"slot": "green", "by": "earlier", "fingerprint": run.fingerprint}
    assert entry.run_id == run.run_id


async def test_a_run_that_has_begun_to_deploy_goes_on() -> None:
    ledger = a_past()
    found = await look(EARLIER, cast(Any, Cluster(EARLIER.release_id)), ledger, None)
    assert found["deploy"] is True
    assert ledger.entries(kinds=(DEPLOYED_ALREADY,)) == ()


async def test_a_run_that_has_cut_over_proves_it_and_deploys_nothing_twice(tmp_path: Path) -> None:
    ledger, cluster = a_past(released=False), cast(Any, Cluster(EARLIER.release_id, switched=True))
    again = await look(a_run("earlier"), cluster, ledger, None)
    assert (again["deploy"], "deployed it and cut over" in again["why"]) == (True, True)
    others = (with_another_chart(EARLIER, tmp_path), a_run("earlier", values={"logLevel": "debug"}))
    for changed in others:
        with pytest.raises(EvidenceError, match=r"rehearse again \(a new run with repeat_reason\)"):
            await look(changed, cluster, ledger, None)


async def test_a_run_that_was_switched_back_is_not_said_to_be_in_traffic() -> None:
    cluster = cast(Any, Cluster(EARLIER.release_id, switched=True, back=True))
    again = await look(a_run("earlier"), cluster, a_past(released=False), None)
    assert again["deploy"] is True
    assert again["why"] == "run earlier has moved the traffic, and the ledger has no proof that it works"
    again = await look(a_run("earlier"), cluster, a_past(), None)
    assert again["why"] == "run earlier has deployed to green, and the traffic is on blue"


async def test_nothing_is_recorded_of_what_has_to_be_deployed() -> None:
    ledger = a_past()
    found = await look(a_run(), cast(Any, Cluster("2.9.0@staging/x")), ledger, None)
    assert found == {"deploy": True, "why": "the traffic is on 2.9.0@staging/x"}
    assert ledger.entries(kinds=(DEPLOYED_ALREADY,)) == ()


async def test_what_another_run_has_brought_there_since_is_recorded_anew() -> None:
    run, ledger = a_run(), a_past()
    await look(run, cast(Any, Cluster(EARLIER.release_id)), ledger, None)
    later = a_run("later")
    record(ledger, later, STARTED, {"from": "blue", "to": "green", "fingerprint": later.fingerprint})
    deployed(ledger, later)
    record(ledger, later, RELEASED, {"slot": "green", "checks": []})
    for _ in range(2):
        await look(run, cast(Any, Cluster(later.release_id)), ledger, None)
    assert [entry.payload["by"] for entry in ledger.entries(kinds=(DEPLOYED_ALREADY,))] == ["earlier", "later"]
