"""Where backups are kept: complete or not there, on a disk and where an upload has to be completed."""

from __future__ import annotations

import errno
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from include.backup.manifest import Piece
from include.backup.store import Store
from include.errors import ArchiveUnusable, BackupStoreFailed, ClientFailed

uploads: dict[str, list[bytes]] = {}
objects: dict[str, bytes] = {}


class Upload(AbstractBufferedFile):
    """As fsspec's files in object stores do it: parts, and nothing is there until the upload is completed."""

    def _initiate_upload(self) -> None:
        uploads[self.path] = []

    def _upload_chunk(self, final: bool = False) -> bool:
        uploads[self.path].append(self.buffer.getvalue())
        if final and self.autocommit:
            self.commit()
        return True

    def commit(self) -> None:
        objects[self.path] = b"".join(uploads.pop(self.path))

    def discard(self) -> None:
        uploads.pop(self.path, None)


class ObjectStore(MemoryFileSystem):
    """An object store that keeps its uploads apart."""

    protocol = "memory"

    def open(self, path: str, mode: str = "rb", **more: Any) -> Any:
        if mode == "rb":
            return io.BytesIO(objects[path])
        return Upload(self, path, mode, block_size=more["block_size"], autocommit=more["autocommit"])


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Store:
    uploads.clear()
    objects.clear()
    root = UPath("memory://store")
    monkeypatch.setattr(type(root), "fs", property(lambda _: ObjectStore(skip_instance_cache=True)))
    return Store(root)


def broken(error: BaseException) -> Iterator[bytes]:
    yield b"x" * 10_000_000
    raise error


def test_what_was_written_is_read_and_its_digest_known(tmp_path: Path) -> None:
    store = Store(UPath(str(tmp_path)))
    piece = store.write("one", "a.dump", [b"Gr\xc3\xbc", b"", b"\xc3\x9fe"])
    assert piece == Piece(name="a.dump", size=7, sha256=hashlib.sha256(b"Gr\xc3\xbc\xc3\x9fe").hexdigest())
    assert b"".join(store.read("one", piece)).decode() == "Grüße"
    assert (store.folders(), store.files("one")) == (("one",), {"a.dump": 7})
    assert store.get("one", "a.dump") == "Grüße".encode()
    assert store.get("one", "b") is None
    store.put("one", "a.dump", b"new")
    assert store.get("one", "a.dump") == b"new"
    store.delete("one", ["a.dump", "gone"])
    assert (store.folders(), store.files("one")) == ((), {})


@pytest.mark.parametrize("error", [ClientFailed("x"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_a_file_that_is_not_complete_is_not_there(tmp_path: Path, remote: Store, error: BaseException) -> None:
    for store in (Store(UPath(str(tmp_path))), remote):
        expected = BackupStoreFailed if isinstance(error, OSError) else type(error)
        with pytest.raises(expected):
            store.write("one", "a.dump", broken(error))
    assert list(tmp_path.rglob("*.dump*")) == []
    assert (uploads, objects) == ({}, {})


def test_an_upload_is_completed_at_the_end_only(remote: Store) -> None:
    def watched() -> Iterator[bytes]:
        for _ in range(5):
            yield b"y" * 4_000_000
            assert objects == {}

    piece = remote.write("one", "a.dump", watched())
    assert list(map(len, objects.values())) == [20_000_000]
    assert uploads == {}
    assert sum(map(len, remote.read("one", piece))) == 20_000_000


def test_parts_become_larger_where_there_would_be_too_many(remote: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    original = ObjectStore.open

    def noted(store: ObjectStore, path: str, mode: str = "rb", **more: Any) -> Any:
        sizes.append(more["block_size"])
        return original(store, path, mode, **more)

    monkeypatch.setattr(ObjectStore, "open", noted)
    for expected in (0, 10**9, 10**12):
        remote.write("one", "a", [b"x"], expected_bytes=expected)
    assert sizes[0] == sizes[1] == 5 * 1024 * 1024
    assert 10**12 / sizes[2] < 10_000


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_whatever_is_not_what_was_written_is_told(tmp_path_factory: Any, written: bytes, found: bytes) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = Store(UPath(str(folder)))
    piece = store.put("one", "a", written)
    (folder / "one" / "a").write_bytes(found)
    if found == written:
        assert b"".join(store.read("one", piece)) == written
        return
    word = "empty" if not found else "truncated" if len(found) < len(written) else "corrupt"
    with pytest.raises(ArchiveUnusable, match=f"is {word}"):
        list(store.read("one", piece))


def test_a_missing_file_and_a_store_that_refuses_are_two_things(tmp_path: Path) -> None:
    piece = Piece(name="a", size=1, sha256="0" * 64)
    store = Store(UPath(str(tmp_path)))
    with pytest.raises(ArchiveUnusable, match="is missing"):
        list(store.read("one", piece))
    (tmp_path / "file").write_text("")
    refusing = Store(UPath(str(tmp_path / "file")))
    for act in (lambda: refusing.put("one", "a", b"x"), lambda: list(refusing.read("one", piece))):
        with pytest.raises(BackupStoreFailed):
            act()


def test_a_writer_that_gives_up_ends_what_it_reads_from(tmp_path: Path) -> None:
    ended: list[bool] = []

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            ended.append(True)

    class Full(Store):
        pass

    store = Full(UPath(str(tmp_path)))
    (tmp_path / "one" / "a.partial").mkdir(parents=True)
    with pytest.raises(BackupStoreFailed):
        store.write("one", "a", endless())
    stream = endless()
    next(stream)
    with pytest.raises(BackupStoreFailed):
        store.write("one", "a", stream)
    assert ended == [True]


def test_where_there_are_no_folders_none_is_made(remote: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("fsspec would create the bucket, or delete it")

    monkeypatch.setattr(ObjectStore, "protocol", ("s3", "s3a"))
    for name in ("mkdir", "makedirs", "rmdir"):
        monkeypatch.setattr(ObjectStore, name, refused)
    remote.put("one", "a", b"x")
    remote.delete("one", [])
    assert list(objects.values()) == [b"x"]


def test_reading_keeps_little_in_memory(remote: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    piece = remote.put("one", "a", b"x")
    sizes: list[int] = []

    def noted(_: ObjectStore, path: str, mode: str, *, block_size: int) -> io.BytesIO:
        sizes.append(block_size)
        return io.BytesIO(objects[path])

    monkeypatch.setattr(ObjectStore, "open", noted)
    assert b"".join(remote.read("one", piece)) == b"x"
    assert 0 < sizes[0] <= 16 * 1024 * 1024
