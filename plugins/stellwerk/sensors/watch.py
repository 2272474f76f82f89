"""The watch after cutover: one deferred task that humans can steer for as long as it runs (DESIGN, section 6).

It begins beside the cutover, which waits until it is awake, and asks and waits in a trigger at the same time.
Whatever resumes it is an event of the trigger or the answer of a human; after everything but an end it defers
again, and the trigger goes on with the same window.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.execution_time.hitl import HITLUser, upsert_hitl_detail

from include.errors import ClusterError, LedgerError, RolledBack, StellwerkError
from stellwerk.operators.base import StellwerkOperator, airflow_errors
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.steps.run import ReleaseRun
    from include.watch.config import Armed, WatchConfig, WatchOutcome
    from include.watch.steer import Accepted, Answer, Extended

#: XCom with the id of the task instance whose question is open, for whoever closes it
QUESTION_KEY = "question"

_RECORD_SECONDS = 10.0


class ReleaseWatch(StellwerkOperator):
    """Watch the active slot until the window ends, a trigger fires, or a human ends it.

    A sensor that never pokes: it records a question (extend, accept, roll back now) and defers to
    :class:`stellwerk.triggers.watch.WatchTrigger`. Start, deadline, extensions and baseline are in the ledger: a
    retry goes on with the same window. Deferred, it does nothing in ``on_kill``: that also fires when another
    triggerer takes over, and on every answer.

    :param cutover: id of the task that moves the traffic
    """

    needs_digest = False

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
            answer = answer_of(event, now=datetime.now(UTC))
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

    # -- the trigger's events --------------------------------------------------------------------------------

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
        if not outcome.pages:
            return
        from include.steps.page import matters, page
        from stellwerk.notifiers.transport import transports

        connections = run.environment.connections
        try:
            ledger = self.ledger(run)
        except LedgerError as error:
            self.log.warning("%s", error)
            ledger = None
        for matter in matters(config, outcome):
            page(run, ledger, matter, transports(connections.slack, connections.smtp))

    def _late(self, event: dict[str, Any]) -> None:
        from include.steps.steering import record_late
        from include.watch.steer import answer_of

        answer = answer_of(event["late_answer"], now=datetime.now(UTC))
        if answer is None:
            return
        why = f"the watch was ending with {event.get('result')}"
        self.log.warning("answered too late: %s; %s", answer.sentence, why)
        run = release_run(self._context, with_digest=False)
        record_late(run, self.ledger(run), answer, why)

    # -- the answers of humans -------------------------------------------------------------------------------

    def _answered(self, watched: WatchConfig | Armed, answer: Answer) -> Any:
        from include.steps.steering import people_of
        from include.watch.config import WatchConfig
        from include.watch.steer import Accepted, Extended, RollBack, steer

        try:
            config = watched if isinstance(watched, WatchConfig) else self._window(watched)
        except LedgerError as error:
            return self._answered_blindly(watched, answer, error)
        if config is None:
            return self._answered_early(watched, answer)
        now = datetime.now(UTC).timestamp()
        decision = steer(answer, config, now=now, people=people_of(config.environment))
        if isinstance(decision, RollBack):
            return self._roll_back(config, answer)
        try:
            if isinstance(decision, Extended):
                return self._extend(config, answer, decision)
            if isinstance(decision, Accepted):
                return self._accept(config, answer, decision)
        except (LedgerError, ClusterError) as error:
            return self._ask_again(config, answer, f"it cannot be done now: {error}")
        return self._ask_again(config, answer, decision.why)

    def _window(self, armed: Armed) -> WatchConfig | None:
        """The window that has begun; None while none has, as far as anybody can tell.

        :raises LedgerError: nobody can tell
        """
        from include.steps.arming import started
        from include.steps.steering import resumed
        from include.watch.arming import window_of
        from stellwerk.triggers.armed import WINDOW_KEY

        ti = self._context["ti"]
        try:
            ledger = self._ledger_of(armed)
            known = started(armed, ledger)
            return resumed(known, known, ledger) if known else None
        except LedgerError:
            kept = window_of(armed, ti.xcom_pull(task_ids=ti.task_id, key=WINDOW_KEY))
            if kept is None:
                raise
            return kept

    def _answered_early(self, armed: Armed, answer: Answer) -> Any:
        """No window has begun: an order to roll back stops the cutover, or is done once the traffic has come."""
        from include.steps.steering import people_of, record_order
        from include.watch.steer import RollBack, steer_early

        decision = steer_early(answer, people=people_of(armed.environment))
        if not isinstance(decision, RollBack):
            self._ask_again(armed, answer, decision.why)
        try:
            record_order(armed, self._ledger_of(armed), answer)
        except LedgerError as error:
            self._ask_again(armed, answer, f"it cannot be done now: {error}")
        self.log.warning("recorded: the cutover stops, or is taken back once the traffic has come")
        # Asked anew: an answer that stands would end the next trigger at once.
        self._ask(armed)
        self._watch(armed)

    def _answered_blindly(self, armed: Armed, answer: Answer, error: LedgerError) -> Any:
        """Whether a window has begun is not known: rolling back waits for nobody, all else does."""
        from include.steps.steering import people_of
        from include.watch.steer import RollBack, steer_early

        if not isinstance(steer_early(answer, people=people_of(armed.environment)), RollBack):
            self._ask_again(armed, answer, f"it cannot be done now: {error}")
        at = answer.at.timestamp()
        return self._roll_back(armed.window(at, at, {}, may_switch_back=False), answer, armed=armed)

    def _extend(self, config: WatchConfig, answer: Answer, decision: Extended) -> NoReturn:
        from include.steps.steering import record_extended

        record_extended(config, self._ledger_of(config), answer, decision)
        self.log.info("extended by %g minutes, until %s", decision.minutes, decision.config.deadline_text)
        self._ask(decision.config)
        self._watch(decision.config)

    def _accept(self, config: WatchConfig, answer: Answer, decision: Accepted) -> Any:
        from include.steps.feedback import against_passing, since_cutover
        from include.steps.steering import accepted_outcome, left_meanwhile, record_accepted, record_late
        from include.steps.watch import conclude_watch

        run = release_run(self._context, with_digest=False)
        ledger = self.ledger(run)
        left = self.with_cluster(run, lambda _, cluster: left_meanwhile(config, cluster))
        if left is not None:
            why = f"{left.result}: {left.sentence}"
            self.log.warning("answered too late: %s; %s", answer.sentence, why)
            record_late(run, ledger, answer, why)
            return self._ended(config, left, closed=False)
        overruled = against_passing(since_cutover(run, ledger))
        for sentence in overruled:
            self.log.warning("accepted in spite of: %s", sentence)
        record_accepted(config, ledger, answer, overruled)
        self.log.info("accepted: %s", decision.reason)
        outcome = accepted_outcome(config, answer, now=datetime.now(UTC).timestamp())
        result = conclude_watch(run, ledger, outcome)
        self.note_ledger_head()
        return result

    def _roll_back(self, config: WatchConfig, answer: Answer, *, armed: Armed | None = None) -> Any:
        """Switch back in this very task; the order's record is written beside it, and nobody waits for it.

        :param armed: what is watched on where it was not possible and ``config`` only stands in for a window
        """
        from include.steps.steering import roll_back_now

        recording = threading.Thread(target=self._record_order, args=(config, answer), daemon=True)
        recording.start()
        outcome = self.with_watched_cluster(config, lambda cluster: roll_back_now(config, cluster, answer))
        self.log.warning("%s: %s", outcome.result, outcome.sentence)
        recording.join(_RECORD_SECONDS)
        if outcome.result == "ROLLBACK_BLOCKED":
            self._ask(config)
            if armed is not None:
                self._page(release_run(self._context, with_digest=False), config, outcome)
                return self._watch(armed)
        try:
            self._record_switch(config, answer, outcome)
            return self._ended(config, outcome, closed=False)
        except LedgerError as error:
            raise RolledBack(
                f"rolled back by {answer.user}", seen=f"{outcome.sentence}; not recorded yet: {error}"
            ) from error

    def _record_order(self, config: WatchConfig, answer: Answer) -> None:
        from include.steps.steering import record_order

        try:
            record_order(config, self._ledger_of(config), answer)
        except Exception as error:  # noqa: BLE001 - the switch goes on whatever became of its record
            self.log.warning("the order is not recorded: %s", error)

    def _record_switch(self, config: WatchConfig, answer: Answer, outcome: WatchOutcome) -> None:
        from include.steps.steering import record_switch

        if outcome.result == "ROLLED_BACK":
            record_switch(config, self._ledger_of(config), answer, outcome)

    def _ask_again(self, config: Armed, answer: Answer, why: str) -> NoReturn:
        from include.steps.steering import record_refused

        self.log.warning("asked again: %s", why)
        try:
            record_refused(config, self._ledger_of(config), answer, why)
        except LedgerError as error:
            self.log.warning("the answer is not recorded: %s", error)
        self._context["ti"].xcom_push(key="asked_again", value=f"{answer.sentence}; asked again: {why}")
        self._ask(config)
        self._watch(config)

    # -- asking and waiting ----------------------------------------------------------------------------------

    def _ask(self, config: Armed) -> None:
        """Record the question; one that was answered is open again, with the words it had at first."""
        from include.steps.steering import people_of, watch_question
        from include.watch.steer import OPTIONS

        ti, asked = self._context["ti"], watch_question(config)
        upsert_hitl_detail(
            ti.id,
            list(OPTIONS),
            asked.subject,
            asked.body,
            params=_form(),
            assigned_users=[HITLUser(id=user, name=user) for user in people_of(config.environment)],
        )
        ti.xcom_push(key=QUESTION_KEY, value=str(ti.id))

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

    def _ledger_of(self, config: Armed) -> Any:
        from stellwerk.hooks.ledger import open_ledger

        self._ledger = open_ledger(config.environment.connections.ledger)
        return self._ledger


def _form() -> dict[str, Any]:
    """The form's fields. A field without a value would fail the task before it asks, so each has an empty one."""
    from airflow.sdk import Param

    from include.watch.steer import COMMENT, MINUTES

    fields = {
        COMMENT: Param("", type="string", title="Comment", description="Why; Accept needs it. Kept in the ledger"),
        MINUTES: Param("", type="string", title="Minutes", description="Only for Extend: how much longer"),
    }
    return {name: field.serialize() for name, field in fields.items()}
