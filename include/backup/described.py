"""What a backup says about the database it is of, besides its archive."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from include.backup.manifest import Manifest, folder_name, read_model
from include.backup.store import Store
from include.database.inventory import Inventory
from include.database.properties import Properties


class BackupContents(BaseModel):
    """What the database held in the snapshot, and what belongs to it from outside."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inventory: Inventory
    properties: Properties


def read_contents_of(store: Store, manifest: Manifest) -> BackupContents:
    """What the backup's database held.

    :raises ArchiveUnusable: the file is missing or was changed
    :raises BackupStoreFailed: the store does not answer
    """
    folder = folder_name(manifest.id)
    content = b"".join(store.read(folder, manifest.inventory))
    return read_model(BackupContents, content, where=store.shown(folder, manifest.inventory.name))
