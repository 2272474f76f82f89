"""A key user's form: its fields, and the answer to it, kept until something has been done with it."""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import Param

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context
    from itsdangerous import URLSafeSerializer

    from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

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
    """What Airflow has handed over, kept for the tries of a task that follow.

    Whoever may edit a DAG's runs may write into Airflow's store of task states: only what this very task instance
    has sealed is an answer. The seal is made with the password of the ledger, which Airflow shows to nobody.

    :param conn_id: of the ledger
    """

    def __init__(self, context: Context, conn_id: str) -> None:
        self._store, self._conn_id, self._ti = context.get("task_state_store"), conn_id, context["ti"]

    def write(self, event: Mapping[str, Any]) -> None:
        """Keep it before anything is done with it.

        :raises LedgerUnavailable: Airflow knows no such connection
        """
        if self._store is None:
            return
        if (seal := self._seal()) is None:
            log.warning("%s has no password: a try that follows asks anew", self._conn_id)
            return
        self._store.set(ANSWER, seal.dumps(json.loads(json.dumps(dict(event), default=_plain))))

    def read(self) -> dict[str, Any] | None:
        """What is kept; None when nothing is, or somebody else has put it there.

        :raises LedgerUnavailable: Airflow knows no such connection
        """
        from itsdangerous import BadSignature

        kept = self._store.get(ANSWER) if self._store is not None else None
        if kept is None or (seal := self._seal()) is None:
            return None
        try:
            found = seal.loads(str(kept))
        except BadSignature as error:
            log.warning("what is kept as the answer was not written by this form, and is not read: %s", error)
            return None
        return found if isinstance(found, dict) else None

    def forget(self) -> None:
        """Nothing has been answered any more."""
        if self._store is not None:
            self._store.delete(ANSWER)

    def _seal(self) -> URLSafeSerializer | None:
        """For what this task instance of this run writes, whichever try does, until it is cleared.

        Who reads it must not find out the password by trying: each try costs what scrypt costs.
        """
        from itsdangerous import URLSafeSerializer

        from stellwerk.hooks.ledger import ledger_password

        secret, ti = ledger_password(self._conn_id), self._ti
        if not secret:
            return None
        # Clearing a task, and nothing else, raises the number of its tries.
        whose = json.dumps((ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.max_tries)).encode()
        key = hashlib.scrypt(secret.encode(), salt=whose, n=2**14, r=8, p=1)
        return URLSafeSerializer(key, salt=whose)


def _plain(value: object) -> str | dict[str, str]:
    """A moment, or a user, as JSON can hold it."""
    if isinstance(value, datetime):
        return value.isoformat()
    return {"id": str(getattr(value, "id", "")), "name": str(getattr(value, "name", ""))}
