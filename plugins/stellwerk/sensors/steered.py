"""What humans answer to a running watch, done in its task: steering while it is deferred (DESIGN, section 6)."""

from __future__ import annotations

import threading
from abc import abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.execution_time.hitl import upsert_hitl_detail

from include.errors import ClusterError, LedgerError, RolledBack
from stellwerk.operators.base import StellwerkOperator
from stellwerk.people import assigned
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.steps.run import ReleaseRun
    from include.watch.config import Armed, WatchConfig, WatchOutcome
    from include.watch.steer import Accepted, Answer, Extended

#: XCom with the id of the task instance whose question is open, for whoever closes it
QUESTION_KEY = "question"

_RECORD_SECONDS = 10.0


class Steered(StellwerkOperator):
    """A task that asks (extend, accept, roll back now), is deferred meanwhile, and does what was answered.

    After everything but an end it asks again and defers again.
    """

    needs_digest = False
    despite_faults = True
    _context: Context

    @abstractmethod
    def _watch(self, config: Armed) -> NoReturn:
        """Defer, and go on with this watch."""

    @abstractmethod
    def _ended(self, config: WatchConfig, outcome: WatchOutcome, *, closed: bool) -> Any:
        """Go on, or end, with how the watch has ended.

        :param closed: whether its question is closed
        """

    @abstractmethod
    def _page(self, run: ReleaseRun, config: WatchConfig, outcome: WatchOutcome) -> None:
        """Call people for what the outcome calls them for."""

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
        from include.steps.watch import conclude_watch, kept_account

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
        now, account = datetime.now(UTC).timestamp(), kept_account(config, ledger)
        outcome = accepted_outcome(config, answer, now=now, account=account)
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
            assigned_users=assigned(config.environment, people_of(config.environment)),
        )
        ti.xcom_push(key=QUESTION_KEY, value=str(ti.id))

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
