"""The tasks of a gate with their surroundings replaced: whom they ask, what they record, what they send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import TaskAwaitingInput

from include.gate.rehearsal import REHEARSED
from include.ledger.entry import NewEntry
from include.ledger.store import Ledger
from include.plan.gate import Gate
from include.steps.record import record
from stellwerk.operators import question
from stellwerk.operators.decision import RoleDecision
from stellwerk.operators.gate import Approve, GateRoles
from tests.memory import MemoryLedger
from tests.unit.stellwerk.asked_again import asked_again
from tests.unit.steps.watching import release_run

ROLES = {"technical-lead": ("tina",), "business-owner": ("bert",), "on-call-lead": ("otto",)}
ACCOUNTS = {"tina": "3", "bert": "4", "otto": "5", "sue": "6"}
SILENT = {"error": "The timeout has passed", "error_type": "timeout"}
MANAGER = "release-manager"


class World:
    """A run at its gate; time stands still until :meth:`later`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.memory = MemoryLedger()
        self.ledger = cast(Ledger, self.memory)
        self.now = datetime.now(UTC)
        run = release_run(user=MANAGER)
        self.run = replace(run, environment=run.environment.model_copy(update=_people()))
        self.asked: list[dict[str, Any]] = []
        self.reopened: list[Any] = []
        self.pushed: dict[str, Any] = {}
        self.sent: list[Any] = []
        self.evidence: Any = {"from": "blue", "to": "green", "facts": ["an image is pinned"]}
        clock = SimpleNamespace(now=lambda _: self.now)
        for module in ("decision", "checklist"):
            monkeypatch.setattr(f"stellwerk.operators.{module}.release_run", lambda _, **__: self.run)
            monkeypatch.setattr(f"stellwerk.operators.{module}.datetime", clock)
        monkeypatch.setattr("stellwerk.operators.gate.datetime", clock)
        monkeypatch.setattr(question, "datetime", clock)
        monkeypatch.setattr("stellwerk.operators.base.release_run", lambda _, **__: self.run)
        monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", lambda _: self.ledger)
        monkeypatch.setattr("stellwerk.hooks.ledger.note_head_outside", lambda _: None)
        monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **asked: self.asked.append(asked))
        monkeypatch.setattr(question, "upsert_hitl_detail", asked_again(lambda: self.reopened.append(())))
        send = {"slack": self.sent.append, "mail": self.sent.append}
        monkeypatch.setattr("stellwerk.notifiers.transport.transports", lambda *_: send)

    def migrated(self) -> None:
        """What the machine's point of the checklist waits for."""
        record(self.ledger, replace(self.run, phase="db-migration", run_id="m1"), "migration.watched", {})

    def rehearsed(self, result: str, evidence: str) -> None:
        """What staging has shown."""
        payload = {"result": result, "fingerprint": evidence, "findings": []}
        self.ledger.append(NewEntry(REHEARSED, self.run.release.version, "staging", "s", "stellwerk", payload))

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def changed(self, **watch: Any) -> None:
        """Somebody edits the plan."""
        environment = self.run.environment
        update = {"watch": environment.watch.model_copy(update=watch)}
        self.run = replace(self.run, environment=environment.model_copy(update=update))

    def context(self, place: int = 0) -> Any:
        ti = SimpleNamespace(
            id=uuid4(),
            map_index=place,
            xcom_pull=lambda **_: self.evidence,
            xcom_push=lambda key, value: self.pushed.update({key: value}),
        )
        return {"ti": ti, "task_instance": ti, "params": {}}

    def roles(self, *, again: bool = False, about: Any = "release") -> list[dict[str, str]]:
        name, asks = ("open_roles", "decide_again") if again else ("roles", "decide")
        task = GateRoles(task_id=f"{_group(about)}.{name}", asks=asks, again=again, about=about)
        return cast("list[dict[str, str]]", task.execute(self.context()))

    def decision(self, role: str, *, again: bool = False, over: str = "", about: Any = "release") -> RoleDecision:
        task = f"{_group(about)}.decide_again" if again else f"{_group(about)}.decide"
        return RoleDecision(
            task_id=task, role=role, over=over, evidence_from="preflight", again=again, about=about
        )

    def ask(self, role: str, place: int = 0, **more: Any) -> timedelta:
        """Have the question asked; for how long it waits."""
        with pytest.raises(TaskAwaitingInput) as waiting:
            self.decision(role, **more).execute(self.context(place))
        assert waiting.value.timeout is not None
        return cast(timedelta, waiting.value.timeout)

    def resume(self, role: str, event: Mapping[str, Any], place: int = 0, **more: Any) -> Any:
        """Resume the task in another process with what Airflow hands it."""
        return self.decision(role, **more).execute_complete(self.context(place), dict(event))

    def waits(self, role: str, event: Mapping[str, Any], place: int = 0, **more: Any) -> timedelta:
        with pytest.raises(TaskAwaitingInput) as waiting:
            self.resume(role, event, place, **more)
        return cast(timedelta, waiting.value.timeout)

    def says(self, user: str, choice: str = "Go", **fields: Any) -> dict[str, Any]:
        """The answer of somebody who fills in the form that was shown last, with every box ticked."""
        form = {name: field["value"] for name, field in self.asked[-1]["params"].items()}
        form |= dict.fromkeys((name for name in form if name.startswith("point_")), True)
        return {
            "chosen_options": [choice],
            "params_input": {**form, "comment": "fine", **fields},
            "responded_at": self.now,
            "responded_by_user": {"id": ACCOUNTS.get(user, user), "name": user},
            "timedout": False,
        }

    def all_go(self, *but: str) -> None:
        for place, (role, users) in enumerate(ROLES.items()):
            if role not in but:
                self.ask(role, place)
                assert self.resume(role, self.says(users[0]), place)["choice"] == "Go"

    def approve(self, about: Any = "release") -> dict[str, Any]:
        return cast(
            "dict[str, Any]", Approve(task_id=f"{_group(about)}.approve", about=about).execute(self.context())
        )

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.memory.written]


def _group(about: str) -> str:
    return "sign_off" if about == "sign-off" else "go_no_go"


def _people() -> dict[str, Any]:
    return {
        "gate": Gate(roles=ROLES, timeout_seconds=1800),
        "people": {"security-officer": ("sue",), "release-manager": (MANAGER,)},
        "accounts": ACCOUNTS,
    }
