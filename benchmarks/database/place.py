"""What the benchmark works with: a PostgreSQL, an S3 server and a folder of its own."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from upath import UPath

from benchmarks.database.task import Order, Work
from include.backup.copies import Workshop
from include.backup.manifest import Manifest, folder_name
from include.backup.store import Store
from include.database.clients import find_clients
from include.database.connection import Database
from include.sandbox.postgres import SUPERUSER, Postgres
from include.sandbox.postgres_binaries import installed_postgres
from include.sandbox.processes import wait_until
from tests.contract.object_store import BUCKET, Server

NAME: Final = "benchmark"


class Place:
    """Servers and a folder for this benchmark alone; gone when the context ends.

    :param state: a folder that nobody else uses
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._postgres = Postgres(state / "postgres")
        self.folder = state / "files"
        self._backups = str(self.folder / "backups")
        self.workshop = Workshop(Store(UPath(self._backups)), find_clients(installed_postgres() / "bin"))

    def __enter__(self) -> Place:
        self._remove()  # what a killed one left
        self.folder.mkdir(parents=True)
        with ExitStack() as stack:
            stack.callback(self._remove)
            self._postgres.start()
            self._objects = Server(self.folder)
            stack.enter_context(self._objects.process)
            process = self._objects.process
            wait_until(self._objects.answers, deadline_seconds=20, what="the S3 server answers", process=process)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def database(self) -> Database:
        """The one that is backed up."""
        password = self._postgres.password(SUPERUSER)
        return Database("127.0.0.1", self._postgres.port, NAME, SUPERUSER, password)

    @property
    def away(self) -> Workshop:
        """The same client programs, and the object store."""
        return Workshop(self._objects.store(), self.workshop.clients)

    def order(self, work: Work, backup: str, *, away: bool = False) -> Order:
        """For a task.

        :param away: its backups are kept in the object store
        """
        clients = self.workshop.clients.folder
        if away:
            return Order(work, backup, self.database, f"s3://{BUCKET}/erp", clients, self._objects.options())
        return Order(work, backup, self.database, self._backups, clients)

    def archive(self, manifest: Manifest) -> Path:
        """The file of a backup that is kept here."""
        return Path(self._backups, folder_name(manifest.id), manifest.pieces[0].name)

    def _remove(self) -> None:
        self._postgres.remove()
        shutil.rmtree(self._state, ignore_errors=True)
