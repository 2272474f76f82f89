"""The steps of ``staging-deploy`` as tasks; what each does is told by its function in ``steps.staging``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk.exceptions import AirflowSkipException

from include.steps.staging.entries import MODES
from stellwerk.operators.base import StellwerkOperator
from stellwerk.operators.phase import CompletePhase

if TYPE_CHECKING:
    from airflow.sdk import Context
    from upath import UPath

    from include.steps.run import ReleaseRun


class InMode(StellwerkOperator):
    """A step of one of the run's modes; skipped in the other.

    :param mode: in which it runs; empty: in both
    """

    def __init__(self, *, mode: Literal["", "rehearsal", "final"] = "rehearsal", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode = mode

    def execute(self, context: Context) -> Any:
        """Do the step, or skip it.

        :raises AirflowSkipException: the run has another mode
        """
        self.must_be_in_mode(str(context["params"].get("mode", "")))
        return super().execute(context)

    def must_be_in_mode(self, mode: str) -> None:
        """Refuse what is no mode, and skip in the other one."""
        from include.errors import PlanError
        from stellwerk.operators.base import airflow_errors

        with airflow_errors(self.log):
            if mode not in MODES:
                raise PlanError(f"there is no mode {mode!r}", expected=" or ".join(MODES), seen=mode)
        if self.mode and mode != self.mode:
            raise AirflowSkipException(f"mode {mode}: {MODES[mode]}")


class Rehearses(InMode):
    """Go on in mode ``rehearsal``; in the other one what follows is skipped."""

    needs_digest = False

    def act(self, run: ReleaseRun) -> str:
        """Say what the run is going to do."""
        return MODES["rehearsal"]


class Authorise(StellwerkOperator):
    """Record that the plan itself lets this phase act here: staging changes without people, and says why.

    :param about: what is about to happen, which says what exactly the grant is bound to
    """

    def __init__(self, *, about: Literal["release", "migration"] = "release", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.about = about

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.staging.grant.authorise`."""
        from include.steps.database.gate import decided_about
        from include.steps.staging.grant import authorise

        ledger = self.ledger(run)
        return authorise(decided_about(run, ledger) if self.about == "migration" else run, ledger)


class WhatIsDeployed(StellwerkOperator):
    """Look whether the release is there already; then what would deploy it is skipped."""

    needs_digest = False

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.staging.standing.look`.

        :raises AirflowSkipException: there is nothing to deploy
        """
        from include.steps.staging.standing import look
        from stellwerk.hooks.registry import open_registry

        named = run.environment.connections.registry
        ledger, registry = self.ledger(run), open_registry(named) if named else None
        found = self.with_cluster(run, lambda run, cluster: look(run, cluster, ledger, registry))
        if not found["deploy"]:
            self.note_ledger_head()
            raise AirflowSkipException(f"nothing to deploy: {found['why']}")
        return found


class VerifyUrls(InMode):
    """Ask every address of the environment."""

    needs_digest = False

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.staging.urls.verify_urls`."""
        from include.steps.staging.urls import verify_urls

        return self.wait_for(verify_urls(run, self.ledger(run)))


class SmokeTests(StellwerkOperator):
    """Run the smoke suite on what users of the environment get."""

    needs_digest = False

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.staging.smoke.smoke`."""
        from include.steps.staging.smoke import smoke

        ledger = self.ledger(run)
        return self.with_cluster(run, lambda run, cluster: smoke(run, cluster, ledger))


class LoadTest(InMode):
    """Put the plan's load on the environment and judge what was measured."""

    needs_digest = False

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.staging.load.load_test`."""
        from include.steps.staging.load import load_test

        ledger, folder = self.ledger(run), reports()
        return self.with_cluster(run, lambda run, cluster: load_test(run, cluster, ledger, folder))


class CompleteRehearsal(StellwerkOperator):
    """Conclude a rehearsal of which every part has passed."""

    needs_digest: ClassVar[bool] = False

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.staging.complete.complete`."""
        from include.steps.staging.complete import complete

        ledger, folder = self.ledger(run), reports()
        return self.with_cluster(run, lambda run, cluster: complete(run, ledger, cluster, folder))


class CompleteStaging(CompletePhase):
    """Record that the phase has succeeded, where the ledger says so: states of tasks can be set by hand."""

    def act(self, run: ReleaseRun) -> None:
        """Look for the proof of what this run does, then see :func:`include.steps.phase.complete`.

        :raises EvidenceError: the rehearsal has not passed
        :raises TrafficError: the smoke suite of the final test has not passed
        """
        from include.steps.staging.complete import must_have_passed
        from include.steps.staging.smoke import must_have_passed as must_have_passed_smoke

        if self.variant == "final":
            must_have_passed_smoke(self.ledger(run), run, before="the end of the final test")
        else:
            must_have_passed(run, self.ledger(run))
        super().act(run)


def reports() -> UPath:
    """The folder of all reports, which a rehearsal needs for its evidence.

    :raises ReportError: nobody has said where it is
    """
    from include.errors import ReportError
    from stellwerk.hooks.reports import REPORTS_VARIABLE, reports_folder

    folder = reports_folder()
    if folder is None:
        raise ReportError(
            "there is nowhere to keep the evidence",
            expected=f"the Airflow variable {REPORTS_VARIABLE} with the URL of a folder in object storage",
            seen="no such variable",
            remedy="set it under Admin → Variables, then clear this task",
        )
    return folder
