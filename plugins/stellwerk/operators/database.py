"""The steps of ``db-migration`` as tasks; what each does is told by its function in ``include.steps.database``."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.sdk.exceptions import AirflowSkipException

from include.errors import StellwerkError
from stellwerk.operators.base import StellwerkOperator

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow.sdk import Context

    from include.ledger.store import Ledger
    from include.migration.apply import Migration
    from include.steps.database.entries import Purpose
    from include.steps.database.site import Site
    from include.steps.database.traffic import Seen
    from include.steps.run import ReleaseRun

MODES: Final = {
    "plan": "look only: nothing is written, no backup is taken",
    "rehearse": "back up, and try the migration out on a copy",
    "apply": "that, then ask for a Go and migrate",
}


class DatabaseOperator(StellwerkOperator):
    """A step that works with the application's database and the store of its backups."""

    needs_digest: ClassVar[bool] = False

    def act(self, run: ReleaseRun) -> Any:
        """Open what the plan names, then do the step."""
        from stellwerk.hooks.database import open_site

        ledger = self.ledger(run)
        return self.step(run, open_site(run), ledger)

    @abstractmethod
    def step(self, run: ReleaseRun, site: Site, ledger: Ledger) -> Any:
        """Do the step."""

    def _ends_with_us(self, migration: Migration) -> None:
        """Cancel the migration when the task is killed: no backend of it is left behind."""
        self._cancel = migration.cancel

    def traffic(self, run: ReleaseRun) -> Seen | None:
        """What the cluster says of the traffic; None when it gives no answer.

        A killed task cancels the migration all the same: asking is done between its attempts.
        """
        from include.errors import StellwerkError
        from include.steps.database.traffic import see

        cancel = self._cancel
        try:
            return self.with_cluster(run, see)
        except StellwerkError as error:
            self.log.warning("who has the traffic is not known: %s", error)
            return None
        finally:
            self._cancel = cancel


class OnlyInMode(StellwerkOperator):
    """Go on in some modes only; in the others all that follows is skipped.

    :param modes: in which the run goes on
    """

    needs_digest: ClassVar[bool] = False

    def __init__(self, *, modes: Collection[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.modes = modes
        self._mode = ""

    def execute(self, context: Context) -> Any:
        """Read the mode, then go on or not."""
        self._mode = str(context["params"].get("mode", ""))
        return super().execute(context)

    def act(self, run: ReleaseRun) -> str:
        """Return the mode; skip in the others.

        :raises PlanError: there is no such mode
        """
        from include.errors import PlanError

        if self._mode not in MODES:
            raise PlanError(f"there is no mode {self._mode!r}", expected=" or ".join(MODES), seen=self._mode)
        if self._mode not in self.modes:
            raise AirflowSkipException(f"mode {self._mode}: {MODES[self._mode]}")
        return self._mode


class Survey(DatabaseOperator):
    """Look at database and tree; nothing is written but what was found, to the ledger."""

    def step(self, run: ReleaseRun, site: Site, ledger: Ledger) -> Any:
        """See :func:`include.steps.database.look.look`; before that, at the version that users are on."""
        from include.errors import ClusterError, HelmError, TrafficError
        from include.steps.database.look import look
        from include.steps.live_version import must_replace_what_runs

        try:
            beside = self.with_helm_if_any(run, must_replace_what_runs)
        except (ClusterError, TrafficError, HelmError) as error:
            self.log.warning("%s", error)
            beside = (f"which version users are on is not known: {error.what}",)
        return look(run, site, ledger, beside)


class BackUp(DatabaseOperator):
    """Take a backup.

    :param purpose: what it is for, see :mod:`include.steps.database.entries`
    """

    def __init__(self, *, purpose: Purpose, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.purpose = purpose

    def step(self, run: ReleaseRun, site: Site, ledger: Ledger) -> Any:
        """See :func:`include.steps.database.backup.take`."""
        from include.steps.database.backup import take

        return take(run, site, ledger, self.purpose)


class VerifyBackup(DatabaseOperator):
    """Read a backup back, and restore it into a scratch database where the plan says so.

    :param purpose: which of the run's backups
    """

    def __init__(self, *, purpose: Purpose, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.purpose = purpose

    def step(self, run: ReleaseRun, site: Site, ledger: Ledger) -> Any:
        """See :func:`include.steps.database.backup.prove`."""
        from include.steps.database.backup import prove

        return prove(run, site, ledger, self.purpose)


class Rehearse(DatabaseOperator):
    """Try the migration out on a copy of the backup: up, the old version on it, down, up again."""

    def step(self, run: ReleaseRun, site: Site, ledger: Ledger) -> Any:
        """See :func:`include.steps.database.rehearse.rehearse`."""
        from include.steps.database.old_version import program_suite
        from include.steps.database.rehearse import Trying, rehearse

        planned = site.plan.rehearsal.old_version
        suite = program_suite(planned, run.release.previous) if planned else None
        return rehearse(run, site, ledger, Trying(suite, self._ends_with_us))


class Migrate(DatabaseOperator):
    """Migrate the live database, which the run's gate has decided about; the watch on it begins at that moment."""

    #: the gate binds the run with the image's digest where that is known, so its Go is looked up with it
    needs_digest: ClassVar[bool] = True

    def step(self, run: ReleaseRun, site: Site, ledger: Ledger) -> Any:
        """See :func:`include.steps.database.apply.migrate`."""
        from include.steps.database.apply import migrate

        traffic = partial(self.traffic, run)
        done = migrate(run, site, ledger, started=self._ends_with_us, traffic=traffic)
        if done["applied"]:
            self._begin_watch(run, ledger)
        return done

    def _begin_watch(self, run: ReleaseRun, ledger: Ledger) -> None:
        """Fix what is watched while the migration is seconds old; where that cannot be, the watch does it."""
        from include.steps.database.watch import begin_window

        try:
            self.with_metrics(run, lambda run, cluster, prometheus: begin_window(run, cluster, ledger, prometheus))
        except StellwerkError as error:
            self.log.warning("the watch begins later, with less to compare with: %s", error)


class VerifyMigrated(DatabaseOperator):
    """Look at the live database: revisions and schema are the rehearsal's."""

    def step(self, run: ReleaseRun, site: Site, ledger: Ledger) -> Any:
        """See :func:`include.steps.database.apply.verify_migrated`."""
        from include.steps.database.apply import verify_migrated

        return verify_migrated(run, site, ledger)


class RetainBackups(DatabaseOperator):
    """Delete the backups that need not be kept."""

    def step(self, run: ReleaseRun, site: Site, ledger: Ledger) -> Any:
        """See :func:`include.steps.database.backup.retain`."""
        from include.steps.database.backup import retain, utc_now

        return retain(run, site, ledger, now=utc_now())
