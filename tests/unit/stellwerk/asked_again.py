"""Stands in for the call by which a question is recorded anew."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from airflow.api_fastapi.execution_api.datamodels.hitl import HITLDetailRequest


def asked_again(told: Callable[[], object]) -> Callable[..., None]:
    """What takes the place of ``upsert_hitl_detail``, and refuses what Airflow's API would refuse.

    :param told: called for each that is taken
    """

    def upsert(_: object, options: list[str], subject: str, **more: object) -> None:
        # The SDK's own default is null, which the API does not take.
        sent = {"ti_id": uuid4(), "options": options, "subject": subject, "params": None, **more}
        HITLDetailRequest.model_validate(sent)
        told()

    return upsert
