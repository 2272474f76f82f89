"""The steps of ``rollback`` as tasks, and the step that starts it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import AirflowSkipException

from include.errors import StellwerkError
from stellwerk.operators.base import StellwerkOperator
from stellwerk.operators.message import FIRST_WAIT, LONGEST_WAIT
from stellwerk.runs import start_once

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.exceptions import DagRunTriggerException

    from include.clients.helm import Helm
    from include.clients.kubernetes import Cluster
    from include.ledger.store import Ledger
    from include.steps.run import ReleaseRun
    from include.steps.schema_proof import SchemaFact

    Step = Callable[[ReleaseRun, Cluster, Helm | None], Coroutine[Any, Any, dict[str, Any]]]


LEDGER_SECONDS: Final = 3.0
FULL_RESTORE: Final = "full-restore"
GROUP: Final = "full_restore"


class RollbackOperator(StellwerkOperator):
    """A step that needs what the human (or the watch) asked for; what it could not do is told in its own words."""

    template_fields = ("option", "reason")
    needs_digest = False
    despite_faults = True

    def __init__(
        self, *, option: str = "{{ params.option }}", reason: str = "{{ params.reason }}", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.option = option
        self.reason = reason
        self._ledger_is_out = False

    def act(self, run: ReleaseRun) -> Any:
        """Take the step; why it failed is in the ledger where that is possible."""
        from include.steps.rollback import record_trouble

        try:
            return self.step(run)
        except StellwerkError as error:
            trouble = error  # the name of an except clause ends with it
            self.in_passing(lambda: record_trouble(run, self.ledger(run), self.task_id, trouble))
            raise

    @abstractmethod
    def step(self, run: ReleaseRun) -> Any:
        """Take the step."""

    def in_passing(self, what: Callable[[], object]) -> None:
        """Record something: a ledger that is out must not turn a rollback that works into a failure."""
        if self._ledger_is_out:
            self.log.warning("not recorded: the ledger gave no answer before")
            return
        try:
            what()
        except Exception:
            self._ledger_is_out = True
            self.log.exception("not recorded")

    def note(self, run: ReleaseRun, kind: str, payload: Mapping[str, Any]) -> None:
        """Write an entry of this run, once, in passing."""
        from include.steps.record import record

        self.in_passing(lambda: record(self.ledger(run), run, kind, payload))

    def schema(self, run: ReleaseRun) -> SchemaFact:
        """How the old version is known to work on the live schema."""
        from include.steps.schema_proof import schema_fact_if_any

        found = schema_fact_if_any(run, lambda: self.ledger(run))
        self._ledger_is_out = found.proof == "unknown"
        return found

    def ledger(self, run: ReleaseRun) -> Ledger:
        """Open the ledger; a dead one delays a rollback by little."""
        from stellwerk.hooks.ledger import open_ledger

        self._ledger = open_ledger(run.environment.connections.ledger, timeout_seconds=LEDGER_SECONDS)
        return self._ledger


class RollbackEligibility(RollbackOperator, SkipMixin):
    """Say which options are possible and why, and refuse one that is not.

    The tasks of a full restore are skipped at once where that is not what was asked for: nobody waits for them.
    """

    def execute(self, context: Context) -> Any:
        """Choose, then skip what is not needed."""
        done = super().execute(context)
        if done["option"] != FULL_RESTORE and (unneeded := self._of_the_restore()):
            context["ti"].xcom_push(key="return_value", value=done)  # skipping keeps it from being returned
            self.skip(context["ti"], unneeded)
        return done

    def _of_the_restore(self) -> list[Any]:
        children = [one for one in self.downstream_list if one.node_id.startswith(f"{GROUP}.")]
        found = {child.task_id: child for first in children for child in (first, *first.get_flat_relatives())}
        return [one for name, one in found.items() if name.startswith(f"{GROUP}.")]

    def step(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.rollback_choice.choose`."""
        from include.steps.database.full_restore import restorable
        from include.steps.record import ROLLBACK_CHOSEN
        from include.steps.rollback_choice import DatabaseSide, choose
        from stellwerk.hooks.database import open_site

        schema = self.schema(run)
        database = DatabaseSide(
            schema.rehearsal, lambda: restorable(run, lambda: open_site(run), lambda: self.ledger(run))
        )
        done = self.with_helm_if_any(
            run, lambda run, cluster, helm: choose(run, cluster, helm, schema.proof, self.option, database)
        )
        told = {**done, "wanted": self.option, "reason": self.reason, "schema": schema.proof}
        self.note(run, ROLLBACK_CHOSEN, told | ({"rehearsal": schema.rehearsal} if schema.rehearsal else {}))
        return done


