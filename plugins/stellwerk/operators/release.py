"""The steps of ``production-blue-green`` as tasks; what each does is told by its function in ``include.steps``."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from include.errors import ClusterError
from stellwerk.operators.base import StellwerkOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.bluegreen.eligibility import Restorable
    from include.clients.helm import Helm
    from include.clients.kubernetes import Cluster
    from include.clients.prometheus import Prometheus
    from include.steps.run import ReleaseRun


class Preflight(StellwerkOperator):
    """Look whether the release can be switched safely; nothing is written to the cluster."""

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.preflight.preflight`."""
        from include.steps.database.full_restore import restorable
        from include.steps.preflight import Elsewhere, preflight
        from stellwerk.hooks.database import open_site
        from stellwerk.hooks.prometheus import PrometheusHook
        from stellwerk.hooks.registry import open_registry

        named = run.environment.connections.registry
        ledger, registry = self.ledger(run), open_registry(named) if named else None
        hook = PrometheusHook.needed(run.environment)

        def backup() -> Restorable:
            return restorable(run, lambda: open_site(run), lambda: ledger)

        async def step(run: ReleaseRun, cluster: Cluster, helm: Helm) -> dict[str, Any]:
            async with hook.client() if hook else nullcontext() as prometheus:
                return await preflight(run, cluster, helm, ledger, Elsewhere(registry, prometheus, backup))

        return self.with_helm(run, step)


class DeployIdleSlot(StellwerkOperator):
    """Install the new version into the slot that takes no traffic."""

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.deploy.deploy`."""
        from include.steps.deploy import deploy

        ledger = self.ledger(run)
        return self.with_helm(run, lambda run, cluster, helm: deploy(run, cluster, helm, ledger))


class VerifyIdleSlot(StellwerkOperator):
    """Prove the idle slot: ready endpoints, health endpoints, smoke suite through the preview Service."""

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.verify.verify_idle`."""
        from include.steps.verify import verify_idle

        ledger = self.ledger(run)
        return self.with_cluster(run, lambda run, cluster: verify_idle(run, cluster, ledger))


class Cutover(StellwerkOperator):
    """Move the traffic, once.

    :param watched: whether nothing moves before the watch is awake; not so where nobody watches, in staging
    """

    def __init__(self, *, watched: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.watched = watched

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.cutover.cut_over`."""
        from include.steps.cutover import cut_over

        ledger = self.ledger(run)
        watched = self.watched or run.environment.name != "staging"

        async def step(run: ReleaseRun, cluster: Cluster, prometheus: Prometheus | None) -> dict[str, Any]:
            return await cut_over(run, cluster, ledger, prometheus, watched=watched)

        return self.with_metrics(run, step)


class Drain(StellwerkOperator):
    """Move the connections that stayed open on the slot that was left."""

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.drain.drain_left_slot`."""
        from include.steps.drain import drain_left_slot

        ledger = self.ledger(run)
        return self.with_cluster(run, lambda run, cluster: drain_left_slot(run, cluster, ledger))


class CleanUp(StellwerkOperator):
    """Scale the old slot to zero once the watch has passed; its Helm release and history stay."""

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.cleanup.clean_up`."""
        from include.steps.cleanup import clean_up

        ledger = self.ledger(run)
        return self.with_helm(run, lambda run, cluster, helm: clean_up(run, cluster, helm, ledger))


class FinalVerification(StellwerkOperator):
    """Prove that the release is what users get."""

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.verify.verify_released`."""
        from include.steps.verify import verify_released

        ledger = self.ledger(run)
        return self.with_cluster(run, lambda run, cluster: verify_released(run, cluster, ledger))


class ReleaseLease(StellwerkOperator):
    """Give the environment free for the next release; kept while the traffic is on a release nobody has proven.

    As a teardown it is all that still runs when somebody ends the run by hand. Airflow would then call the run a
    success, every other task being skipped: this one fails it.

    :param proven_by: id of the task that is the release's last step
    """

    despite_faults = True

    def __init__(self, *, proven_by: str, retries: int = 2, **kwargs: Any) -> None:
        super().__init__(retries=retries, **kwargs)
        self.proven_by = proven_by
        self.give_up_after = retries

    def execute(self, context: Context) -> Any:
        """Give up the Lease, or say why not; a cluster that gives no answer makes no release a failure."""
        ti, run_id = context["ti"], context["dag_run"].run_id
        result = None
        try:
            result = super().execute(context)
        except AirflowException as error:
            if not isinstance(error.__cause__, ClusterError) or ti.try_number <= self.give_up_after:
                raise
            self.log.warning("the Lease is left to expire: %s", error)
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[self.proven_by], run_ids=[run_id])
        if states.get(run_id, {}).get(self.proven_by) == "skipped":
            raise AirflowFailException(f"the run was ended by hand before {self.proven_by}: it is no success")
        return result

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.lease.release_lease`."""
        from include.steps.lease import release_lease

        ledger = self.ledger(run)
        return self.with_cluster(run, lambda run, cluster: release_lease(run, cluster, ledger))
