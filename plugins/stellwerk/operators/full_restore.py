"""The full restore of a rollback as tasks: stated, confirmed, the application stopped, the database replaced."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

from airflow.sdk.exceptions import AirflowFailException

from include.errors import RollbackBlocked
from stellwerk.operators.base import airflow_errors
from stellwerk.operators.loss import AskLoss, places
from stellwerk.operators.rollback import GROUP, RollbackOperator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from airflow.sdk import Context

    from include.database.confirmation import LossConfirmation
    from include.errors import StellwerkError
    from include.gate.asked import Asked
    from include.ledger.entry import Entry
    from include.ledger.store import Ledger
    from include.steps.database.site import Site
    from include.steps.page import Matter
    from include.steps.run import ReleaseRun


# Airflow's states of a task that does nothing any more unless somebody clears it.
_ENDED: Final = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


def restore_is_over(dag_id: str, run_id: str) -> bool:
    """Whether no task of another run's full restore is still to run.

    A question that waits for its answer is; a run that is not there any more has none.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    found = RuntimeTaskInstance.get_task_states(dag_id, task_group_id=GROUP, run_ids=[run_id])
    return all(str(state) in _ENDED for state in found.get(run_id, {}).values())


def _restored_already(run: ReleaseRun, done: Entry) -> RollbackBlocked:
    """What keeps the application stopped: it does not belong to the database that is there by now."""
    remedy = "clear the failed step of the restore"
    if done.run_id != run.run_id:
        remedy = f"{remedy} in run {done.run_id}, or trigger the rollback again with option auto"
    return RollbackBlocked(
        "the database is restored, and the rollback did not go on; the application is stopped",
        expected="the old version brought back",
        seen=f"run {done.run_id} failed after the databases were exchanged",
        remedy=remedy,
    )


class _RestoreStep(RollbackOperator):
    """A step that waits for the ledger, as a restore has to."""

    def step(self, run: ReleaseRun) -> Any:
        """Open what the plan names, then do the step."""
        from stellwerk.hooks.database import open_site

        ledger = self.ledger(run)
        return self.on(run, open_site(run), ledger)

    @abstractmethod
    def on(self, run: ReleaseRun, site: Site, ledger: Ledger) -> Any:
        """Do the step."""

    def stop(self, run: ReleaseRun, ledger: Ledger) -> dict[str, Any]:
        """Stop what a human has said yes to; see :func:`include.steps.stopping.stop_application`.

        :raises RestoreUnconfirmed: nobody has, or too long ago to stop for it now
        """
        from include.steps.database.backup import utc_now
        from include.steps.database.full_restore import must_be_confirmed_now
        from include.steps.stopping import open_stop, stop_application

        begun = open_stop(run, ledger)
        ours = begun is not None and begun.run_id == run.run_id
        must_be_confirmed_now(run, ledger, now=None if ours else utc_now())
        over = partial(restore_is_over, run.phase)
        return self.with_cluster(run, lambda run, cluster: stop_application(run, cluster, ledger, over=over))


