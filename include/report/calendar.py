"""``python -m include.report.calendar``: what is due when, as ``release-calendar`` sees it.

With STELLWERK_LEDGER_URL it also says what has been started and completed; Airflow's runs it does not see.
``--all`` shows every phase that waits instead of the next ones.

Exit codes: 0 fine; 1 something needs to be looked at; 2 there is no plan.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from include.errors import LedgerUnavailable, StellwerkError
from include.ledger.store import Ledger
from include.plan.calendar import Say
from include.plan.loader import load_plan, plan_folder
from include.steps.calendar import NEXT, look, told

_SERIOUS = (Say.MISSED, Say.REFUSED, Say.FAILED)


def main(arguments: Sequence[str] | None = None, *, now: datetime | None = None) -> int:
    """Run the command line and return its exit code.

    :param now: aware; the clock's time, when nobody says
    """
    parser = argparse.ArgumentParser(prog="python -m include.report.calendar", description="What is due when.")
    parser.add_argument("--all", action="store_true", help="every phase that waits, not only the next ones")
    options = parser.parse_args(arguments)
    moment = now or datetime.now(UTC)
    try:
        plan = load_plan(plan_folder())
        decisions = look(plan, _ledger, lambda dag_id, run: None, moment)
    except StellwerkError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{moment:%Y-%m-%d %H:%M} UTC, {plan.folder}")
    for line in told(plan, decisions, next_ones=len(decisions) if options.all else NEXT):
        print(line)
    return 1 if plan.problems or any(one.say in _SERIOUS for one in decisions) else 0


def _ledger(connection: str) -> Ledger:
    url = os.environ.get("STELLWERK_LEDGER_URL", "")
    if not url:
        raise LedgerUnavailable(
            f"what has been started is not known: ledger {connection} is not asked",
            remedy="set STELLWERK_LEDGER_URL, or read the log of release-calendar",
        )
    return Ledger(url)


if __name__ == "__main__":
    sys.exit(main())
