"""Rollback (DEPLOYMENT-PLAN, "Rollback-Procedure"): started by the watch, or by hand at any time after cutover."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from include.bluegreen.eligibility import KINDS, documentation
from stellwerk.deadlines import rollback_deadlines
from stellwerk.operators.message import TellRollback
from stellwerk.operators.report import PostMortemDraft, ReleaseReport
from stellwerk.operators.rollback import (
    BringBack,
    DrainBadSlot,
    RollbackEligibility,
    RollbackSummary,
    SwitchBack,
    VerifyTraffic,
)
from stellwerk.params import release_params
from stellwerk.restores import full_restore

with DAG(
    dag_id="rollback",
    description="Return to the old version, prove it, tell everybody",
    schedule=None,
    max_active_runs=16,  # it waits for no other: not of another environment, nor for mail that does not go out
    catchup=False,
    params=release_params(
        option=Param(
            "auto",
            type="string",
            enum=["auto", *(kind.name for kind in KINDS)],
            title="Option",
            description="auto takes the least destructive option that is possible",
        ),
        reason=Param(
            "", type="string", maxLength=500, title="Reason", description="Why; it goes into the messages"
        ),
    ),
    default_args={"retries": 3, "retry_delay": timedelta(seconds=2)},
    deadline=rollback_deadlines(),
    tags=["stellwerk", "rollback"],
    doc_md=f"""
Name the release that went wrong. The traffic returns to the slot it came from in one step; a watch that is running
ends as "rolled back by hand".

{documentation()}

A full restore asks a human first, in the group `full_restore`, and needs the answer in time: until then nothing is
touched, and silence ends the run.

What is possible now is in the log of the first task, with the reason for each option; the gate showed it,
too. Slack is told at once; the stakeholders get a mail, and an invitation to the post-mortem for their calendar.
Nothing waits for them.
""",
) as dag:
    eligibility = RollbackEligibility(task_id="eligibility")
    restore, restored = full_restore()
    # Skipped where another option is taken: then nothing stands between the choice and the way back.
    bring_back = BringBack(task_id="bring_back", trigger_rule="none_failed")
    switch_back = SwitchBack(task_id="switch_back")
    drain = DrainBadSlot(task_id="drain")
    traffic = VerifyTraffic(task_id="verify_traffic")
    summary = RollbackSummary(task_id="summary")
    at_once = TellRollback(task_id="slack_at_once", duty="alert", early=True, trigger_rule="all_done")
    slack = TellRollback(task_id="slack_alert", duty="alert", trigger_rule="all_done")
    mail = TellRollback(task_id="mail_stakeholders", duty="mail", trigger_rule="all_done")
    invitation = TellRollback(task_id="post_mortem_invitation", duty="post-mortem", trigger_rule="all_done")

    eligibility >> at_once
    eligibility >> restore
    [eligibility, restored] >> bring_back >> switch_back >> traffic >> summary
    switch_back >> [drain, slack, invitation]
    traffic >> mail

    # The draft decides about nothing: written as soon as the rollback is over, and again when everybody was told.
    # Teardowns, because an ordinary last task would turn a rollback that failed into a success.
    draft = PostMortemDraft(task_id="post_mortem_draft").as_teardown()
    [summary, drain] >> draft
    complete = PostMortemDraft(task_id="post_mortem_complete").as_teardown()
    [draft, at_once, slack, mail, invitation] >> complete
    # The release's own report was written before it was rolled back by hand, say.
    complete >> ReleaseReport(task_id="report").as_teardown()
