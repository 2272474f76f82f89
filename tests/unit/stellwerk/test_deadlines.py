"""The deadline's callback binds Airflow's simple context to the plan and looks after what is owed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow import plugins_manager
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.serialization.decoders import decode_deadline_alert
from airflow.serialization.encoders import encode_deadline_alert

from include.errors import LedgerUnavailable
from include.plan.loader import load_plan, plan_folder
from include.steps import rollback_messages
from stellwerk import deadlines
from stellwerk.deadline_reference import RunAsked
from stellwerk.deadlines import rollback_deadline, rollback_deadlines

ASKED = datetime(2026, 7, 1, 12, tzinfo=UTC)


def context(**changes: Any) -> dict[str, Any]:
    """What Airflow hands over, as its REST API would show the run."""
    dag_run = {
        "dag_id": "rollback",
        "dag_run_id": "rb1",
        "run_after": ASKED.isoformat().replace("+00:00", "Z"),
        "queued_at": (ASKED + timedelta(hours=1)).isoformat(),  # somebody has cleared a task of it since
        "triggering_user_name": "release-manager",
        "conf": {"release": "3.0.0", "environment": "production", "option": "auto"},
    }
    return {"dag_run": dag_run | changes, "deadline": {"id": "x"}}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The desks that were looked after; there is neither cluster nor ledger."""
    found: list[Any] = []

    def out(_: str) -> Any:
        raise LedgerUnavailable("the database gives no answer")

    monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", out)
    monkeypatch.setattr(deadlines, "_service", lambda _: None)

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(deadlines.asyncio, "sleep", sleep)
    monkeypatch.setattr(rollback_messages, "overdue", lambda desk: found.append(desk) or ["done"])
    monkeypatch.setattr(rollback_messages, "next_due", lambda _: None)
    return found


async def test_the_run_is_bound_to_the_plan(seen: list[Any]) -> None:
    await rollback_deadline(context())
    (desk,) = seen
    run = desk.run
    assert (run.release.version, run.environment.name, run.run_id) == ("3.0.0", "production", "rb1")
    assert (run.phase, run.triggered_by, desk.asked_at, desk.ledger) == (
        "rollback",
        "release-manager",
        ASKED,
        None,
    )


@pytest.mark.parametrize("conf", [None, {}, {"release": "9.9.9", "environment": "production"}])
async def test_a_run_that_the_plan_refuses_owes_nothing(seen: list[Any], conf: Any) -> None:
    await rollback_deadline(context(conf=conf))
    assert seen == []


@pytest.mark.parametrize(("seconds", "waits"), [(15, True), (600, False)])
async def test_a_deadline_that_is_almost_there_is_waited_for(
    seen: list[Any], monkeypatch: pytest.MonkeyPatch, seconds: int, waits: bool
) -> None:
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    monkeypatch.setattr(rollback_messages, "next_due", lambda _: due)
    await rollback_deadline(context())
    waited = [one for one in seen if isinstance(one, float)]
    assert bool(waited) is waits
    assert all(seconds - 5 < one <= seconds + 1 for one in waited)
    assert len(seen) == len(waited) + 1


def test_each_deadline_of_any_environment_has_one_alert() -> None:
    alerts = rollback_deadlines()
    intervals = [alert.interval for alert in alerts]
    own = load_plan(plan_folder()).environment("production").messages.deadlines
    assert {timedelta(seconds=value) for value in own.model_dump().values()} <= set(intervals)
    assert intervals == sorted(set(intervals))
    assert all(isinstance(alert.reference, RunAsked) for alert in alerts)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This repository's, loaded as scheduler and API server do."""
    caches = (plugins_manager._get_plugins, plugins_manager.get_deadline_references_plugins)
    monkeypatch.setattr(plugins_manager.settings, "PLUGINS_FOLDER", str(plan_folder().parent / "plugins"))
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # Airflow's own
@pytest.mark.usefixtures("plugins")
def test_airflow_knows_from_when_they_count() -> None:
    """A reference that no plugin registers stops every trigger of the DAG."""
    assert not {name for name in plugins_manager._get_plugins()[1] if "stellwerk" in name}
    for alert in rollback_deadlines():
        decoded = decode_deadline_alert(encode_deadline_alert(alert))
        assert isinstance(decoded.reference.inner_ref, RunAsked)
        assert decoded.interval == alert.interval


def test_it_runs_in_the_triggerer() -> None:
    assert all(isinstance(alert.callback, AsyncCallback) for alert in rollback_deadlines())
