"""Carries out what :mod:`include.backup.retention` decides, on what is there now."""

from __future__ import annotations

import logging
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

from include.backup.manifest import (
    BEGUN,
    INVENTORY,
    MANIFEST,
    VERIFICATION,
    Begun,
    Manifest,
    folder_name,
    read_manifest,
    read_model,
)
from include.backup.retention import Fate, Retention, Stored, decide
from include.backup.store import Store
from include.backup.verify import last_verification
from include.errors import ArchiveUnusable

log = logging.getLogger(__name__)


def expire(
    store: Store, policy: Retention, *, keeper: str, now: datetime, pinned: AbstractSet[str] = frozenset()
) -> tuple[Fate, ...]:
    """Delete this keeper's backups that need not be kept, and what its unfinished attempts have left.

    The manifest goes first: killed at any point, what is left is no backup any more. What tells whose it is goes
    last, so that the rest goes another time.

    :param keeper: application and environment; what others keep in the same place is left alone
    :param pinned: ids of backups that must stay
    :return: what happened to each folder, and why
    :raises BackupStoreFailed: the store does not answer, or refuses
    """
    found = stored(store, keeper, pinned)
    for one in found:
        if not one.ours:
            log.info("backup folder %s is left alone: not begun by a backup of %s", one.folder, keeper)
    fates = decide(found, policy, now=now)
    for fate in fates:
        if not fate.kept:
            store.delete(fate.folder, sorted(store.files(fate.folder), key=_turn))
            log.info("backup folder %s deleted: %s", fate.folder, fate.reason)
    return fates


def stored(store: Store, keeper: str, pinned: AbstractSet[str] = frozenset()) -> tuple[Stored, ...]:
    """What is kept there, the backups and what else there is.

    :param keeper: who asks
    :param pinned: ids of backups that must stay
    """
    return tuple(_stored(store, folder, keeper, pinned) for folder in store.folders())


def _turn(name: str) -> int:
    """When a file's turn to go is."""
    first = (MANIFEST, VERIFICATION, INVENTORY)
    return first.index(name) if name in first else len(first) + (name == BEGUN)


def _stored(store: Store, folder: str, keeper: str, pinned: AbstractSet[str]) -> Stored:
    content = store.get(folder, MANIFEST)
    if content is None:
        ours = _begun_by(store, folder) == keeper
        return Stored(folder, None, _last_written(store, folder) if ours else None, ours=ours)
    try:
        manifest = read_manifest(content, where=store.shown(folder, MANIFEST))
    except ArchiveUnusable as error:
        log.warning("%s", error)
        return Stored(folder, None, None)
    if folder_name(manifest.id) != folder:
        log.warning("%s is a copy of backup %s", store.shown(folder), manifest.id)
        return Stored(folder, None, None)
    if manifest.keeper != keeper:
        return Stored(folder, manifest.database, manifest.snapshot_at)
    verification = last_verification(store, manifest)
    proof = verification.verdict if verification else "UNKNOWN"
    if not _whole(store, manifest):
        proof = "DAMAGED"
    return Stored(folder, manifest.database, manifest.snapshot_at, proof, manifest.id in pinned, ours=True)


def _begun_by(store: Store, folder: str) -> str | None:
    """Whose attempt a folder without a manifest is; None when it is no attempt, or a copy of one."""
    content = store.get(folder, BEGUN)
    if content is None:
        return None
    try:
        begun = read_model(Begun, content, where=store.shown(folder, BEGUN))
    except ArchiveUnusable as error:
        log.warning("%s", error)
        return None
    return begun.keeper if folder_name(begun.id) == folder else None


def _whole(store: Store, manifest: Manifest) -> bool:
    sizes = store.files(folder_name(manifest.id))
    return all(sizes.get(piece.name) == piece.size for piece in (*manifest.pieces, manifest.inventory))


def _last_written(store: Store, folder: str) -> datetime | None:
    times = [store.changed_at(folder, name) for name in store.files(folder)]
    known = [time for time in times if time is not None]
    return datetime.fromtimestamp(max(known), UTC) if known and len(known) == len(times) else None
