"""Tell key users that a form waits for them."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import Final

from include.errors import LedgerError, MessageError
from include.ledger.store import Ledger
from include.messages.deliver import deliver
from include.messages.uat import uat_open
from include.steps.announce import Transports, occasion_of
from include.steps.page import within
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

#: seconds that a message may hold up the question that it is about
PATIENCE_SECONDS: Final = 8.0


def invite(
    run: ReleaseRun,
    ledger: Ledger,
    user: str,
    deadline: datetime,
    send: Transports,
    problem: str = "",
    *,
    reminder: bool = False,
) -> bool:
    """Tell a key user that their form is open, once for each asking; whether it went out now. It never raises.

    :param problem: why it is open once more although they have answered; empty when they have not
    :param reminder: told once more because time runs out
    """
    now = datetime.now(UTC)
    what = "reminder" if reminder else hashlib.sha256(problem.encode()).hexdigest()[:8]
    number = f"{deadline.isoformat()}:{what}"
    try:
        message = uat_open(
            occasion_of(run, ledger), user=user, problem=problem, deadline=deadline, number=number, at=now
        )
        return deliver(ledger, message, within(PATIENCE_SECONDS, send[message.kind]), now).sent
    except (MessageError, LedgerError) as error:
        log.warning("%s could not be told: %s", user, error)
        return False
