"""A process that does what a task of ``db-migration`` does, and nothing else.

``python -m benchmarks.database.task`` is told what to do on standard input, because a password stands in it, and
says when it is idle; then it waits to be told to go on. Whoever measures it looks at it from outside.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from upath import UPath

from include.backup.copies import Workshop
from include.backup.dump import Wanted, take_backup
from include.backup.store import Store
from include.backup.verify import must_be_verified, verify
from include.database.clients import find_clients
from include.database.connection import Database

Work = Literal["backup", "restore"]


@dataclass(frozen=True)
class Order:
    """What the process is to do.

    :param work: ``backup``: take it and verify it by its table of contents; ``restore``: verify one that is there
        by restoring and comparing it
    :param backup: its id
    :param store: where backups are kept, a path or a URL
    :param clients: folder of the client programs
    :param access: what the store's file system needs to know
    """

    work: Work
    backup: str
    database: Database
    store: str
    clients: Path
    access: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def to_json(self) -> str:
        """One line for the process's standard input."""
        return json.dumps({**asdict(self), "clients": str(self.clients)})

    @classmethod
    def from_json(cls, line: str) -> Order:
        """What :meth:`to_json` has written."""
        data = json.loads(line)
        return cls(**{**data, "database": Database(**data["database"]), "clients": Path(data["clients"])})

    def workshop(self) -> Workshop:
        """What the product needs.

        :raises ClientUnusable: the client programs are not there
        """
        return Workshop(Store(UPath(self.store, **self.access)), find_clients(self.clients))


def do(order: Order, workshop: Workshop) -> dict[str, Any]:
    """Do it; seconds of each part.

    :raises BackupDiffers: the backup is not what the database had
    """
    begin = time.monotonic()
    if order.work == "backup":
        take_backup(order.database, workshop.store, workshop.clients, Wanted(order.backup))
    taken = time.monotonic()
    scratch = order.database if order.work == "restore" else None
    must_be_verified(verify(order.backup, workshop, now=datetime.now(UTC), scratch=scratch))
    end = time.monotonic()
    return {"seconds": end - begin, "verification_seconds": end - taken}


def main() -> int:
    """Take the order, open the store, do it, and wait to be let go; each when told to, and telling so."""
    order = Order.from_json(sys.stdin.readline())
    _say("started")
    workshop = order.workshop()
    workshop.store.folders()  # what an object store needs for itself is loaded when it is asked first
    _say("idle")
    _say(json.dumps(do(order, workshop)))
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
    if not sys.stdin.readline():
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
