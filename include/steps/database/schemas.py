"""The schemas before and after a migration, kept beside the backup; the ledger has their checksum."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from include.backup.manifest import Piece
from include.backup.store import Store
from include.database.schema import Schema
from include.errors import ArchiveUnusable


@dataclass(frozen=True)
class Schemas:
    """The two ends of a migration."""

    before: Schema
    after: Schema


def keep_schemas(store: Store, folder: str, name: str, before: Schema, after: Schema) -> dict[str, str | int]:
    """Write them to the store; returns the reference that the ledger keeps.

    :raises BackupStoreFailed: the store refuses
    """
    content = json.dumps({"before": before.record(), "after": after.record()}, sort_keys=True).encode()
    piece = store.put(folder, f"{name}.json", content)
    return {"folder": folder, "name": piece.name, "size": piece.size, "sha256": piece.sha256}


def kept_schemas(store: Store, reference: Mapping[str, Any]) -> Schemas:
    """What a reference leads to.

    :raises ArchiveUnusable: it is missing, or not what was written
    :raises BackupStoreFailed: the store does not answer
    """
    piece = Piece(name=reference["name"], size=reference["size"], sha256=reference["sha256"])
    found = json.loads(b"".join(store.read(str(reference["folder"]), piece)))
    try:
        return Schemas(Schema.from_record(found["before"]), Schema.from_record(found["after"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ArchiveUnusable(
            f"{store.shown(str(reference['folder']), piece.name)} holds no schemas",
            seen=str(error),
            remedy="rehearse again",
        ) from error
