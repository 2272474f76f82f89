"""Where backups are kept: a folder on a disk or in an object store, through fsspec, in chunks.

A file that was not written to its end is never there under its name. On a disk it has another name until it is
complete and safe on the disk; in an object store its upload is not completed. fsspec's own ``with fs.open(…)``
does not promise that: it completes the upload of whatever had been written when an exception came.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]
from fsspec.spec import AbstractBufferedFile  # type: ignore[import-untyped]
from upath import UPath

from include.backup.manifest import Piece
from include.errors import ArchiveUnusable, BackupStoreFailed, StellwerkError

CHUNK_BYTES: Final = 256 * 1024
_PARTIAL: Final = ".partial"
# S3 takes 10,000 parts of at least 5 MiB; a part is in memory until it is sent.
_PART_BYTES: Final = 8 * 1024 * 1024
_MOST_PARTS: Final = 9000


@dataclass(frozen=True)
class Store:
    """One folder for backups, each of which is a folder in it.

    :param root: any file system that fsspec knows
    """

    root: UPath

    def folders(self) -> tuple[str, ...]:
        """The names of the folders in it, sorted."""
        with self._failing("be listed"):
            self._fresh(self.root)
            try:
                found = self.root.fs.ls(self.root.path, detail=True)
            except FileNotFoundError:
                return ()
        return tuple(sorted(_base(entry["name"]) for entry in found if entry["type"] == "directory"))

    def files(self, folder: str) -> Mapping[str, int]:
        """File → size in bytes, of one folder; empty when there is none. What is being written shows as well."""
        place = self.root / folder
        with self._failing("be listed"):
            self._fresh(place)
            try:
                found = place.fs.ls(place.path, detail=True)
            except FileNotFoundError:
                return {}
        return {_base(entry["name"]): entry["size"] for entry in found if entry["type"] == "file"}

    def changed_at(self, folder: str, name: str) -> float | None:
        """When a file was last written, seconds since 1970; None when the file system does not know."""
        with self._failing(f"tell about {name}"):
            with contextlib.suppress(NotImplementedError, FileNotFoundError):
                place = self.root / folder / name
                return float(place.fs.modified(place.path).timestamp())
            return None

    def get(self, folder: str, name: str) -> bytes | None:
        """A small file's content; None when there is none."""
        place = self.root / folder / name
        with self._failing(f"give {name}"):
            self._fresh(place)
            try:
                return bytes(place.fs.cat_file(place.path))
            except FileNotFoundError:
                return None

    def put(self, folder: str, name: str, content: bytes) -> Piece:
        """Write a small file, as a whole or not at all; what was there is replaced."""
        return self.write(folder, name, [content])

    def write(self, folder: str, name: str, chunks: Iterable[bytes], *, expected_bytes: int = 0) -> Piece:
        """Write a file from a stream, as a whole or not at all.

        An exception of `chunks` passes through, and leaves nothing under the name.

        :param expected_bytes: about how large it becomes; decides how large the parts of an upload are
        :raises BackupStoreFailed: the store refuses, is full, or does not answer
        """
        digest, size = hashlib.sha256(), 0
        place = self.root / folder / name
        stream = chunks if isinstance(chunks, Iterator) else iter(chunks)
        with self._failing(f"take {name}"), _closed(stream), _complete_or_nothing(place, expected_bytes) as file:
            for chunk in stream:
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
        return Piece(name=name, size=size, sha256=digest.hexdigest())

    def read(self, folder: str, piece: Piece) -> Generator[bytes]:
        """A file's content in chunks; after the last one its size and checksum have been compared.

        :raises ArchiveUnusable: it is missing, shorter, longer or different
        :raises BackupStoreFailed: the store refuses or does not answer
        """
        digest, size = hashlib.sha256(), 0
        with closing(self._chunks(folder, piece.name)) as chunks:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                yield chunk
        if (size, digest.hexdigest()) == (piece.size, piece.sha256):
            return
        what = "empty" if size == 0 else "truncated" if size < piece.size else "corrupt"
        raise ArchiveUnusable(
            f"{self.shown(folder, piece.name)} is {what}",
            expected=f"{piece.size} bytes with SHA-256 {piece.sha256}",
            seen=f"{size} bytes with SHA-256 {digest.hexdigest()}",
            remedy="use another backup",
        )

    def delete(self, folder: str, names: Iterable[str]) -> None:
        """Delete files in this order; those that are gone already are no error."""
        with self._failing("delete"):
            for name in names:
                place = self.root / folder / name
                with contextlib.suppress(FileNotFoundError):
                    place.fs.rm_file(place.path)
            with contextlib.suppress(OSError, NotImplementedError):  # object stores have no folders
                (self.root / folder).fs.rmdir((self.root / folder).path)

    def shown(self, folder: str, name: str = "") -> str:
        """Where that is, for humans."""
        return f"{self.root.path.rstrip('/')}/{folder}/{name}".rstrip("/")

    def _chunks(self, folder: str, name: str) -> Generator[bytes]:
        place = self.root / folder / name
        with self._failing(f"give {name}"):
            self._fresh(place)
            try:
                file = place.fs.open(place.path, "rb")
            except FileNotFoundError as error:
                raise ArchiveUnusable(
                    f"{self.shown(folder, name)} is missing",
                    expected="every piece that the manifest names",
                    remedy="use another backup",
                ) from error
            with file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk

    @staticmethod
    def _fresh(place: UPath) -> None:
        place.fs.invalidate_cache()

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except StellwerkError:
            raise
        except Exception as error:
            # Every file system has errors of its own; their texts name places and codes, not keys.
            raise BackupStoreFailed(
                f"the store of backups {self.root.path} did not {what}",
                seen=f"{type(error).__name__}: {str(error)[:300]}",
                remedy="look after its space, its permissions and the connection; then try again",
            ) from error


def _base(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


@contextmanager
def _closed(stream: Iterator[bytes]) -> Iterator[None]:
    """A generator has ended what it runs when this ends, too."""
    try:
        yield
    finally:
        close = getattr(stream, "close", None)
        if close is not None:
            close()


@contextmanager
def _complete_or_nothing(place: UPath, expected_bytes: int) -> Iterator[IO[bytes]]:
    place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(place.fs, LocalFileSystem):
        with _local(Path(place.path)) as local:
            yield local
        return
    part = max(_PART_BYTES, expected_bytes // _MOST_PARTS)
    file: Any = place.fs.open(place.path, "wb", autocommit=False, block_size=part)
    try:
        yield cast(IO[bytes], file)
        file.close()
        file.commit()
    except BaseException:
        _discard(file)
        raise


def _discard(file: Any) -> None:
    with contextlib.suppress(Exception):  # the first error is the one to tell
        file.discard()
    if isinstance(file, AbstractBufferedFile):
        file.closed = True  # or the end of the object would begin the upload again


@contextmanager
def _local(path: Path) -> Iterator[IO[bytes]]:
    partial = path.with_name(path.name + _PARTIAL)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
