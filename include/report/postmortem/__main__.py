"""The draft of a rollback's post-mortem, from the ledger's entries and nothing else.

``python -m include.report.postmortem 3.0.1 production --out FOLDER``; STELLWERK_LEDGER_URL names the ledger.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from include.errors import StellwerkError
from include.ledger.store import Ledger
from include.report.folder import plain, write_report
from include.report.postmortem.document import documents
from include.report.postmortem.draft import post_mortem


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the draft of a release that was rolled back; prints the files. Drafts that somebody changed stay."""
    parser = argparse.ArgumentParser(prog="python -m include.report.postmortem", description=main.__doc__)
    parser.add_argument("release", help="its version")
    parser.add_argument("environment")
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="default: the current one")
    parser.add_argument("--run", help="the run that cut over or one about it; default: the last rolled back")
    parser.add_argument("--timezone", default="Europe/Berlin", help="in which times are told")
    options = parser.parse_args(arguments)
    try:
        ledger = Ledger(os.environ.get("STELLWERK_LEDGER_URL", ""))
        entries = ledger.entries(release=options.release, environment=options.environment)
        found = post_mortem(entries, now=datetime.now(UTC), timezone=options.timezone, run_id=options.run)
        stem = f"postmortem-{plain(found.run_id)}"
        written = write_report(
            options.out.absolute(), stem, lambda stem: documents(found, stem=stem, timezone=options.timezone)
        )
    except StellwerkError as error:
        print(error, file=sys.stderr)
        return 2
    for file in written:
        print(options.out / file.name)
    for other in found.other_runs:
        print(f"rolled back, too: --run {other}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
