"""Call humans: one alert for one matter, within seconds or not at all."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from include.errors import LedgerError, MessageError, MessageUnanswered
from include.ledger.store import Ledger
from include.ledger.urgent import urgent
from include.messages import compose
from include.messages.deliver import deliver
from include.messages.model import Message
from include.steps.announce import Transports, occasion_of
from include.steps.run import ReleaseRun
from include.watch.config import WatchOutcome
from include.watch.window import Page, Window

log = logging.getLogger(__name__)

#: seconds that a page may hold up the watch that it is about
PAGE_SECONDS: Final = 8.0

_WHAT: Final[Mapping[Page, str]] = {
    "metrics": "the watch has no usable metrics",
    "criterion": "a success criterion is missed",
    "prober": "the prober cannot work",
    "blocked": "a rollback is due and is not possible",
    "held": "the watch is over without proof of health",
}
_THIN: Final = "users are back on the old version, on fewer pods than the plan asks for"
_REMEDY: Final[Mapping[Page, str]] = {
    "metrics": "bring the metrics back; the watch goes on and passes nothing without them",
    "criterion": "look at the release; the watch goes on",
    "prober": "see why the public URL cannot be asked from where Airflow runs; the watch goes on",
    "blocked": "ACT NOW: bring pods of the old slot up, then answer Roll back now or trigger DAG rollback",
    "held": "decide under the required actions of the task: Extend, Accept or Roll back now",
}


@dataclass(frozen=True)
class Matter:
    """What humans are called for.

    :param key: names the matter within its run: one page for one key
    """

    key: str
    what: str
    seen: str
    remedy: str


def matters(watched: Window, outcome: WatchOutcome) -> tuple[Matter, ...]:
    """What a watch calls humans for, one for each reason.

    A task that is tried again calls for the same matter under the same key. What comes back after it had been well
    is another matter.
    """
    window = f"{watched.number}:{int(watched.deadline)}"
    span = max(1.0, watched.environment.watch.page_after_seconds)
    found = []
    for page in outcome.pages:
        if outcome.result == "ROLLED_BACK":
            seen = "; ".join(outcome.noticed) or outcome.sentence
            found.append(Matter(f"watch:thin:{window}", _THIN, seen, "bring more pods of the old slot up, now"))
            continue
        when = "" if page == "held" else f":{int(outcome.at // span)}"
        found.append(Matter(f"watch:{page}:{window}{when}", _WHAT[page], outcome.sentence, _REMEDY[page]))
    return tuple(found)


def call(run: ReleaseRun, ledger: Ledger | None, matter: Matter, send: Transports) -> str:
    """Call humans about a matter, once, and return the message's key.

    :param ledger: None when it cannot be opened; the call goes out all the same, and waits little for a hung one
    :raises MessageError: Slack did not take it within :data:`PAGE_SECONDS`
    """
    now, ledger = datetime.now(UTC), urgent(ledger)
    take = within(PAGE_SECONDS, send["slack"])
    message = compose.human_needed(
        occasion_of(run, ledger), what=matter.what, seen=matter.seen, remedy=matter.remedy, at=now
    )
    message = replace(message, key=f"{message.key}:{matter.key}")
    done = deliver(ledger, message, take, now)
    log.info("%s: %s", done.key, "people were called" if done.sent else "people had been called before")
    return done.key


def page(run: ReleaseRun, ledger: Ledger | None, matter: Matter, send: Transports) -> bool:
    """Call humans about a matter as :func:`call` does; whether they were called. It never raises."""
    try:
        call(run, ledger, matter, send)
    except (MessageError, LedgerError) as error:
        log.error("nobody could be called: %s", error)  # noqa: TRY400 - the sentence says it all
        return False
    return True


def within(seconds: float, send: Callable[[Message], object]) -> Callable[[Message], None]:
    """A transport that is given up so many seconds from now, whatever has passed of them when it is used."""
    until = time.monotonic() + seconds

    def bounded(message: Message) -> None:
        failed: list[BaseException] = []

        def attempt() -> None:
            try:
                send(message)
            except BaseException as error:  # noqa: BLE001 - handed on to the caller below
                failed.append(error)

        # A daemon: whoever waits for nothing must not be kept from ending by it either.
        thread = threading.Thread(target=attempt, name="page", daemon=True)
        thread.start()
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            # The thread goes on: what it sends may still be taken.
            raise MessageUnanswered(
                f"nobody has said whether {message.key} was delivered",
                expected=f"an answer within {seconds:g} s",
                seen="none",
                remedy="tell people by other means",
            )
        if failed:
            raise failed[0]

    return bounded
