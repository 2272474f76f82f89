"""What a backup says about itself. A folder is a backup once its manifest is there, and not before."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from include.database.facts import DatabaseIdentity
from include.errors import ArchiveUnusable

BEGUN: Final = "begun.json"
MANIFEST: Final = "manifest.json"
INVENTORY: Final = "inventory.json"
VERIFICATION: Final = "verification.json"

M = TypeVar("M", bound=BaseModel)
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Format(StrEnum):
    """The archive format of ``pg_dump``."""

    CUSTOM = "custom"
    """One file, streamed; restored from a stream by one process."""
    DIRECTORY = "directory"
    """Several files, dumped and restored by several processes, by way of a local folder."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Piece(_Frozen):
    """One stored file of a backup.

    :param name: below the backup's folder
    :param size: in bytes
    """

    name: str
    size: int = Field(ge=0)
    sha256: Sha256


class Begun(_Frozen):
    """That a backup was begun in this folder: the first file there, and the last that goes.

    :param keeper: see :class:`Manifest`
    """

    id: str = Field(min_length=1)
    keeper: str
    started_at: AwareDatetime


class Manifest(_Frozen):
    """A backup.

    :param id: of the backup, unique where backups are kept
    :param keeper: application and environment that may delete it; empty where nobody does unasked
    :param size: bytes of all pieces
    :param sha256: of the archive: of its only piece, or of the list of all pieces
    :param inventory: the piece that says what the database held
    :param server: version of the server
    :param client: version of ``pg_dump``
    :param revisions: Alembic's version table → revisions, sorted
    :param rows: table → rows in the snapshot; None when not counted
    :param snapshot_at: the moment the backup is of
    :param duration_seconds: from the beginning to the manifest
    """

    schema_version: Literal[1] = 1
    id: str = Field(min_length=1)
    keeper: str = ""
    format: Format
    pieces: tuple[Piece, ...] = Field(min_length=1)
    size: int
    sha256: Sha256
    inventory: Piece
    database: DatabaseIdentity
    server: str
    server_version_number: int
    client: str
    revisions: Mapping[str, tuple[str, ...]]
    rows: Mapping[str, int | None]
    started_at: AwareDatetime
    snapshot_at: AwareDatetime
    finished_at: AwareDatetime
    duration_seconds: float

    @property
    def server_major(self) -> int:
        """The major version of the server that was backed up."""
        return self.server_version_number // 10000


class Level(StrEnum):
    """How thoroughly a backup was looked at after it was written."""

    CONTENTS = "contents"
    """Read back: checksum, and the table of contents against what the database had."""
    RESTORE = "restore"
    """That, and restored into a scratch database which was compared with what the database had."""


class Verification(_Frozen):
    """That a backup was looked at, and what was found.

    :param sha256: of the archive that was read
    :param sentences: what is wrong, or could not be told; empty when everything was as it had to be
    :param notes: what is other in a copy and may be, for example an extension's version
    :param verdict: ``VERIFIED``, ``DAMAGED``, or ``UNKNOWN`` when something could not be compared
    :param restore_seconds: how long restoring took; None when it was not restored
    """

    backup: str
    sha256: Sha256
    level: Level
    at: AwareDatetime
    verdict: Literal["VERIFIED", "DAMAGED", "UNKNOWN"]
    sentences: tuple[str, ...]
    notes: tuple[str, ...] = ()
    entries: int
    seconds: float
    restore_seconds: float | None = None


def archive_digest(pieces: Sequence[Piece]) -> str:
    """The checksum of an archive: of its only piece, or of the list of all of them by name."""
    if len(pieces) == 1:
        return pieces[0].sha256
    lines = sorted(f"{piece.sha256}  {piece.name}\n" for piece in pieces)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def folder_name(backup: str) -> str:
    """The id as the name of a folder: different ids stay different, and none leads elsewhere."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", backup).lstrip(".")
    if safe == backup and 0 < len(safe) <= 100:
        return safe
    return f"{safe[:80] or 'backup'}-{hashlib.sha256(backup.encode()).hexdigest()[:12]}"


def read_manifest(content: bytes, *, where: str) -> Manifest:
    """The manifest in a file.

    :param where: for the message
    :raises ArchiveUnusable: it is none, or contradicts itself
    """
    manifest = read_model(Manifest, content, where=where)
    pieces = manifest.pieces
    if sum(piece.size for piece in pieces) != manifest.size or archive_digest(pieces) != manifest.sha256:
        raise ArchiveUnusable(
            f"the manifest {where} contradicts itself",
            expected="size and checksum of the archive to be those of its pieces",
            remedy="take another backup",
        )
    return manifest


def read_model(model: type[M], content: bytes, *, where: str) -> M:
    """A stored document.

    :raises ArchiveUnusable: it is not one of that kind
    """
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ArchiveUnusable(
            f"{where} cannot be read",
            expected=f"a {model.__name__.lower()} that Stellwerk wrote",
            seen=f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}",
            remedy="take another backup",
        ) from error


def seconds_between(start: datetime, end: datetime) -> float:
    """Seconds, to a hundredth."""
    return round((end - start).total_seconds(), 2)
