"""T-0 11:30: release to production, blue-green (DEPLOYMENT-PLAN, "Production-Deploy")."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from stellwerk.gates import checklist, go_no_go, sign_off
from stellwerk.operators.adoption import Adopt
from stellwerk.operators.message import Announce
from stellwerk.operators.release import (
    CleanUp,
    Cutover,
    DeployIdleSlot,
    Drain,
    FinalVerification,
    Preflight,
    ReleaseLease,
    VerifyIdleSlot,
)
from stellwerk.operators.report import ReleaseReport
from stellwerk.operators.rollback import StartRollback
from stellwerk.params import release_params
from stellwerk.sensors.question import CloseWatchQuestion
from stellwerk.sensors.watch import ReleaseWatch

with DAG(
    dag_id="production-blue-green",
    description="Deploy the idle slot, decide, cut over, watch, clean up - or switch back by itself",
    schedule=None,
    max_active_runs=16,  # a second release is refused by the Lease at once instead of waiting behind the first
    catchup=False,
    params=release_params(
        override_reason=Param(
            "",
            type="string",
            maxLength=300,
            title="Hotfix override",
            description="Leave it empty. Only for a hotfix that cannot wait: why the environment is to be taken "
            "from the release that holds it. That release goes no further; it is recorded with your name",
        ),
    ),
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5)},
    tags=["stellwerk", "T-0"],
    doc_md="""
Trigger it for a release and an environment. It looks before it writes, asks every role for a Go, and only then
deploys to the slot that takes no traffic. It is watched from the cutover on: a rollback trigger switches back.

One release at a time has an environment: a second one is refused by its preflight, which says who has it.

Every task may be retried or cleared; setting a task's state by hand does not get past the gate.
""",
) as dag:
    preflight = Preflight(task_id="preflight")
    gate = go_no_go(evidence_from="preflight")
    adopt = Adopt(task_id="adopt")
    deploy = DeployIdleSlot(task_id="deploy_idle_slot", pool="deployments")
    verify = VerifyIdleSlot(task_id="verify_idle_slot")
    cutover = Cutover(task_id="cutover")
    drain = Drain(task_id="drain")
    # It begins beside the cutover, which moves nothing before it is awake (so it does not wait for all upstream).
    # It protects users: whatever breaks around it costs an attempt and must not end it.
    watch = ReleaseWatch(task_id="watch", cutover="cutover", trigger_rule="one_success", retries=20)
    clean_up = CleanUp(task_id="clean_up")
    verification = FinalVerification(task_id="final_verification")
    roll_back = StartRollback(task_id="start_rollback", trigger_rule="one_failed")
    late = CloseWatchQuestion(task_id="late_answers", watched="watch", trigger_rule="all_done")
    # A teardown runs whatever failed before it, even when somebody ends the run by hand.
    release_lease = ReleaseLease(task_id="release_lease", proven_by="final_verification")
    release_lease.as_teardown(on_failure_fail_dagrun=True)

    preflight >> gate >> adopt >> deploy >> verify >> [cutover, watch]
    cutover >> [drain, watch]
    [drain, watch] >> clean_up >> verification
    watch >> roll_back
    watch >> late
    [verification, roll_back] >> release_lease
    # However it ended there is a report, and it decides about nothing.
    report = ReleaseReport(task_id="report").as_teardown()
    [verification, roll_back] >> report
    # What people vouch for after that is theirs to say in their own time: users are on the new version.
    points = checklist("verification", "business-success", "compliance-success")
    signed_report = ReleaseReport(task_id="signed_report").as_teardown()
    verification >> points >> sign_off() >> signed_report

    gate >> Announce(task_id="announce_deployment", event="slot-deployment-started")
    cutover >> Announce(task_id="announce_cutover", event="cutover")
    clean_up >> Announce(task_id="announce_clean_up", event="cleanup")
    verification >> Announce(task_id="announce_success", event="successful")
