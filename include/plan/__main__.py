"""``python -m include.plan``: validate the plan's files, write their JSON Schemas.

The plan is the folder that STELLWERK_PLAN names, else the one that ships.
Exit codes: 0 fine; 1 something is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from include.errors import InvalidPlan
from include.plan.loader import load_plan, plan_folder
from include.plan.published import schemas
from include.plan.validation import faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m include.plan", description="The files of the plan.")
    commands = parser.add_subparsers(required=True, metavar="command")
    commands.add_parser("validate", help="name everything that is wrong").set_defaults(run=_validate)
    commands.add_parser("schemas", help="write the JSON Schemas for editors").set_defaults(run=_schemas)
    return int(parser.parse_args(arguments).run())


def _validate() -> int:
    try:
        plan = load_plan(plan_folder())
    except InvalidPlan as error:
        print(error, file=sys.stderr)
        return 1
    found = faults(plan, datetime.now(UTC))
    for fault in found:
        print(fault, file=sys.stderr)
    print(
        f"{plan.folder}: {len(plan.releases)} release(s), {len(plan.environments)} environment(s), "
        f"{len(found)} fault(s)"
    )
    return 1 if found else 0


def _schemas() -> int:
    for file, text in schemas().items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
