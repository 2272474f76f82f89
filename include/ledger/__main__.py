"""``python -m include.ledger``: verify, show and set up the ledger.

Addresses hold passwords, so they come from the environment: STELLWERK_LEDGER_URL for reading,
STELLWERK_LEDGER_ADMIN_URL, STELLWERK_LEDGER_ROLE and STELLWERK_LEDGER_PASSWORD for ``migrate``.

Exit codes: 0 fine; 1 the ledger is damaged; 2 it cannot be read, or the call is wrong.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from upath import UPath

from include.errors import LedgerError, StellwerkError
from include.ledger.entry import Entry, Head
from include.ledger.examination import examine
from include.ledger.export import exported, read_export
from include.ledger.heads import heads_quoted_in, note_head, noted_heads, read_head
from include.ledger.migrate import migrate
from include.ledger.store import Ledger

_DAMAGED, _UNUSABLE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # People's comments may hold what this terminal, or UTF-8 itself, cannot write.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return int(options.run(options))
    except StellwerkError as error:
        print(error, file=sys.stderr)
        return _UNUSABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m include.ledger", description="The ledger of all releases.")
    commands = parser.add_subparsers(required=True, metavar="command")

    verify = commands.add_parser("verify", help="check the whole chain, and compare it with heads noted outside")
    verify.add_argument("--heads-folder", type=UPath, help="folder of noted heads, local or in object storage")
    verify.add_argument("--head-file", type=UPath, action="append", default=[], help="one noted head")
    verify.add_argument("--head", action="append", default=[], metavar="42:1a2b3c4d5e6f", help="from a message")
    verify.add_argument(
        "--quoted-in",
        type=UPath,
        action="append",
        default=[],
        metavar="FILE",
        help="reports, mails, a Slack export",
    )
    verify.add_argument("--export", type=UPath, metavar="FILE", help="check this export instead of the database")
    verify.set_defaults(run=_verify)

    show = commands.add_parser("show", help="print entries, oldest first")
    for name in ("release", "environment", "run-id"):
        show.add_argument(f"--{name}")
    show.add_argument("--kind", action="append", help="only this kind; may be repeated")
    show.add_argument("--json", action="store_true", help="one JSON object a line, as hashed")
    show.set_defaults(run=_show)

    head = commands.add_parser("head", help="print the head; note it outside with --heads-folder")
    head.add_argument("--heads-folder", type=UPath, help="also note the head in this folder")
    head.set_defaults(run=_head)

    commands.add_parser("migrate", help="create or update the ledger and its role").set_defaults(run=_migrate)
    return parser


def _verify(options: argparse.Namespace) -> int:
    heads = _heads(options)
    found = examine(read_export(options.export), list(heads)) if options.export else _ledger().examine(list(heads))
    for fault in found.faults:
        noted = f" ({heads[fault.head]})" if fault.head else ""
        print(f"{fault.damage}: {fault.sentence}{noted}\n  do: {fault.remedy}")
    compared = f"{found.heads_compared} noted heads compared"
    print(f"{found.entries} entries, head {found.head.short}, {compared}:", end=" ")
    if not found.ok:
        print(f"BROKEN ({len(found.faults)} faults)")
        return _DAMAGED
    print("intact" if heads else "intact (a cut-off tail shows only against a head noted outside)")
    if heads and found.covered < found.entries:
        print(
            f"no head vouches for entries {found.covered + 1} to {found.entries}: note one (`head --heads-folder`)"
        )
    return 0


def _heads(options: argparse.Namespace) -> dict[Head, str]:
    """Every head that is to be compared, and where it was noted."""
    found = {Head.parse(text): "given by --head" for text in options.head}
    found |= {read_head(file): f"noted in {file}" for file in options.head_file}
    for file in options.quoted_in:
        found |= dict.fromkeys(heads_quoted_in(file), f"quoted in {file}")
    if options.heads_folder is not None:
        found |= dict.fromkeys(noted_heads(options.heads_folder), f"noted in {options.heads_folder}")
    return found


def _show(options: argparse.Namespace) -> int:
    entries = _ledger().entries(
        release=options.release, environment=options.environment, run_id=options.run_id, kinds=options.kind
    )
    for entry in entries:
        print(exported(entry) if options.json else _as_line(entry))
    return 0


def _head(options: argparse.Namespace) -> int:
    ledger = _ledger()
    head = ledger.head()
    print(f"{head.sequence}:{head.hash}")
    if options.heads_folder is not None and head.sequence:
        print(note_head(options.heads_folder, head, datetime.now(UTC)))
    return 0


def _migrate(_: argparse.Namespace) -> int:
    migrate(
        _from_environment("STELLWERK_LEDGER_ADMIN_URL"),
        role=_from_environment("STELLWERK_LEDGER_ROLE"),
        password=_from_environment("STELLWERK_LEDGER_PASSWORD"),
    )
    print("the ledger is set up")
    return 0


def _ledger() -> Ledger:
    return Ledger(_from_environment("STELLWERK_LEDGER_URL"))


def _from_environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise LedgerError(f"{name} is not set", expected=f"the environment variable {name}")
    return value


def _as_line(entry: Entry) -> str:
    facts = json.dumps(dict(entry.payload), ensure_ascii=False, sort_keys=True)
    when, what = f"{entry.at:%Y-%m-%d %H:%M:%S}Z", f"{entry.kind:<18}"
    return f"{entry.sequence:>6}  {when}  {what} {entry.release} {entry.environment}  {entry.actor}  {facts}"


if __name__ == "__main__":
    sys.exit(main())
