"""Rollback (DEPLOYMENT-PLAN, "Rollback-Procedure"): started by the watch, or by hand at any time after cutover."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from stellwerk.operators.message import Announce
from stellwerk.operators.rollback import (
    DrainBadSlot,
    RollbackEligibility,
    RollbackSummary,
    SwitchBack,
    VerifyTraffic,
)
from stellwerk.params import release_params

with DAG(
    dag_id="rollback",
    description="Return to the old version, prove it, tell everybody",
    schedule=None,
    max_active_runs=1,
    catchup=False,
    params=release_params(
        option=Param(
            "auto",
            type="string",
            enum=["auto", "blue-cutover"],
            title="Option",
            description="auto takes the least destructive option that is possible",
        ),
        reason=Param(
            "", type="string", maxLength=500, title="Reason", description="Why; it goes into the messages"
        ),
    ),
    default_args={"retries": 3, "retry_delay": timedelta(seconds=2)},
    tags=["stellwerk", "rollback"],
    doc_md="""
Name the release that went wrong. The traffic returns to the slot it came from in one step; a watch that is running
ends as "rolled back by hand".

| option | does | today |
|---|---|---|
| `auto` | the least destructive option that is possible | yes |
| `blue-cutover` | one patch of the traffic Service | yes |
| `helm-rollback`, `full-restore` | need the database decision | not offered yet |
""",
) as dag:
    eligibility = RollbackEligibility(task_id="eligibility")
    switch_back = SwitchBack(task_id="switch_back")
    drain = DrainBadSlot(task_id="drain")
    traffic = VerifyTraffic(task_id="verify_traffic")
    slack = Announce(task_id="slack_alert", event="rollback-alert", trigger_rule="all_done")
    mail = Announce(task_id="mail_stakeholders", event="rollback-mail", trigger_rule="all_done")
    summary = RollbackSummary(task_id="summary")

    eligibility >> switch_back >> traffic >> summary
    switch_back >> drain
    switch_back >> slack
    traffic >> mail
