"""Reports for people, written at the end of a run; they make no release and no rollback a failure."""

from __future__ import annotations

from abc import abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from include.errors import LedgerError, ReportError
from stellwerk.operators.base import StellwerkOperator

if TYPE_CHECKING:
    from airflow.sdk import Context
    from upath import UPath

    from include.ledger.store import Ledger
    from include.steps.run import ReleaseRun


class _Report(StellwerkOperator):
    """Write a report into the folder that the Airflow variable ``stellwerk_reports`` names.

    What cannot be written is tried again a few times, then the task is skipped with the reason: the report can be
    written from the ledger at any time, by clearing the task or with the command.
    """

    needs_digest = False
    despite_faults = True

    def __init__(self, *, retries: int = 2, **kwargs: Any) -> None:
        super().__init__(retries=retries, **kwargs)
        self.give_up_after = retries

    def execute(self, context: Context) -> Any:
        """Write, retry, give up honestly."""
        try:
            return super().execute(context)
        except AirflowException as error:
            cause, tries = error.__cause__, context["ti"].try_number
            if not isinstance(cause, ReportError | LedgerError) or (
                cause.retryable and tries <= self.give_up_after
            ):
                raise
            raise AirflowSkipException(f"not written after {tries} tries: {error}") from error

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """Write the report and return what was recorded of it."""
        from stellwerk.hooks.reports import REPORTS_VARIABLE, reports_folder

        folder = reports_folder()
        if folder is None:
            raise AirflowSkipException(f"nowhere to write to: set the Airflow variable {REPORTS_VARIABLE}")
        return self.write(run, self.ledger(run), folder, datetime.now(UTC))

    @abstractmethod
    def write(self, run: ReleaseRun, ledger: Ledger, folder: UPath, now: datetime) -> dict[str, Any]:
        """Write it."""


class PostMortemDraft(_Report):
    """Write the draft of the rollback's post-mortem: timeline, numbers, plot, open questions."""

    def write(self, run: ReleaseRun, ledger: Ledger, folder: UPath, now: datetime) -> dict[str, Any]:
        """See :func:`include.steps.postmortem.write_postmortem`."""
        from include.steps.postmortem import write_postmortem

        return write_postmortem(run, ledger, folder, now)


class ReleaseReport(_Report):
    """Write the release's report, however it ended."""

    def write(self, run: ReleaseRun, ledger: Ledger, folder: UPath, now: datetime) -> dict[str, Any]:
        """See :func:`include.steps.postmortem.write_release_report`."""
        from include.steps.postmortem import write_release_report

        return write_release_report(run, ledger, folder, now)
