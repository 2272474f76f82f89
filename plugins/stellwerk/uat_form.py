"""A key user's form: its fields, and the answer to it, kept until something has been done with it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import Param

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from include.steps.run import ReleaseRun

ANSWER: Final = "answer"


def form_of(run: ReleaseRun, user: str) -> dict[str, Any]:
    """An outcome and a note for each case, and a finding beside them."""
    from include.plan.staging import SEVERITIES
    from include.steps.staging import uat
    from include.steps.staging.acceptance import acceptance_of

    fields: dict[str, Param] = {}
    for case in acceptance_of(run).cases_of(user):
        fields[uat.field_of(case)] = Param(
            uat.NOT_TESTED, type="string", enum=list(uat.OUTCOMES), title=case.title, description=case.expected
        )
        fields[uat.note_of(case)] = Param(
            "", type="string", maxLength=uat.LONGEST, title=f"{case.title}: what was wrong?"
        )
    fields[uat.OTHER] = Param("", type="string", maxLength=uat.LONGEST, title="Anything else that is wrong?")
    fields[uat.OTHER_SEVERITY] = Param(
        uat.NONE, type="string", enum=[uat.NONE, *SEVERITIES], title="How severe is that?"
    )
    return {name: field.serialize() for name, field in fields.items()}


class Kept:
    """What Airflow has handed over, kept for the tries of a task that follow."""

    def __init__(self, context: Context) -> None:
        self._store = context.get("task_state_store")

    def write(self, event: Mapping[str, Any]) -> None:
        """Keep it before anything is done with it."""
        if self._store is not None:
            self._store.set(ANSWER, json.loads(json.dumps(dict(event), default=_plain)))

    def read(self) -> dict[str, Any] | None:
        """What is kept; None when nothing is."""
        found = self._store.get(ANSWER) if self._store is not None else None
        return found if isinstance(found, dict) else None

    def forget(self) -> None:
        """Nothing has been answered any more."""
        if self._store is not None:
            self._store.delete(ANSWER)


def _plain(value: object) -> str | dict[str, str]:
    """A moment, or a user, as JSON can hold it."""
    if isinstance(value, datetime):
        return value.isoformat()
    return {"id": str(getattr(value, "id", "")), "name": str(getattr(value, "name", ""))}
