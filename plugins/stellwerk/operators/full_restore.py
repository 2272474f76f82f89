"""The full restore of a rollback as tasks: stated, confirmed, the application stopped, the database replaced."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from include.steps.database.entries import RESTORE_STATED
from stellwerk.operators.rollback import RollbackOperator
from stellwerk.operators.way_back import AskLoss

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from include.ledger.store import Ledger
    from include.steps.database.site import Site
    from include.steps.run import ReleaseRun


class _RestoreStep(RollbackOperator):
    """A step that waits for the ledger, as a restore has to."""

    def step(self, run: ReleaseRun) -> dict[str, Any]:
        """Open what the plan names, then do the step."""
        from stellwerk.hooks.database import open_site

        ledger = self.ledger(run)
        return self.on(run, open_site(run), ledger)

    @abstractmethod
    def on(self, run: ReleaseRun, site: Site, ledger: Ledger) -> dict[str, Any]:
        """Do the step."""

    def stop(self, run: ReleaseRun, ledger: Ledger) -> dict[str, Any]:
        """Stop what a human has said yes to; see :func:`include.steps.stopping.stop_application`.

        :raises RestoreUnconfirmed: nobody has, or too long ago to stop for it now
        """
        from include.steps.database.backup import utc_now
        from include.steps.database.full_restore import must_be_confirmed_now
        from include.steps.stopping import open_stop, stop_application

        must_be_confirmed_now(run, ledger, now=None if open_stop(run, ledger) else utc_now())
        return self.with_cluster(run, lambda run, cluster: stop_application(run, cluster, ledger))


class StateLoss(_RestoreStep):
    """Count what would be lost, and say so."""

    def on(self, run: ReleaseRun, site: Site, ledger: Ledger) -> dict[str, Any]:
        """See :func:`include.steps.database.full_restore.state_restore`."""
        from include.steps.database.full_restore import state_restore

        return state_restore(run, site, ledger)


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
    """Take the application up again where the restore came to nothing; where it did not, the old version comes."""

    def step(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.stopping.resume_application`.

        :raises RollbackBlocked: the backup is in place: what was stopped does not belong to it
        """
        from include.errors import RollbackBlocked
        from include.steps.database.full_restore import restore_gave_up
        from include.steps.stopping import open_stop, resume_application
        from stellwerk.hooks.database import open_site

        ledger = self.ledger(run)
        if open_stop(run, ledger) and restore_gave_up(run, open_site(run), ledger):
            raise RollbackBlocked(
                "the database is restored, and the rollback did not go on; the application is stopped",
                expected="the old version brought back",
                seen="a step of the restore failed after the databases were exchanged",
                remedy="clear the failed step of the restore",
            )
        return self.with_cluster(run, lambda run, cluster: resume_application(run, cluster, ledger))


class AskRestore(AskLoss):
    """Ask whether the backup takes the database's place; silence and a no leave everything as it is.

    Nobody is asked again about what they have confirmed. While the application is stopped for the restore, people
    are called to the question: users are down until it is answered.
    """

    question = "Restore the database?"
    statement = RESTORE_STATED
    yes: ClassVar[str] = "Restore"
    no: ClassVar[str] = "Leave"

    def execute(self, context: Context) -> Any:
        """Ask, unless the newest statement is confirmed."""
        from include.steps.database.confirm import confirmation
        from stellwerk.hooks.ledger import open_ledger
        from stellwerk.operators.base import airflow_errors
        from stellwerk.runs import release_run

        with airflow_errors(self.log):
            run = release_run(context, with_digest=False)
            digest = str(self._stated(run)["digest"])
            ledger = open_ledger(run.environment.connections.ledger)
            given = confirmation(ledger, run, digest)
            if given is None:
                self._call(run, ledger, digest)
        if given is not None:
            self.log.info("%s has confirmed it: %s", given.by, given.reason)
            return given.model_dump()
        return super().execute(context)

    def _call(self, run: ReleaseRun, ledger: Ledger, digest: str) -> None:
        from include.steps.page import Matter, page
        from include.steps.stopping import open_stop
        from stellwerk.notifiers.transport import transports

        stopped = open_stop(run, ledger)
        if stopped is None:
            return
        matter = Matter(
            f"restore-waits:{digest[:16]}",
            "users are down: a full restore waits for a human's confirmation",
            f"the application is stopped since {stopped.at:%H:%M} UTC; more would be lost than was confirmed",
            f"answer {self.task_id} under the required actions; {self.no} takes the application up again",
        )
        connections = run.environment.connections
        page(run, ledger, matter, transports(connections.slack, connections.smtp))

    def subject_of(self, run: ReleaseRun) -> str:
        """What is restored."""
        return f"{run.release.version} to {run.environment.name}: restore the database from its backup?"

    def text_of(self, stated: Mapping[str, Any]) -> str:
        """What is lost, and what happens."""
        lines = [f"- {sentence}" for sentence in stated["sentences"]]
        return "\n".join(
            [
                *lines,
                "",
                "With your yes the application is stopped until the old version is back. What is written until "
                "then is lost as well; where it is more than is said here, you are asked again. The database of "
                "today is kept under another name.",
            ]
        )

    def kept(self, run: ReleaseRun, why: str, *, said_no: bool) -> NoReturn:
        """Fail, which ends the rollback: the database is left as it is."""
        from include.errors import RestoreUnconfirmed, RollbackRefused
        from include.steps.rollback import record_trouble
        from stellwerk.hooks.ledger import open_ledger

        what, remedy = "the database is not restored", "trigger the rollback again, or take another option"
        error = (
            RollbackRefused(what, seen=why, remedy=remedy)
            if said_no
            else RestoreUnconfirmed(what, expected="a yes in time", seen=why, remedy=remedy)
        )
        record_trouble(run, open_ledger(run.environment.connections.ledger), self.task_id, error)
        raise error
