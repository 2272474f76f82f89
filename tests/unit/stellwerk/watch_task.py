"""The watch's task with its surroundings replaced: what the tests of the task work with."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from airflow.sdk.exceptions import TaskDeferred

from include.errors import ClusterUnreachable, LedgerUnavailable
from include.ledger.store import Ledger
from include.steps import page as paging
from include.steps import steering
from include.steps.arming import arm
from include.watch.config import Armed, WatchConfig, WatchOutcome, load_watch
from stellwerk.sensors import steered
from stellwerk.sensors import watch as sensor
from stellwerk.sensors.watch import ReleaseWatch
from stellwerk.triggers.watch import WatchTrigger
from tests.memory import MemoryLedger
from tests.unit.steps.watching import CUTOVER, begun, cut_over_ledger, release_run, verified


class World:
    """The task with its surroundings replaced: what it asked, pushed, paged and deferred to.

    :param live: whether the release has cut over
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, live: bool = True) -> None:
        self.run = release_run()
        self.service: Any = None
        if live:
            self.ledger, self.memory = cut_over_ledger(self.run)
            self.config: Any = begun(self.run, self.ledger)
        else:
            self.memory = MemoryLedger()
            self.ledger = cast(Ledger, self.memory)
            verified(self.ledger, self.run)
            self.config = arm(self.run, self.ledger)
        self.asked: list[dict[str, Any]] = []
        self.pushed: dict[str, Any] = {}
        self.paged: list[str] = []
        self.traffic: WatchOutcome | None = None
        self.switched: WatchOutcome | None = None
        self.ledger_is_out = self.cluster_is_out = False
        self.task = ReleaseWatch(task_id="watch", cutover="cutover")
        ti = SimpleNamespace(id=uuid4(), task_id="watch", xcom_push=self._push, xcom_pull=self._pull)
        self.context = cast(Any, {"ti": ti})
        self._patch(monkeypatch)

    def _push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def _pull(self, task_ids: str, key: str) -> Any:
        return self.pushed.get(key)

    def _patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def ledger(*_: object) -> Ledger:
            if self.ledger_is_out:
                raise LedgerUnavailable("the ledger is out")
            return self.ledger

        def with_cluster(step: Any) -> Any:
            if self.cluster_is_out:
                raise ClusterUnreachable("no answer")
            return asyncio.run(step(self.run, None))

        async def service(name: str) -> Any:
            if self.cluster_is_out:
                raise ClusterUnreachable("no answer")
            return self.service

        async def left(*_: object) -> WatchOutcome | None:
            return self.traffic

        async def back(config: WatchConfig, cluster: object, answer: Any) -> WatchOutcome:
            assert self.switched is not None
            return self.switched

        for module in (sensor, steered):
            monkeypatch.setattr(module, "release_run", lambda context, **_: self.run)
        monkeypatch.setattr("stellwerk.operators.base.release_run", lambda context, **_: self.run)
        monkeypatch.setattr(
            steered, "upsert_hitl_detail", lambda ti_id, *a, **more: self.asked.append({"ti": ti_id, **more})
        )
        monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", ledger)
        monkeypatch.setattr(self.task, "ledger", ledger)
        monkeypatch.setattr(self.task, "note_ledger_head", lambda: None)
        monkeypatch.setattr(self.task, "with_cluster", lambda run, step: with_cluster(step))
        monkeypatch.setattr(
            self.task,
            "with_watched_cluster",
            lambda config, step: asyncio.run(step(SimpleNamespace(service=service))),
        )
        monkeypatch.setattr(steering, "left_meanwhile", left)
        monkeypatch.setattr(steering, "roll_back_now", back)
        monkeypatch.setattr(paging, "page", lambda run, ledger, matter, send: self.paged.append(matter.key))

    def begin(self) -> Any:
        """Run the task from its beginning until it defers."""
        return self._deferred(lambda: self.task.execute(self.context))

    def resume(self, event: dict[str, Any], config: Armed | None = None) -> Any:
        """Resume the task until it defers again; the window it goes on with."""
        return self._deferred(lambda: self.complete(event, config))

    def complete(self, event: dict[str, Any], config: Armed | None = None) -> Any:
        """Resume the task to its end."""
        return self.task.execute_complete(self.context, event, (config or self.config).dump())

    def _deferred(self, call: Any) -> Any:
        with pytest.raises(TaskDeferred) as deferred:
            call()
        assert deferred.value.method_name == "execute_complete"
        assert isinstance(deferred.value.trigger, WatchTrigger)
        assert deferred.value.trigger.cutover == "cutover"
        config = load_watch(deferred.value.trigger.config)
        assert deferred.value.kwargs == {"config": config.dump()}
        return config

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.memory.written]


def answered(choice: str, user: str = "technical-lead", **fields: str) -> dict[str, Any]:
    return {
        "chosen_options": [choice],
        "params_input": fields,
        "responded_at": datetime(2026, 1, 1, 12, 5, tzinfo=UTC),
        "responded_by_user": {"id": user, "name": user},
        "timedout": False,
    }


def outcome(result: Any, **more: Any) -> WatchOutcome:
    return WatchOutcome(result=result, sentence="so it is", at=CUTOVER.timestamp() + 600, **more)
