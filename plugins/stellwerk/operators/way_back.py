"""The way back of a migration as tasks: stated, offered to a human, gone after a yes and never without one."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from stellwerk.operators.database import DatabaseOperator
from stellwerk.operators.loss import AskLoss, places
from stellwerk.paging import call_people
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from include.errors import DatabaseError
    from include.ledger.store import Ledger
    from include.steps.database.site import Site
    from include.steps.page import Matter
    from include.steps.run import ReleaseRun

TAKE: Final = "Take back"
KEEP: Final = "Keep"


class StateWayBack(DatabaseOperator):
    """Look where the run's migration has left the database, and say what going back would lose.

    A run that has not begun to migrate, and has not seen the running version fail on what another one has left,
    offers nothing: what an earlier one did well is not taken back because this one has failed to look.

    :param asks: the task that asks about it, in the same group; it is expanded over what this one returns
    """

    despite_faults = True

    def __init__(self, *, asks: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asks = asks

    def execute(self, context: Context) -> Any:
        """State it; when the last try has failed, call people: nobody is asked, and somebody has to know.

        Where it is the database that gives no answer, what is known without it is said, and the task is skipped:
        what has failed is the migration, and this has found out nothing about it.
        """
        from include.errors import DatabaseError, LedgerError

        try:
            return super().execute(context)
        except AirflowSkipException:
            raise
        except Exception as error:
            instance = context["ti"]
            if not isinstance(error, AirflowFailException) and instance.try_number <= instance.max_tries:
                raise
            run, why = release_run(context, with_digest=False), error.__cause__
            if isinstance(why, DatabaseError):
                with suppress(LedgerError):
                    self._unknown(run, why)
            self._call(run, why or error)
            raise

    def _unknown(self, run: ReleaseRun, why: DatabaseError) -> NoReturn:
        """Skip with what the ledger knows.

        :raises LedgerError: it gives no answer either
        """
        from include.steps.database.way_back import way_back_unknown
        from include.steps.page import Matter

        told = way_back_unknown(run, self.ledger(run), why)
        self.note_ledger_head()
        call_people(self, run, [Matter("way-back-unknown", told["what"], told["seen"], told["remedy"])])
        raise AirflowSkipException(f"{told['what']}; {told['seen']}; do: {told['remedy']}")

    def _call(self, run: ReleaseRun, error: BaseException) -> None:
        from include.steps.page import Matter

        key = f"way-back-not-stated:{type(error).__name__}"
        what = "what the migration has left is not stated, so nobody is asked whether to take the schema back"
        remedy = (
            f"read the log of {self.task_id}, and clear it when the cause is gone; until then the schema stays"
        )
        call_people(self, run, [Matter(key, what, str(error), remedy)])

    def act(self, run: ReleaseRun) -> Any:
        """Skip, before anything is opened, where this run has nothing to offer."""
        from include.steps.database.entries import MIGRATION_WATCH_FAILED
        from include.steps.record import all_recorded
        from include.steps.schema_course import MIGRATION_INTENDED

        if not all_recorded(self.ledger(run), run, MIGRATION_INTENDED, MIGRATION_WATCH_FAILED):
            raise AirflowSkipException("this run has not begun to migrate")
        return super().act(run)

    def step(self, run: ReleaseRun, site: Site, ledger: Ledger) -> Any:
        """See :func:`include.steps.database.way_back.state_way_back`; skip where there is nothing to take back."""
        from include.steps.database.apply import gave_up
        from include.steps.database.way_back import state_way_back

        gave_up(run, site, ledger)
        stated = state_way_back(run, site, ledger, traffic=partial(self.traffic, run))
        if not stated["needed"]:
            raise AirflowSkipException(stated["text"])
        return places(run, ledger, self.task_id, self.asks)


class AskTakeBack(AskLoss):
    """Ask whether the schema is taken back; silence keeps it."""

    yes, no = TAKE, KEEP

    @property
    def statement(self) -> str:
        """What going back would lose."""
        from include.steps.database.entries import WAY_BACK_STATED

        return WAY_BACK_STATED

    def subject_of(self, run: ReleaseRun) -> str:
        """Which schema."""
        release = run.release
        return f"{release.version} to {run.environment.name}: take the schema back to that of {release.previous}?"

    def text_of(self, stated: Mapping[str, Any]) -> str:
        """The statement."""
        from include.markdown import literal

        return literal(stated["text"])

    def matter_of(self, run: ReleaseRun, ledger: Ledger, stated: Mapping[str, Any]) -> Matter:
        """Users are on that schema, and silence keeps it."""
        from include.steps.page import Matter

        silence = f"without an answer in {self.answer_within(run, stated).total_seconds() / 60:.0f} minutes"
        return Matter(
            f"way-back-waits:{str(stated['digest'])[:16]}",
            "a migration did not end well: people decide whether to take the schema back",
            str(stated["text"]),
            f"answer {self.task_id} under the required actions; {silence} the schema is kept",
        )

    def kept(self, run: ReleaseRun, why: str, *, said_no: bool) -> NoReturn:
        """Skip what follows."""
        raise AirflowSkipException(f"the schema is kept: {why}")


class TakeBack(DatabaseOperator):
    """Go down to the recorded revision set, after a human has confirmed what that loses."""

    despite_faults = True

    def step(self, run: ReleaseRun, site: Site, ledger: Ledger) -> Any:
        """See :func:`include.steps.database.way_back.take_back`."""
        from include.steps.database.way_back import take_back

        traffic = partial(self.traffic, run)
        return take_back(run, site, ledger, started=self._ends_with_us, traffic=traffic)
