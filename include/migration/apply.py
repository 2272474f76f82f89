"""Runs a decided migration, up or down, and ends with the database at a declared state.

The application's Alembic works in a process of its own; this one watches the server. Whatever dies, no backend is
left: the server notices a client that is gone (``client_connection_check_interval``), the process notices that its
starter is gone, and every further try ends what carries the run's tag before it does anything else.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from include.database.connection import Database, client_environment
from include.database.session import Session, lock_key
from include.errors import (
    DatabaseError,
    MigrationBlocked,
    MigrationBusy,
    MigrationError,
    MigrationFailed,
    MigrationInterrupted,
    SchemaDiffers,
    WrongDatabase,
)
from include.migration.activity import Blocker, backends, blockers, end_backends, tag
from include.migration.dead_client import accepted
from include.migration.failure import failure, may_be_tried_again, of_database
from include.migration.job import LOCK, Job, Outcome, Progress
from include.migration.observe import connection, schema_now, state
from include.migration.preflight import not_recorded, the_table
from include.migration.process import Runner
from include.migration.repair import busy, end_leftovers, prepare
from include.migration.state import Declared

log = logging.getLogger(__name__)

Report = Callable[[Progress], None]
Permit = Callable[[], object]
"""Asked before each attempt, and before the end is told, whether this is still wanted; raises where it is not."""

_REPEAT_SECONDS: Final = 10.0


def always() -> None:
    """For whoever has nothing to ask."""


def log_progress(progress: Progress) -> None:
    """Into the log."""
    (log.warning if progress.blockers else log.info)("%s", progress.shown)


@dataclass(frozen=True)
class _Ending:
    """How one run of the process ended.

    :param event: its last word: ``finished``, ``failed``, or ``died`` when it had none
    :param at: the revision that had begun last, with its file; empty when none had
    """

    event: Mapping[str, Any]
    at: Mapping[str, Any]
    blockers: tuple[Blocker, ...]


class Migration:
    """One migration; ``run`` may be called again in another process after any death."""

    def __init__(
        self, job: Job, database: Database, *, report: Report = log_progress, permit: Permit = always
    ) -> None:
        self._job = job
        self._database = database
        self._report = report
        self._permit = permit
        self._tag = tag(job.key)
        self._stop = threading.Event()
        self._runner: Runner | None = None
        self._timings: dict[str, float] = {}
        self._blockers: dict[int, Blocker] = {}

    def run(self) -> Outcome:
        """Bring the database to the end of the plan, from wherever on it it stands.

        :raises WrongDatabase: the connection leads elsewhere, or the application's env.py does
        :raises MigrationRefused: the database is on no way of this migration, or its schema is not the recorded
        :raises MigrationBusy: another migration is running in it
        :raises MigrationBlocked: locks were not to be had; who holds them is named
        :raises MigrationInterrupted: the process or its connection was ended, or the server gives no answer
        :raises MigrationFailed: a statement or the tree failed; ``state`` says where the database stands
        :raises SchemaDiffers: it ran, and the result is not the rehearsal's
        """
        try:
            return self._run()
        except DatabaseError as error:
            raise of_database(error, str(self._settled())) from error
        except (MigrationBlocked, MigrationBusy) as error:
            error.state = error.state or str(self._settled())
            raise

    def cancel(self) -> None:
        """Stop it: the process and its backend end now. Safe in a signal handler and in another thread."""
        self._stop.set()
        if self._runner is not None:
            self._runner.kill()
        with contextlib.suppress(DatabaseError, TimeoutError), connection(self._database) as opened:
            end_backends(opened, self._tag)

    # -- the run -----------------------------------------------------------------------------------------------

    def _run(self) -> Outcome:
        attempt = 0
        with connection(self._database) as opened:
            self._refuse_elsewhere(opened)
            end_leftovers(opened, self._job.key)
        while True:
            with connection(self._database) as opened:
                position = self._position(opened)
                # After the look: whoever takes the schema back says so before anything is done.
                self._permit()
                if position == len(self._job.plan):
                    return self._verified(opened, attempt)
                prepare(opened, self._job, position)
                attempt += 1
                ending = self._attempt(opened, position)
            self._judge(ending, attempt)
            if ending.event["event"] == "finished":
                with connection(self._database) as opened:
                    self._refuse_unfinished(self._position(opened))

    def _refuse_elsewhere(self, opened: Session) -> None:
        found = state(opened)
        if found.identity != self._job.identity:
            raise WrongDatabase(
                "the connection leads to another database than the one that was looked at",
                expected=self._job.identity.shown,
                seen=found.identity.shown,
                remedy="mend the connection; nothing was touched",
            )
        if error := not_recorded(self._job.tree, found):
            raise error

    def _refuse_unfinished(self, position: int) -> None:
        if position < len(self._job.plan):
            raise MigrationFailed(
                "every revision ran, and the database does not have them",
                seen=f"{position} of {len(self._job.plan)} steps",
                remedy="env.py has to commit: `with context.begin_transaction(): context.run_migrations()`",
                state=str(self._settled()),
            )

    def _rows(self, opened: Session) -> frozenset[str]:
        table = the_table(self._job.tree, state(opened))
        return table.revisions if table else frozenset()

    def _position(self, opened: Session) -> int:
        rows = self._rows(opened)
        position = self._job.position(rows)
        if position is None:
            raise self._job.refuse_elsewhere(rows)
        return position

    def _verified(self, opened: Session, attempts: int) -> Outcome:
        seen = schema_now(opened)
        declared = self._job.declare(self._rows(opened), seen)
        expected = self._job.expected
        if expected is not None and expected.fingerprint != seen.fingerprint:
            differences = expected.differences(seen)
            raise SchemaDiffers(
                "the schema is not the one that the rehearsal ended with",
                expected=f"fingerprint {expected.fingerprint[:16]}",
                seen=", ".join(differences[:20]),
                remedy="compare both databases; the recorded way back is still there",
                state=str(declared),
            )
        return Outcome(declared, seen, attempts, dict(self._timings), tuple(self._blockers.values()))

    # -- one attempt -------------------------------------------------------------------------------------------

    def _attempt(self, opened: Session, position: int) -> _Ending:
        with client_environment(self._guarded(), application=self._tag) as environment:
            self._refuse_stopped()
            runner = self._runner = Runner(self._job.tree, environment, hidden=self._database.password)
            try:
                runner.ask(self._request(opened, position))
                return self._watched(opened, runner)
            finally:
                runner.end()
                self._runner = None
                with contextlib.suppress(DatabaseError, TimeoutError), connection(self._database) as fresh:
                    end_backends(fresh, self._tag)

    def _guarded(self) -> Database:
        """Whoever connects with its environment has the limits, not only who asks SQLAlchemy."""
        options = self._database.options
        asked = f"{options.get('options', '')} {self._job.limits.options}".strip()
        return replace(self._database, options={**options, "options": asked})

    def _request(self, opened: Session, position: int) -> dict[str, Any]:
        table = the_table(self._job.tree, state(opened))
        schema = table.schema if table else self._job.tree.version_schema
        return {
            "do": "run",
            "url": self._database.url(self._job.tree.driver)
            .render_as_string(hide_password=True)
            .replace(":***@", "@"),
            "identity": {"system": self._job.identity.system_identifier, "name": self._job.identity.name},
            "lock": lock_key(LOCK),
            "settings": {"application_name": self._tag, **self._job.limits.settings, **accepted(opened)},
            "version_table": [schema, self._job.tree.version_table],
            "start": sorted(table.revisions if table else ()),
            "plan": [
                {"revision": one.revision, "up": one.up, "digest": self._job.graph.by_name[one.revision].digest}
                for one in self._job.plan[position:]
            ],
        }

    def _watched(self, opened: Session, runner: Runner) -> _Ending:
        at: Mapping[str, Any] = {}
        last = ("", 0.0)
        waited_for: tuple[Blocker, ...] = ()
        while not self._stop.is_set():
            try:
                event = runner.next(min(self._job.limits.poll, self._job.limits.lock / 4))
            except EOFError:
                return _Ending({"event": "died", "message": "\n".join(runner.tail[-5:])}, at, waited_for)
            if event is not None and event["event"] in ("finished", "failed"):
                return _Ending(event, at, waited_for)
            if event is not None:
                at = self._noted(event, at)
                continue
            progress = Progress(at.get("revision", ""), backends(opened, self._tag), blockers(opened, self._tag))
            waited_for = progress.blockers or waited_for
            self._blockers.update({one.pid: one for one in progress.blockers})
            last = self._reported(progress, last)
        return _Ending({"event": "died", "message": "it was stopped"}, at, waited_for)

    def _noted(self, event: Mapping[str, Any], at: Mapping[str, Any]) -> Mapping[str, Any]:
        if event["event"] == "ran":
            self._timings[event["revision"]] = float(event["seconds"])
            log.info("revision %s ran in %.1f s", event["revision"], event["seconds"])
        if event["event"] == "revision":
            log.info("%s %s (%s)", "up to" if event["up"] else "down from", event["revision"], event["file"])
            return event
        return at

    def _reported(self, progress: Progress, last: tuple[str, float]) -> tuple[str, float]:
        """Report what is new, and what is old again after a while."""
        text = f"{progress.revision} {[one.statement for one in progress.backends]} {progress.blockers != ()}"
        if text == last[0] and time.monotonic() - last[1] < _REPEAT_SECONDS:
            return last
        self._report(progress)
        return text, time.monotonic()

    # -- its end -----------------------------------------------------------------------------------------------

    def _judge(self, ending: _Ending, attempt: int) -> None:
        """Return when the loop goes on: it is finished, or may be tried again after a pause."""
        event = ending.event
        if event["event"] == "finished":
            return
        self._refuse_stopped()
        if event.get("kind") == "busy":
            with connection(self._database) as opened:
                raise busy(opened)
        if may_be_tried_again(event):
            if attempt >= self._job.limits.attempts:
                raise self._blocked(ending)
            pause = self._job.limits.pause_after(attempt)
            log.warning("%s; attempt %d follows in %.0f s", event["message"], attempt + 1, pause)
            self._stop.wait(pause)
            self._refuse_stopped()
            return
        raise failure(event, ending.at, self._job.limits, str(self._settled()))

    def _refuse_stopped(self) -> None:
        if self._stop.is_set():
            raise MigrationInterrupted(
                "the migration was stopped", remedy="clear the task: it goes on", state=str(self._settled())
            )

    def _blocked(self, ending: _Ending) -> MigrationError:
        who = "; ".join(one.shown for one in ending.blockers)
        return MigrationBlocked(
            f"revision {ending.at.get('revision', '(the first)')} did not get its locks",
            expected=f"a lock within {self._job.limits.lock:g} s, in {self._job.limits.attempts} attempts",
            seen=who or "nobody was seen to hold them",
            remedy="end those sessions or wait for them, then clear the task",
            state=str(self._settled()),
        )

    def _settled(self) -> Declared:
        """Where the database stands when nothing of this run works in it any more."""
        try:
            with connection(self._database) as opened:
                end_backends(opened, self._tag)
                rows = self._rows(opened)
                return self._job.declare(rows, schema_now(opened))
        except (DatabaseError, TimeoutError):
            return Declared("unknown")
