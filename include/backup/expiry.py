"""Carries out what :mod:`include.backup.retention` decides, on what is there now."""

from __future__ import annotations

import logging
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

from include.backup.manifest import INVENTORY, MANIFEST, VERIFICATION, Manifest, folder_name, read_manifest
from include.backup.retention import Fate, Retention, Stored, decide
from include.backup.store import Store
from include.backup.verify import last_verification
from include.errors import ArchiveUnusable

log = logging.getLogger(__name__)


def expire(
    store: Store, policy: Retention, *, now: datetime, pinned: AbstractSet[str] = frozenset()
) -> tuple[Fate, ...]:
    """Delete the backups that need not be kept, and what unfinished attempts have left.

    The manifest goes first: killed at any point, what is left is no backup any more, and goes another time.

    :param pinned: ids of backups that must stay
    :return: what happened to each folder, and why
    :raises BackupStoreFailed: the store does not answer, or refuses
    """
    fates = decide(stored(store, pinned), policy, now=now)
    for fate in fates:
        if not fate.kept:
            files = store.files(fate.folder)
            first = [name for name in (MANIFEST, VERIFICATION, INVENTORY) if name in files]
            store.delete(fate.folder, [*first, *(name for name in files if name not in first)])
            log.info("backup folder %s deleted: %s", fate.folder, fate.reason)
    return fates


def stored(store: Store, pinned: AbstractSet[str] = frozenset()) -> tuple[Stored, ...]:
    """What is kept there, the backups and what else there is.

    :param pinned: ids of backups that must stay
    """
    return tuple(_stored(store, folder, pinned) for folder in store.folders())


def _stored(store: Store, folder: str, pinned: AbstractSet[str]) -> Stored:
    content = store.get(folder, MANIFEST)
    if content is None:
        return Stored(folder, None, _last_written(store, folder))
    try:
        manifest = read_manifest(content, where=store.shown(folder, MANIFEST))
    except ArchiveUnusable as error:
        log.warning("%s", error)
        return Stored(folder, None, None)
    if folder_name(manifest.id) != folder:
        log.warning("%s is a copy of backup %s", store.shown(folder), manifest.id)
        return Stored(folder, None, None)
    verification = last_verification(store, manifest)
    proof = verification.verdict if verification else "UNKNOWN"
    if not _whole(store, manifest):
        proof = "DAMAGED"
    return Stored(folder, manifest.database, manifest.snapshot_at, proof, manifest.id in pinned)


def _whole(store: Store, manifest: Manifest) -> bool:
    sizes = store.files(folder_name(manifest.id))
    return all(sizes.get(piece.name) == piece.size for piece in (*manifest.pieces, manifest.inventory))


def _last_written(store: Store, folder: str) -> datetime | None:
    times = [store.changed_at(folder, name) for name in store.files(folder)]
    known = [time for time in times if time is not None]
    return datetime.fromtimestamp(max(known), UTC) if known and len(known) == len(times) else None
