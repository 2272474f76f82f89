"""The account of a running watch, kept in the ledger where no metric store has the past.

Two processes may run one watch at once, and a stalled one may write what it knew long ago: the newest account is
the one that was made last, not the one that was written last.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from include.ledger.entry import NewEntry
from include.ledger.store import Ledger
from include.slo.account import Account
from include.steps.record import WATCH_CHECKPOINT
from include.steps.run import parse_release_id
from include.watch.config import WatchConfig


def record_checkpoint(config: WatchConfig, ledger: Ledger, account: Account, at: datetime) -> None:
    """Write the account as it was at a moment.

    :param at: aware
    :raises LedgerError: it is not kept
    """
    payload = {"number": config.number, "at": at.timestamp(), "account": dump_account(account)}
    ledger.append(
        NewEntry(
            kind=WATCH_CHECKPOINT,
            release=config.version,
            environment=config.environment.name,
            run_id=_run_id(config),
            actor="watch",
            payload=payload,
            at=at,
        )
    )


def newest_checkpoint(config: WatchConfig, ledger: Ledger) -> Account | None:
    """The account that was made last in this window; None when none was kept.

    :raises LedgerError: the ledger cannot be read
    :raises ValueError: what was kept is no account
    """
    kept = [
        entry.payload
        for entry in ledger.entries(
            release=config.version,
            environment=config.environment.name,
            run_id=_run_id(config),
            kinds=(WATCH_CHECKPOINT,),
        )
        if entry.payload.get("number") == config.number
    ]
    newest = max(kept, key=lambda payload: float(payload.get("at", 0.0)), default=None)
    return None if newest is None else load_account(newest["account"])


def dump_account(account: Account) -> dict[str, Any]:
    """The account as plain JSON values."""
    # By way of text: only there infinity (a histogram's last bucket) becomes a string.
    values: dict[str, Any] = json.loads(_adapter().dump_json(account))
    return values


def load_account(value: Any) -> Account:
    """Read what :func:`dump_account` wrote.

    :raises ValueError: it is no account
    """
    return _adapter().validate_python(value)


@cache
def _adapter() -> TypeAdapter[Account]:
    return TypeAdapter(Account, config=ConfigDict(ser_json_inf_nan="strings"))


def _run_id(config: WatchConfig) -> str:
    parsed = parse_release_id(config.release_id)
    return parsed[2] if parsed else config.release_id
