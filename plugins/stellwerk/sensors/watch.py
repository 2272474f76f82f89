"""The watch after cutover: one deferred task that humans can steer for as long as it runs (DESIGN, section 6).

It begins beside the cutover, which waits until it is awake, and asks and waits in a trigger at the same time.
Whatever resumes it is an event of the trigger or the answer of a human; after everything but an end it defers
again, and the trigger goes on with the same window.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from include.errors import StellwerkError
from stellwerk.operators.base import airflow_errors
from stellwerk.paging import call_people
from stellwerk.runs import release_run
from stellwerk.sensors.steered import Steered

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.steps.run import ReleaseRun
    from include.watch.config import Armed, WatchConfig, WatchOutcome


class ReleaseWatch(Steered):
    """Watch the active slot until the window ends, a trigger fires, or a human ends it.

    A sensor that never pokes: it records a question (extend, accept, roll back now) and defers to
    :class:`stellwerk.triggers.watch.WatchTrigger`. Start, deadline, extensions and baseline are in the ledger: a
    retry goes on with the same window. Deferred, it does nothing in ``on_kill``: that also fires when another
    triggerer takes over, and on every answer.

    :param cutover: id of the task that moves the traffic
    """

    def __init__(self, *, cutover: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cutover = cutover

    def execute(self, context: Context) -> Any:
        """Begin (or resume) the watch, ask, and defer."""
        self._context = context
        return super().execute(context)

    def act(self, run: ReleaseRun) -> Any:
        """Defer; a watch that has passed stays passed, a rollback that was ordered is made."""
        from include.steps.arming import begin_watch
        from include.steps.record import WATCH_PASSED, recorded
        from include.steps.steering import resumed, standing_order
        from include.watch.config import WatchConfig

        ledger = self.ledger(run)
        if passed := recorded(ledger, run, WATCH_PASSED):
            self.log.info("nothing to do: the watch has passed, ledger entry %d", passed.sequence)
            return dict(passed.payload)

        async def begin(run: ReleaseRun, _: Any) -> WatchConfig | Armed:
            return begin_watch(run, ledger)

        watched = self.with_cluster(run, begin)
        if not isinstance(watched, WatchConfig):
            self._ask(watched)
            return self._watch(watched)
        config = resumed(watched, run, ledger)
        if order := standing_order(config, run, ledger):
            self.log.warning("still to be done: %s", order.sentence)
            return self._roll_back(config, order)
        self._ask(config)
        return self._watch(config)

    def execute_complete(self, context: Context, event: dict[str, Any], config: dict[str, Any]) -> Any:
        """Go on after the trigger's event or a human's answer."""
        from include.watch.config import WatchConfig, WatchOutcome, load_watch
        from include.watch.steer import Answer, answer_of

        self._context = context
        with airflow_errors(self.log):
            # A watch that began armed tells its window in its event; an answer comes without.
            watched = load_watch(event.get("config") or config)
            answer = answer_of(event, now=datetime.now(UTC), accounts=watched.environment.accounts)
            if answer is not None:
                self.log.info("%s", answer.sentence)
                return self._answered(watched, answer)
            if event.get("late_answer"):
                self._late(event)
            outcome = WatchOutcome.load(event)
            self.log.info("%s: %s", outcome.result, outcome.sentence)
            if not isinstance(watched, WatchConfig):
                return self._concluded(outcome)
            if outcome.result == "ORDERED":
                return self._roll_back(watched, Answer.of_facts(outcome.measures))
            return self._ended(watched, outcome, closed=bool(event.get("closed")))

    def _concluded(self, outcome: WatchOutcome) -> Any:
        from include.steps.watch import conclude_watch

        run = release_run(self._context, with_digest=False)
        try:
            return conclude_watch(run, self.ledger(run), outcome)
        except StellwerkError:
            self._context["ti"].xcom_push(key="outcome", value=outcome.dump())
            raise
        finally:
            self.note_ledger_head()

    def _ended(self, config: WatchConfig, outcome: WatchOutcome, *, closed: bool) -> Any:
        from include.steps.feedback import since_cutover
        from include.steps.steering import held_by_feedback

        run = release_run(self._context, with_digest=False)
        if outcome.result in ("PASSED", "HELD"):
            given = since_cutover(run, self.ledger(run))
            for report in given:
                self.log.info("feedback of %s", report.sentence)
            outcome = held_by_feedback(outcome, given)
            self.log.info("with the feedback: %s: %s", outcome.result, outcome.sentence)
        self._page(run, config, outcome)
        if outcome.result in ("NOTICE", "HELD", "ROLLBACK_BLOCKED"):
            if closed:
                self._ask(config)
            # Not otherwise: recording the question again would wipe out an answer given just now.
            return self._watch(config.after(outcome))
        return self._concluded(outcome)

    def _page(self, run: ReleaseRun, config: WatchConfig, outcome: WatchOutcome) -> None:
        """Call people for what the outcome calls them for: once, and within seconds."""
        from include.steps.page import matters

        call_people(self, run, matters(config, outcome))

    def _late(self, event: dict[str, Any]) -> None:
        from include.steps.steering import record_late
        from include.watch.steer import answer_of

        run = release_run(self._context, with_digest=False)
        answer = answer_of(event["late_answer"], now=datetime.now(UTC), accounts=run.environment.accounts)
        if answer is None:
            return
        why = f"the watch was ending with {event.get('result')}"
        self.log.warning("answered too late: %s; %s", answer.sentence, why)
        record_late(run, self.ledger(run), answer, why)

    def _watch(self, config: Armed) -> NoReturn:
        from include.watch.config import WatchConfig
        from stellwerk.triggers.watch import WatchTrigger

        if isinstance(config, WatchConfig):
            self.log.info("watching %s until %s", config.target, config.deadline_text)
        else:
            self.log.info("ready to watch %s from its cutover on", config.target)
        self.defer(
            trigger=WatchTrigger(config=config.dump(), cutover=self.cutover),
            method_name="execute_complete",
            kwargs={"config": config.dump()},
        )
