"""Taking over what was installed before Stellwerk, and giving it back, as tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stellwerk.operators.base import StellwerkOperator

if TYPE_CHECKING:
    from include.steps.run import ReleaseRun


class Adopt(StellwerkOperator):
    """Make what takes the traffic a slot, when it was installed before Stellwerk; nothing otherwise."""

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.adoption.adopt`."""
        from include.steps.adoption import adopt

        ledger = self.ledger(run)
        return self.with_helm(run, lambda run, cluster, helm: adopt(run, cluster, helm, ledger))


class UndoAdoption(StellwerkOperator):
    """Give the traffic Service back to the Helm release it came from; the traffic stays where it is."""

    template_fields = ("reason",)

    def __init__(self, *, reason: str = "{{ params.reason }}", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reason = reason

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.adoption.undo`."""
        from include.steps.adoption import undo

        ledger = self.ledger(run)
        return self.with_cluster(run, lambda run, cluster: undo(run, cluster, ledger, self.reason))
