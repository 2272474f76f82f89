"""What humans make a watch do: recorded once with who, when and why, and found again by whoever goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, LastSwitch
from include.bluegreen.state import ServiceState
from include.clients.kubernetes import Cluster
from include.errors import ClusterUnreachable
from include.ledger.store import Ledger
from include.steps import steering
from include.steps.feedback import Report
from include.steps.record import SWITCHED_BACK, WATCH_EXTENDED, WATCH_ROLLBACK_ORDERED
from include.steps.run import ReleaseRun
from include.steps.steering import (
    accepted_outcome,
    held_by_feedback,
    left_meanwhile,
    people_of,
    record_accepted,
    record_extended,
    record_late,
    record_order,
    record_refused,
    record_switch,
    resumed,
    roll_back_now,
    standing_order,
    was_heard,
    watch_question,
)
from include.steps.watch import conclude_watch
from include.watch.config import WatchConfig, WatchOutcome
from include.watch.steer import ACCEPT, EXTEND, ROLL_BACK, Extended
from tests.memory import MemoryLedger
from tests.unit.slo.series import accounted, traffic
from tests.unit.steps.watching import CUTOVER, answer, begun, cut_over_ledger, release_run


@pytest.fixture
def run() -> ReleaseRun:
    return release_run()


@pytest.fixture
def kept(run: ReleaseRun) -> tuple[Ledger, MemoryLedger]:
    return cut_over_ledger(run)


@pytest.fixture
def config(run: ReleaseRun, kept: tuple[Ledger, MemoryLedger]) -> WatchConfig:
    return begun(run, kept[0])


def _extend(config: WatchConfig, ledger: Ledger, minutes: float, after: float) -> WatchConfig:
    longer = config.extended(minutes * 60, now=CUTOVER.timestamp() + after)
    record_extended(config, ledger, answer(EXTEND, after=after), Extended(longer, minutes))
    return longer


def test_everybody_of_the_gate_may_steer_each_named_once(run: ReleaseRun) -> None:
    gate = run.environment.gate.model_copy(update={"roles": {"a": ("x", "y"), "b": ("y", "z")}})
    assert people_of(run.environment.model_copy(update={"gate": gate})) == ("x", "y", "z")


def test_the_question_names_all_three_actions_and_where_to_look(config: WatchConfig) -> None:
    asked = watch_question(config)
    for word in (EXTEND, ACCEPT, ROLL_BACK, "3.0.0", "production", "XCom `watch`"):
        assert word in asked.body
    assert len(asked.body) < 900, "it is read on a phone"
    assert "as passed" not in asked.body
    assert "environments/production.yaml" in asked.body


def test_a_retry_goes_on_with_every_extension(
    run: ReleaseRun, kept: tuple[Ledger, MemoryLedger], config: WatchConfig
) -> None:
    ledger, memory = kept
    longer = _extend(config, ledger, 10, after=60)
    longest = _extend(longer, ledger, 5, after=120)
    _extend(longer, ledger, 5, after=120)  # the same answer again, by a task that was killed after its record
    assert longest.deadline == config.deadline + 900
    assert resumed(begun(run, ledger), run, ledger) == longest
    found = [entry for entry in memory.written if entry.kind == WATCH_EXTENDED]
    assert [(entry.actor, entry.payload["minutes"]) for entry in found] == [
        ("technical-lead", 10),
        ("technical-lead", 5),
    ]
    other_window = config.model_copy(update={"number": 1})
    assert resumed(other_window, run, ledger) == other_window


def test_an_order_that_a_killed_process_left_undone_stands_until_it_is_taken_back(
    run: ReleaseRun, kept: tuple[Ledger, MemoryLedger], config: WatchConfig
) -> None:
    ledger, _ = kept
    assert standing_order(config, run, ledger) is None
    said = answer(ROLL_BACK, comment="orders vanish")
    record_order(config, ledger, said)
    assert standing_order(config, run, ledger) == said
    assert standing_order(config.model_copy(update={"number": 1}), run, ledger) is None
    _extend(config, ledger, 5, after=90)
    assert standing_order(config, run, ledger) is None


def test_what_was_acted_upon_is_not_called_late(
    run: ReleaseRun, kept: tuple[Ledger, MemoryLedger], config: WatchConfig
) -> None:
    ledger, memory = kept
    accepted, refused, late = answer(ACCEPT, comment="ok"), answer(EXTEND, after=61), answer(ACCEPT, after=99)
    record_accepted(config, ledger, accepted, ("x",))
    record_refused(config, ledger, refused, "no minutes")
    assert [was_heard(run, ledger, one) for one in (accepted, refused, late)] == [True, True, False]
    record_late(run, ledger, late, "the watch was over")
    assert was_heard(run, ledger, late)
    assert memory.written[-1].payload["late"] == "the watch was over"
    assert (memory.written[-1].actor, memory.written[-1].at) == ("technical-lead", late.at)


@pytest.mark.parametrize("standing", ["undecided", "confirmed"])
def test_a_critical_report_that_nobody_dismissed_keeps_a_watch_from_passing(standing: Any) -> None:
    report = Report("critical-data-loss", "order 17", "ann", CUTOVER, "f1", standing)
    passed = WatchOutcome(result="PASSED", sentence="errors 0 %", at=1.0)
    held = held_by_feedback(passed, [report])
    assert (held.result, held.pages) == ("HELD", ("held",))
    assert "order 17" in held.sentence
    assert "errors 0 %" in held.sentence
    assert held_by_feedback(passed, [replace(report, standing="dismissed")]) == passed
    assert held_by_feedback(passed, [replace(report, verdict="problem", standing="given")]) == passed
    assert "order 17" in held_by_feedback(passed.model_copy(update={"result": "HELD"}), [report]).sentence
    rolled = passed.model_copy(update={"result": "ROLLED_BACK"})
    assert held_by_feedback(rolled, [report]) == rolled


class FakeCluster:
    """A traffic Service, and a cluster that may be silent for a while."""

    def __init__(self, config: WatchConfig, slot: str = "green") -> None:
        self.traffic = config.environment.traffic
        moved = LastSwitch("green", "production-blue-green", "cutover", CUTOVER, config.release_id, "forward")
        notes = {RELEASE_ID: config.release_id, LAST_SWITCH: moved.encode()}
        self.state = ServiceState(
            name=self.traffic.service, selector=self.traffic.selector_for(cast(Any, slot)), annotations=notes
        )
        self.restarted: list[str] = []

    async def service(self, name: str) -> ServiceState:
        return self.state

    async def restart_deployment(self, name: str, at: datetime) -> None:
        self.restarted.append(name)


async def test_a_rollback_that_was_ordered_is_tried_until_the_cluster_answers_then_drained(
    config: WatchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    async def switch_back(config: WatchConfig, cluster: Any, reason: str, **more: Any) -> WatchOutcome | None:
        asked.append({"reason": reason, **more})
        if len(asked) < 3:
            return None
        return WatchOutcome(result="ROLLED_BACK", sentence=reason, at=more["now"], switched_at=CUTOVER.timestamp())

    monkeypatch.setattr(steering, "switch_back", switch_back)
    monkeypatch.setattr(steering, "_RETRY_SECONDS", 0.0)
    cluster = FakeCluster(config, "blue")
    said = answer(ROLL_BACK, comment="orders vanish")
    outcome = await roll_back_now(config, cast(Cluster, cluster), said)
    assert (outcome.result, len(asked)) == ("ROLLED_BACK", 3)
    assert {one["by"] for one in asked} == {"watch (technical-lead)"}
    assert {one["detected_at"] for one in asked} == {said.at.timestamp()}
    assert asked[0]["reason"] == "ordered by technical-lead: orders vanish"
    assert cluster.restarted == [config.environment.slot_release("green")]


async def test_a_cluster_that_stays_silent_fails_the_attempt_and_not_the_order(
    config: WatchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr(steering, "switch_back", silent)
    monkeypatch.setattr(steering, "PATIENCE_SECONDS", -1.0)
    with pytest.raises(ClusterUnreachable) as error:
        await roll_back_now(config, cast(Cluster, SimpleNamespace()), answer(ROLL_BACK))
    assert error.value.retryable


async def test_accepting_sees_that_the_traffic_has_left(config: WatchConfig) -> None:
    assert await left_meanwhile(config, cast(Cluster, FakeCluster(config))) is None
    left = await left_meanwhile(config, cast(Cluster, FakeCluster(config, "blue")))
    assert left is not None
    assert left.result == "ROLLED_BACK_BY_HAND"


def test_the_switch_is_recorded_once_with_who_ordered_it(
    run: ReleaseRun, kept: tuple[Ledger, MemoryLedger], config: WatchConfig
) -> None:
    ledger, memory = kept
    at = (CUTOVER + timedelta(minutes=3)).timestamp()
    outcome = WatchOutcome(result="ROLLED_BACK", sentence="ordered", at=at, switched_at=at)
    record_switch(config, ledger, answer(ROLL_BACK), outcome)
    with pytest.raises(Exception, match="switched back"):
        conclude_watch(run, ledger, outcome)
    [switched] = [entry for entry in memory.written if entry.kind == SWITCHED_BACK]
    assert switched.payload["by"] == "watch (technical-lead)"
    assert switched.at == datetime.fromtimestamp(at, UTC)
    assert not [entry for entry in memory.written if entry.kind == WATCH_ROLLBACK_ORDERED]


def test_who_accepts_a_watch_leaves_what_was_seen_until_then(config: WatchConfig) -> None:
    given = replace(answer(ACCEPT), comment="known")
    nothing = accepted_outcome(config, given, now=1.0)
    assert nothing.sentence == "accepted by technical-lead: known"
    seen, _ = accounted(
        traffic(10, per_second=20, error_rate=1.0), config.environment.slo, config.environment.watch
    )
    told = accepted_outcome(config, given, now=1.0, account=seen)
    assert told.sentence.startswith(
        "accepted by technical-lead: known; seen until 00:00 UTC: 200 requests, error rate 100"
    )
