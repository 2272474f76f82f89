"""The steps of ``production-blue-green`` as tasks; what each does is told by its function in ``include.steps``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stellwerk.operators.base import StellwerkOperator

if TYPE_CHECKING:
    from include.steps.run import ReleaseRun


class Preflight(StellwerkOperator):
    """Look whether the release can be switched safely; nothing is written to the cluster."""

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.preflight.preflight`."""
        from include.steps.preflight import preflight

        ledger = self.ledger(run)
        return self.with_helm(run, lambda run, cluster, helm: preflight(run, cluster, helm, ledger))


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
    """Move the traffic, once."""

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.cutover.cut_over`."""
        from include.steps.cutover import cut_over

        ledger = self.ledger(run)
        return self.with_cluster(run, lambda run, cluster: cut_over(run, cluster, ledger))


class Drain(StellwerkOperator):
    """Move the connections that stayed open on the slot that was left."""

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.cutover.drain_left_slot`."""
        from include.steps.cutover import drain_left_slot

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
