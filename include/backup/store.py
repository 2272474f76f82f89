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
# S3 takes 10,000 parts of at least 5 MiB; a part is in memory, and not only once, until it is sent.
_PART_BYTES: Final = 5 * 1024 * 1024
_MOST_PARTS: Final = 9000
# What is asked for at once when reading, and is in memory up to four times; s3fs itself would take 50 MiB.
_READ_BYTES: Final = 2 * 1024 * 1024
# Object stores have no folders; asked for one, fsspec's drivers create the whole bucket where there is none.
_WITHOUT_FOLDERS: Final = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})


@dataclass(frozen=True)
class Store:
    """One folder for backups, each of which is a folder in it.

    :param root: any file system that fsspec knows
    """

    root: UPath

    def folders(self) -> tuple[str, ...]:
        """The names of the folders in it, sorted."""
        with self._failing("be listed"):
            self._fresh()
            try:
                found = self._fs.ls(self.root.path, detail=True)
            except FileNotFoundError:
                return ()
        return tuple(sorted(_base(entry["name"]) for entry in found if entry["type"] == "directory"))

    def files(self, folder: str) -> Mapping[str, int]:
        """File → size in bytes, of one folder; empty when there is none. What is being written shows as well."""
        with self._failing("be listed"):
            self._fresh()
            try:
                found = self._fs.ls(self._path(folder), detail=True)
            except FileNotFoundError:
                return {}
        return {_base(entry["name"]): entry["size"] for entry in found if entry["type"] == "file"}

    def changed_at(self, folder: str, name: str) -> float | None:
        """When a file was last written, seconds since 1970; None when the file system does not know."""
        with self._failing(f"tell about {name}"):
            with contextlib.suppress(NotImplementedError, FileNotFoundError):
                return float(self._fs.modified(self._path(folder, name)).timestamp())
            return None

    def get(self, folder: str, name: str) -> bytes | None:
        """A small file's content; None when there is none."""
        with self._failing(f"give {name}"):
            self._fresh()
            try:
                return bytes(self._fs.cat_file(self._path(folder, name)))
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
        stream = chunks if isinstance(chunks, Iterator) else iter(chunks)
        with (
            self._failing(f"take {name}"),
            _closed(stream),
            _complete_or_nothing(self._fs, self._path(folder, name), expected_bytes) as file,
        ):
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
                with contextlib.suppress(FileNotFoundError):
                    self._fs.rm_file(self._path(folder, name))
            if _has_folders(self._fs):
                with contextlib.suppress(OSError, NotImplementedError):
                    self._fs.rmdir(self._path(folder))

    def shown(self, folder: str, name: str = "") -> str:
        """Where that is, for humans."""
        return f"{self.root.path.rstrip('/')}/{folder}/{name}".rstrip("/")

    def _chunks(self, folder: str, name: str) -> Generator[bytes]:
        with self._failing(f"give {name}"):
            self._fresh()
            try:
                file = self._fs.open(self._path(folder, name), "rb", block_size=_READ_BYTES)
            except FileNotFoundError as error:
                raise ArchiveUnusable(
                    f"{self.shown(folder, name)} is missing",
                    expected="every piece that the manifest names",
                    remedy="use another backup",
                ) from error
            with file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk

    @property
    def _fs(self) -> Any:
        # One for all that is in it: each would have connections of its own.
        return self.root.fs

    def _path(self, *parts: str) -> str:
        return self.root.joinpath(*parts).path

    def _fresh(self) -> None:
        self._fs.invalidate_cache()

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


def _has_folders(fs: Any) -> bool:
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return _WITHOUT_FOLDERS.isdisjoint(protocols)


@contextmanager
def _complete_or_nothing(fs: Any, path: str, expected_bytes: int) -> Iterator[IO[bytes]]:
    if _has_folders(fs):
        fs.makedirs(path.rpartition("/")[0], exist_ok=True)
    if isinstance(fs, LocalFileSystem):
        with _local(Path(path)) as local:
            yield local
        return
    part = max(_PART_BYTES, expected_bytes // _MOST_PARTS)
    file: Any = fs.open(path, "wb", autocommit=False, block_size=part)
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
