"""Every five minutes: sends the mails of each release at their times, once (DEPLOYMENT-PLAN, "Stakeholder")."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from stellwerk.operators.mails import SendDueMails

with DAG(
    dag_id="release-mails",
    description="Send the announcement and the completion of each release at their times, once",
    schedule="*/5 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # a look that was missed is made up for by the next one
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    tags=["stellwerk", "calendar"],
    doc_md="""
`communication.mails` of a release says when its mails go out and to whom; docs/release-manager.md says what is in
them. It is apart from `release-calendar`, because a mail server that is out must delay no phase.

The announcement goes out at its time with what is known of the rehearsal, also where that has failed or still
waits, and again when the date or the result has changed; the completion where the ledger says the release is live.

A look that fails names the mail that is due and not out. The next one tries again by itself, less often each time;
people are called, once a day, for one that is not out for an hour.
""",
) as dag:
    SendDueMails(task_id="send", execution_timeout=timedelta(minutes=20))
