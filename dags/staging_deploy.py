"""T-3: a release is tried in staging; T-0 10:00: once more, briefly (DEPLOYMENT-PLAN, "Staging-Deployment")."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from include.steps.staging.entries import MODES
from stellwerk.migrations import migration, rehearsal
from stellwerk.operators.adoption import Adopt
from stellwerk.operators.message import Announce
from stellwerk.operators.phase import ClaimPhase
from stellwerk.operators.release import Cutover, DeployIdleSlot, Drain, Preflight, ReleaseLease, VerifyIdleSlot
from stellwerk.operators.staging import (
    Authorise,
    CompleteRehearsal,
    CompleteStaging,
    LoadTest,
    Rehearses,
    SmokeTests,
    VerifyUrls,
    WhatIsDeployed,
)
from stellwerk.operators.staging_failure import RecordFailure
from stellwerk.operators.uat import PATIENCE, ConcludeUat, KeyUsers, UatForm
from stellwerk.params import phase_params, staging_param

# What the calendar starts is the phase itself; the final test of T-0 is claimed apart from it.
VARIANT = "{{ '' if params.mode == 'rehearsal' else params.mode }}"

with DAG(
    dag_id="staging-deploy",
    description="Try a release in staging: migrate, deploy, measure, let key users test",
    schedule=None,
    max_active_runs=16,  # a second release is refused by the Lease at once instead of waiting behind the first
    catchup=False,
    params=phase_params(
        environment=staging_param(),
        mode=Param(
            "rehearsal",
            type="string",
            enum=list(MODES),
            values_display=dict(MODES),
            title="Mode",
            description="The whole rehearsal, or only deployment and smoke tests",
        ),
        override_reason=Param(
            "",
            type="string",
            maxLength=300,
            title="Override",
            description="Leave it empty. Only to take staging from a release that holds it: why. That release "
            "goes no further; it is recorded with your name",
        ),
    ),
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5)},
    tags=["stellwerk", "T-3", "T-0"],
    doc_md="""
The calendar starts it at T-3, in mode **rehearsal**: the migration is tried on a copy and applied to staging, the
release is deployed, its addresses, its smoke tests and its behaviour under load are checked, and each key user
gets a form with what to test. What was seen becomes one file of evidence, and the users get the T-3 mail.

**final** (T-0, 10:00) deploys what is not there yet and runs the smoke tests.

A task that fails says what to do. Clear it alone: it looks again, does what is missing, and the run goes on. Only
the environment staging can be chosen; the plan's own authority takes the place of a gate (docs/staging.md).
""",
) as dag:
    claim = ClaimPhase(task_id="claim", variant=VARIANT)
    rehearses = Rehearses(task_id="rehearses")
    tried = rehearsal()
    authorise_migration = Authorise(task_id="authorise_migration", about="migration")
    migrated = migration()
    standing = WhatIsDeployed(task_id="what_is_deployed", trigger_rule="none_failed")
    preflight = Preflight(task_id="preflight")
    authorise = Authorise(task_id="authorise")
    adopt = Adopt(task_id="adopt")
    deploy = DeployIdleSlot(task_id="deploy_idle_slot", pool="deployments")
    verify = VerifyIdleSlot(task_id="verify_idle_slot")
    cutover = Cutover(task_id="cutover", watched=False)
    drain = Drain(task_id="drain")
    urls = VerifyUrls(task_id="verify_urls", trigger_rule="none_failed", retries=0)  # it has patience of its own
    smoke = SmokeTests(task_id="smoke_tests", trigger_rule="none_failed")
    load = LoadTest(task_id="load_test")
    users = KeyUsers(task_id="key_users")
    forms = UatForm.partial(task_id="uat", map_index_template="{{ task.user }}", **PATIENCE).expand_kwargs(
        users.output
    )
    accepted = ConcludeUat(task_id="conclude_uat")
    evidence = CompleteRehearsal(task_id="complete_rehearsal")

    claim >> rehearses >> tried >> authorise_migration >> migrated
    [claim, migrated] >> standing >> preflight >> authorise >> adopt >> deploy >> verify >> cutover >> drain
    [standing, drain] >> urls >> smoke >> load >> users
    forms >> accepted >> evidence
    evidence >> Announce(task_id="announce_release", event="announcement")
    evidence >> RecordFailure(task_id="record_failure", trigger_rule="one_failed")
    [smoke, evidence] >> CompleteStaging(task_id="complete", variant=VARIANT, trigger_rule="none_failed")
    # A teardown runs whatever failed before it, even when somebody ends the run by hand.
    release_lease = ReleaseLease(task_id="release_lease", proven_by="smoke_tests")
    release_lease.as_teardown(on_failure_fail_dagrun=True)
    [smoke, accepted] >> release_lease  # key users test this release, and no other
