"""The report of a release, made from the ledger alone and checked against it.

``python -m include.report.release write 3.0.0 --out FOLDER``
``python -m include.report.release check FOLDER/report-3.0.0.md``

STELLWERK_LEDGER_URL names the ledger; ``--export`` reads what ``python -m include.ledger show --json`` printed,
and needs no database.

Exit codes: 0 fine; 1 the report is not what the ledger says; 2 it cannot be made or checked, or the call is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from include.errors import ReportError, StellwerkError
from include.ledger.export import read_export
from include.ledger.store import Ledger
from include.report.folder import plain, write_report
from include.report.release.check import check
from include.report.release.document import documents
from include.report.release.draft import release_report

_DIFFERS, _UNUSABLE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except StellwerkError as error:
        print(error, file=sys.stderr)
        return _UNUSABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m include.report.release", description="The report of a release."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    write = commands.add_parser("write", help="write Markdown, HTML and pictures; what somebody changed stays")
    write.add_argument("release", help="its version")
    write.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="default: the current one")
    write.set_defaults(run=_write)

    checks = commands.add_parser("check", help="whether a written report is what the ledger says")
    checks.add_argument("file", type=Path, help="the Markdown or the HTML")
    checks.set_defaults(run=_check)
    for command in (write, checks):
        command.add_argument("--export", type=Path, metavar="FILE", help="the ledger as `show --json` printed it")
    return parser


def _write(options: argparse.Namespace) -> int:
    if options.export:
        entries = [entry for entry in read_export(options.export) if entry.release == options.release]
    else:
        entries = list(_ledger().entries(release=options.release))
    found = release_report(entries)
    written = write_report(
        options.out.absolute(), f"report-{plain(found.release)}", lambda stem: documents(found, stem=stem)
    )
    for file in written:
        print(options.out / file.name)
    return 0


def _check(options: argparse.Namespace) -> int:
    try:
        text = options.file.read_bytes().decode()
    except (OSError, ValueError) as error:
        raise ReportError(
            "the report cannot be read", expected=f"a file {options.file}", seen=str(error)
        ) from error
    found = check(text, options.file.name, read_export(options.export) if options.export else _ledger().entries())
    for problem in found.problems:
        print(f"{options.file.name}: {problem}")
    print(
        f"{options.file.name}: ledger head {found.head.short}: {'as the ledger says' if found.ok else 'DIFFERS'}"
    )
    return 0 if found.ok else _DIFFERS


def _ledger() -> Ledger:
    return Ledger(os.environ.get("STELLWERK_LEDGER_URL", ""))


if __name__ == "__main__":
    sys.exit(main())
