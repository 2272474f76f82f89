"""What of the watch survives a crash of the triggerer."""

from __future__ import annotations

import json

from airflow.triggers.base import BaseTrigger
from hypothesis import given, settings
from hypothesis import strategies as st

from include.plan.loader import load_plan, plan_folder
from include.slo.samples import PodSample, Snapshot
from include.watch import WatchConfig, WatchOutcome
from stellwerk.triggers.watch import WatchTrigger


def _config(started_at: float, count: float) -> WatchConfig:
    pod = PodSample("uid", "pod", started_at, 1.0, {"200": count}, ((0.5, count), (float("inf"), count)))
    return WatchConfig(
        release_id="3.0.0@production/r",
        version="3.0.0",
        environment=load_plan(plan_folder()).environment("production"),
        source="blue",
        target="green",
        cutover_at=started_at,
        began_at=started_at,
        deadline=started_at + 3600,
        baselines={"openmetrics": Snapshot(started_at, "green", (pod,), ready_endpoints=3)},
        may_switch_back=True,
    )


def test_the_serialized_trigger_is_exactly_its_configuration() -> None:
    config = _config(1000.0, 5).dump()
    trigger = WatchTrigger(config=config, cutover="cutover")
    assert isinstance(trigger, BaseTrigger)
    assert trigger.serialize() == (
        "stellwerk.triggers.watch.WatchTrigger",
        {"config": config, "cutover": "cutover"},
    )


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 4e9), st.floats(0, 1e12))
def test_a_configuration_survives_airflows_database(started_at: float, count: float) -> None:
    config = _config(started_at, count)
    portable = json.dumps(config.dump(), allow_nan=False)
    assert WatchConfig.load(json.loads(portable)) == config


def test_an_outcome_survives_the_event() -> None:
    outcome = WatchOutcome(result="HELD", sentence="no data", at=1.5, measures={"requests": 3, "error_rate": None})
    assert WatchOutcome.load(json.loads(json.dumps(outcome.dump()))) == outcome


def test_a_configuration_holds_no_credentials() -> None:
    text = json.dumps(_config(1.0, 1).dump()).lower()
    assert not any(word in text for word in ("password", "token", "kube_config"))
