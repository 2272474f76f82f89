"""A process that does what a task of ``db-migration`` does, and nothing else.

``python -m benchmarks.database.task`` is told what to do on standard input, because a password stands in it, and
says when it is idle; then it waits to be told to begin. Whoever measures it looks at it from outside.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
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
    :param store: folder where backups are kept
    :param clients: folder of the client programs
    """

    work: Work
    backup: str
    database: Database
    store: Path
    clients: Path

    def to_json(self) -> str:
        """One line for the process's standard input."""
        return json.dumps({**asdict(self), "store": str(self.store), "clients": str(self.clients)})

    @classmethod
    def from_json(cls, line: str) -> Order:
        """What :meth:`to_json` has written."""
        data = json.loads(line)
        paths = {name: Path(data[name]) for name in ("store", "clients")}
        return cls(data["work"], data["backup"], Database(**data["database"]), **paths)


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
    """Wait, do it, tell it, and wait to be let go."""
    order = Order.from_json(sys.stdin.readline())
    workshop = Workshop(Store(UPath(str(order.store))), find_clients(order.clients))
    print("idle", flush=True)
    if not sys.stdin.readline():
        return 1
    print(json.dumps(do(order, workshop)), flush=True)
    sys.stdin.readline()
    return 0


if __name__ == "__main__":
    sys.exit(main())
