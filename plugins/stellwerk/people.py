"""The plan's people as Airflow's auth manager knows them, and whoever answered as the plan names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk.execution_time.hitl import HITLUser

    from include.plan.models import Environment


def assigned(environment: Environment, people: Iterable[str]) -> list[HITLUser]:
    """Those who may answer a question: shown by name, let in by their account."""
    from include.plan.accounts import account_of

    return [{"id": account_of(environment.accounts, person), "name": person} for person in people]


def answerer(environment: Environment, user: Mapping[str, Any] | None) -> str | None:
    """Whom Airflow recorded as answering; None for nobody.

    :param user: ``responded_by_user`` of the answer; its id counts, a name can be changed
    """
    from include.plan.accounts import person_of

    return person_of(environment.accounts, str(user["id"])) if user else None


def without_account(environment: Environment, people: Iterable[str]) -> list[str]:
    """Those who probably cannot answer: the auth manager has ids of its own, and the plan says none of theirs."""
    from airflow.sdk.configuration import conf

    if conf.get("core", "auth_manager", fallback="").endswith("SimpleAuthManager"):
        return []
    return sorted({person for person in people if person not in environment.accounts})