class StateLoss(_RestoreStep):
    """Count what would be lost, and say so.

    :param asks: the task that asks about it, in the same group; it is expanded over what this one returns
    """

    def __init__(self, *, asks: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asks = asks

    def on(self, run: ReleaseRun, site: Site, ledger: Ledger) -> list[dict[str, str]]:
        """See :func:`include.steps.database.full_restore.state_restore`.

        :raises RollbackBlocked: another run is about to restore, or has done so; nobody is asked about that
        """
        from include.steps.database.full_restore import state_restore
        from include.steps.database.restore_outcome import settle_restores
        from include.steps.stopping import stop_at_hand

        stop_at_hand(run, ledger, partial(restore_is_over, run.phase))
        done = settle_restores(run, ledger, lambda: site)
        if done and done.run_id != run.run_id:
            raise _restored_already(run, done)
        state_restore(run, site, ledger)
        return places(run, ledger, self.task_id, self.asks)


class StopApplication(_RestoreStep):
    """Scale both slots to zero: from here on nobody writes."""

    def on(self, run: ReleaseRun, site: Site, ledger: Ledger) -> dict[str, Any]:
        """See :meth:`stop`."""
        return self.stop(run, ledger)


class RestoreDatabase(_RestoreStep):
    """Put the backup in the database's place, once a human has confirmed what that loses."""

    def on(self, run: ReleaseRun, site: Site, ledger: Ledger) -> dict[str, Any]:
        """Stop the application if somebody has started it meanwhile, then restore.

        :raises RestoreUnconfirmed: nobody has confirmed the newest statement
        """
        from include.steps.database.full_restore import restore_fully

        self.stop(run, ledger)
        return restore_fully(run, site, ledger)


class ResumeApplication(RollbackOperator):
    """Take the application up again where the restore came to nothing; where it did not, the old version comes.

    Nothing runs after it that could tell of its failure, so it calls people itself.
    """

    def execute(self, context: Context) -> Any:
        """Take it up; when the last try fails, call people."""
        try:
            return super().execute(context)
        except Exception as error:
            instance = context["ti"]
            if isinstance(error, AirflowFailException) or instance.try_number > instance.max_tries:
                self._call(context, error.__cause__ or error)
            raise

    def _call(self, context: Context, error: BaseException) -> None:
        from include.steps.page import page
        from include.steps.rollback_messages import not_taken_up
        from stellwerk.notifiers.transport import transports
        from stellwerk.operators.message import ledger_if_any
        from stellwerk.runs import release_run

        run = release_run(context, with_digest=False)
        ledger, connections = ledger_if_any(self, run), run.environment.connections
        matter = not_taken_up(run, ledger, self.task_id, error)
        page(run, ledger, matter, transports(connections.slack, connections.smtp))

    def step(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.stopping.resume_application`.

        :raises RollbackBlocked: the backup is in place: what was stopped does not belong to it; or another run is
            about to put it there
        """
        from include.steps.database.restore_outcome import settle_restores
        from include.steps.stopping import resume_application, stop_at_hand
        from stellwerk.hooks.database import open_site

        ledger, over = self.ledger(run), partial(restore_is_over, run.phase)
        stop_at_hand(run, ledger, over)
        if done := settle_restores(run, ledger, lambda: open_site(run)):
            raise _restored_already(run, done)
        return self.with_cluster(run, lambda run, cluster: resume_application(run, cluster, ledger, over=over))


class AskRestore(AskLoss):
    """Ask whether the backup takes the database's place; silence and a no leave everything as it is.

    Nobody is asked again about what they have confirmed. While the application is stopped for the restore, people
    are called to the question: users are down until it is answered.
    """

    yes: ClassVar[str] = "Restore"
    no: ClassVar[str] = "Leave"

    @property
    def statement(self) -> str:
        """What a restore would lose."""
        from include.steps.database.entries import RESTORE_STATED

        return RESTORE_STATED

    def said_yes(
        self, run: ReleaseRun, ledger: Ledger, digest: str, asked: Asked | None
    ) -> LossConfirmation | None:
        """Any yes to the newest statement, wherever it was asked about."""
        from include.steps.database.confirm import confirmation

        return confirmation(ledger, run, digest)

    def matter_of(self, run: ReleaseRun, ledger: Ledger, stated: Mapping[str, Any]) -> Matter | None:
        """Users are down; as long as they are not, whoever has asked for the restore finds the question."""
        from include.steps.page import Matter
        from include.steps.stopping import open_stop

        stopped = open_stop(run, ledger)
        if stopped is None:
            return None
        return Matter(
            f"restore-waits:{str(stated['digest'])[:16]}",
            "users are down: a full restore waits for a human's confirmation",
            f"the application is stopped since {stopped.at.astimezone(run.release.zone):%H:%M %Z}; what would be "
            "lost now is not confirmed",
            f"answer {self.task_id} under the required actions; {self.no} takes the application up again",
        )

    def subject_of(self, run: ReleaseRun) -> str:
        """What is restored."""
        return f"{run.release.version} to {run.environment.name}: restore the database from its backup?"

    def text_of(self, stated: Mapping[str, Any]) -> str:
        """What is lost, what happens, and whether users are down until there is an answer."""
        from include.markdown import literal

        lines = [f"- {literal(sentence)}" for sentence in stated["sentences"]]
        kept = "The database of today is kept under another name."
        took = stated.get("restore_seconds")
        if took is not None:
            minutes = f"{took / 60:.0f} minutes" if took >= 90 else f"{took:.0f} seconds"
            kept = f"Restoring this backup took {minutes} when it was verified: users are down for longer. {kept}"
        if stated.get("stopped"):
            head = "**The application is stopped: users are down until you answer.**"
            told = f"With your yes it stays so until the old version is back. {self.no} takes it up as it was."
            return "\n".join([head, "", *lines, "", f"{told} {kept}"])
        told = (
            "With your yes the application is stopped until the old version is back. What is written until it is "
            "stopped is lost as well; where that is more than is said here, you are asked again."
        )
        return "\n".join([*lines, "", f"{told} {kept}"])

    def answer_within(self, run: ReleaseRun, stated: Mapping[str, Any]) -> timedelta:
        """As long as for any gate, and no longer than a yes comes in time.

        :raises RestoreUnconfirmed: none would
        """
        from include.errors import RestoreUnconfirmed
        from include.steps.database.backup import utc_now
        from include.steps.database.full_restore import must_be_answerable

        with airflow_errors(self.log):
            try:
                left = must_be_answerable(stated, now=utc_now())
            except RestoreUnconfirmed as error:
                self._record(run, error)
                raise
        return min(super().answer_within(run, stated), left)

    def kept(self, run: ReleaseRun, why: str, *, said_no: bool) -> NoReturn:
        """Fail, which ends the rollback: the database is left as it is."""
        from include.errors import RestoreUnconfirmed, RollbackRefused

        what, remedy = (
            "the database is not restored",
            "clear state_loss to be asked again, or trigger the rollback with another option",
        )
        error = (
            RollbackRefused(what, seen=why, remedy=remedy)
            if said_no
            else RestoreUnconfirmed(what, expected="a yes in time", seen=why, remedy=remedy)
        )
        self._record(run, error)
        raise error

    def _record(self, run: ReleaseRun, error: StellwerkError) -> None:
        from include.steps.rollback import record_trouble
        from stellwerk.hooks.ledger import open_ledger

        record_trouble(run, open_ledger(run.environment.connections.ledger), self.task_id, error)
