"""Key users say how the new version does (DEPLOYMENT-PLAN, "Monitor", "Check User-Feedback")."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from include.steps.feedback_form import LONGEST_TEXT, VERDICTS
from stellwerk.operators.feedback import AlertFeedback, AskRollBack, GiveFeedback, StartFeedbackRollback
from stellwerk.params import release_params

with DAG(
    dag_id="user-feedback",
    description="Say how the new version does; a critical report calls people at once",
    schedule=None,
    catchup=False,
    params=release_params(
        verdict=Param(
            "works",
            type="string",
            enum=list(VERDICTS),
            values_display=dict(VERDICTS),
            title="How is it?",
        ),
        text=Param(
            "",
            type="string",
            maxLength=LONGEST_TEXT,
            title="What happened?",
            description="One sentence: what, where, since when. A critical report needs it.",
        ),
    ),
    default_args={"retries": 3, "retry_delay": timedelta(seconds=2)},
    tags=["stellwerk", "feedback"],
    doc_md="""
Choose the release, say how it is, done. What you say stands in the record of the release.

**CRITICAL** (data lost or wrong, a security hole) calls the release team at once; they decide about going back.
""",
) as dag:
    give = GiveFeedback(task_id="give_feedback")
    ask = AskRollBack(task_id="roll_back_now")
    give >> AlertFeedback(task_id="slack_alert")
    give >> ask >> StartFeedbackRollback(task_id="start_rollback")