class BringBack(RollbackOperator):
    """Bring the old version back into its slot where it is gone; nothing where it is still there."""

    def step(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.bring_back.bring_back`.

        :raises RollbackBlocked: a full restore was asked for, and this run has restored nothing
        """
        from include.steps.bring_back import bring_back
        from include.steps.database.full_restore import must_be_restored
        from include.steps.record import BROUGHT_BACK
        from include.steps.stopping import stands_still_if_known

        restored = self.option == FULL_RESTORE
        if restored:
            must_be_restored(run, self.ledger(run))
        wanted = "auto" if restored else self.option
        schema = self.schema(run)
        # By whichever run: one that has restored may have ended before it brought anything back.
        stopped = restored or (
            schema.proof != "unknown" and stands_still_if_known(run, lambda: self.ledger(run)) is not None
        )
        done = self.with_helm_if_any(
            run,
            lambda run, cluster, helm: bring_back(run, cluster, helm, schema.proof, wanted, was_stopped=stopped),
        )
        if done["needed"]:
            self.note(run, BROUGHT_BACK, done)
        return done


class SwitchBack(RollbackOperator):
    """Return the traffic to the slot it came from, unless that has been done already."""

    def step(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.rollback.switch_back`."""
        from include.steps.rollback import record_switch_back, switch_back

        done = self.with_cluster(run, lambda run, cluster: switch_back(run, cluster, self.reason))
        self.in_passing(lambda: record_switch_back(run, self.ledger(run), done))
        return done


class DrainBadSlot(StellwerkOperator):
    """Move the connections that stayed on the slot that was left, and measure until nobody is there."""

    needs_digest = False
    despite_faults = True

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.rollback.drain_bad_slot`."""
        from include.steps.rollback import drain_bad_slot

        ledger = self.ledger(run)
        return self.with_cluster(run, lambda run, cluster: drain_bad_slot(run, cluster, ledger))


class VerifyTraffic(RollbackOperator):
    """Prove that users get the old version again."""

    def step(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.rollback.verify_traffic`."""
        from include.steps.record import ROLLBACK_VERIFIED
        from include.steps.rollback import verify_traffic

        done = self.with_cluster(run, lambda run, cluster: verify_traffic(run, cluster))
        self.note(run, ROLLBACK_VERIFIED, done)
        return done


class RollbackSummary(RollbackOperator):
    """Write the rollback's end to the ledger and the whole story to the log.

    Going back has waited for no ledger: this waits for it, for hours, since what was done has to be recorded.
    """

    def __init__(self, **kwargs: Any) -> None:
        waits = {"retry_delay": FIRST_WAIT, "max_retry_delay": LONGEST_WAIT, "retry_exponential_backoff": 2}
        super().__init__(**{"retries": 1500, **waits, **kwargs})

    def step(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.rollback.summarise`."""
        from include.steps.rollback import summarise

        ledger = self.ledger(run)
        return self.with_cluster(run, lambda run, cluster: summarise(run, cluster, ledger, self.reason))


class StartRollback(StellwerkOperator):
    """Start ``rollback`` when the watch switched back, or wanted to and could not.

    It runs after a failed watch and looks at the world, not at the failure: where nothing was ever cut over, or a
    human already rolls back, there is nothing to start and the task is skipped.
    """

    needs_digest = False
    despite_faults = True

    def execute(self, context: Context) -> Any:
        """Decide, then hand over to Airflow."""
        super().execute(context)
        raise rollback_of(self._run, f"after__{self._run.run_id}", self._reason)

    def act(self, run: ReleaseRun) -> None:
        """Find out whether there is a rollback to start.

        :raises AirflowSkipException: there is none
        """
        from include.steps.rollback import why_roll_back

        self._run = run
        reason = self.with_cluster(run, lambda run, cluster: why_roll_back(run, cluster, self.ledger(run)))
        if reason is None:
            raise AirflowSkipException("no rollback to start: the traffic is where a human or nobody moved it")
        self._reason = reason
        self.log.info("starting rollback: %s", reason)


def rollback_of(run: ReleaseRun, run_id: str, reason: str) -> DagRunTriggerException:
    """What a task raises to start ``rollback`` for its release; starting it twice starts it once.

    :param run_id: of the run of ``rollback``
    """
    conf = {
        "release": run.release.version,
        "environment": run.environment.name,
        "option": "auto",
        "reason": reason[:500],
    }
    return start_once("rollback", run_id, conf)
