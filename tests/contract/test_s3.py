"""Backups in an object store: a real S3 server (versitygw) that runs beside the tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from include.backup.copies import Workshop
from include.backup.dump import Wanted, find_backup, take_backup
from include.backup.expiry import expire
from include.backup.manifest import BEGUN
from include.backup.retention import Retention
from include.backup.store import Store
from include.backup.verify import verify
from include.errors import BackupMissing, BackupStoreFailed, ProgramMissing
from include.sandbox.postgres import Postgres
from include.sandbox.processes import wait_until
from tests.contract.databases import World
from tests.contract.object_store import BUCKET, Server

KEEPER = "erp/production"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TWO_PARTS = 2 * 5 * 1024 * 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    try:
        server = Server(tmp_path)
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    with server.process:
        wait_until(server.answers, deadline_seconds=20, what="the S3 server answers", process=server.process)
        yield server


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    postgres = Postgres(tmp_path_factory.mktemp("postgres"))
    postgres.start()
    world = World(postgres, tmp_path_factory.mktemp("world"))
    world.make()
    world.fill(24)
    yield world
    postgres.remove()


@pytest.fixture
def world(made: World, server: Server) -> World:
    made.store = server.store()
    return made


def uploads(store: Store) -> int:
    """How many uploads of parts have begun and were neither completed nor given up."""
    return len(store.root.fs.list_multipart_uploads(BUCKET))


def test_a_stranger_is_refused_by_the_pinned_server(server: Server) -> None:
    for path in ("/", f"/{BUCKET}", f"/{BUCKET}/erp/one/manifest.json"):
        answer = httpx.get(f"http://{server.host}{path}", trust_env=False)
        assert (answer.status_code, "AccessDenied" in answer.text) == (403, True)


def test_everything_comes_back_from_an_object_store(world: World) -> None:
    manifest = take_backup(world.database, world.store, world.clients, Wanted("one", keeper=KEEPER))
    assert manifest.size > 16 * 1024 * 1024, "more than two parts"
    verification = verify("one", world.workshop, now=NOW, scratch=world.database)
    assert (verification.sentences, verification.verdict) == ((), "VERIFIED")
    assert find_backup(world.store, "one") == manifest
    assert [fate.kept for fate in expire(world.store, Retention(), keeper=KEEPER, now=NOW)] == [True]


def test_an_upload_that_breaks_off_leaves_no_object(
    world: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Store.write
    begun: list[int] = []

    def write(store: Store, folder: str, name: str, chunks, **more):  # type: ignore[no-untyped-def]
        if not name.endswith(".dump"):
            return original(store, folder, name, chunks, **more)

        def interrupted() -> Iterator[bytes]:
            written = 0
            with contextlib.closing(chunks):
                for chunk in chunks:
                    yield chunk
                    written += len(chunk)
                    if written > TWO_PARTS:
                        begun.append(uploads(store))
                        raise KeyboardInterrupt

        return original(store, folder, name, interrupted(), **more)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "write", write)
        with pytest.raises(KeyboardInterrupt):
            take_backup(world.database, world.store, world.clients, Wanted("one"))
    assert (begun, uploads(world.store)) == ([1], 0)
    assert [path for path in (server.folder / "data" / BUCKET).rglob("*.dump*") if path.is_file()] == []
    assert set(world.store.files("one")) == {BEGUN}
    with pytest.raises(BackupMissing):
        find_backup(world.store, "one")
    take_backup(world.database, world.store, world.clients, Wanted("one"))
    assert verify("one", world.workshop, now=NOW).verdict == "VERIFIED"


def test_an_empty_file_and_a_small_one_are_files(world: World) -> None:
    for name, content in (("empty", b""), ("small", "Grüße".encode())):
        assert world.store.put("one", name, content).size == len(content)
        assert world.store.get("one", name) == content
    assert world.store.files("one") == {"empty": 0, "small": 7}
    assert world.store.folders() == ("one",)
    assert world.store.changed_at("one", "small") is not None
    world.store.delete("one", ["empty", "small", "gone"])
    assert (world.store.folders(), world.store.files("one"), world.store.get("one", "small")) == ((), {}, None)


def test_a_bucket_that_is_not_there_is_not_made(world: World, server: Server) -> None:
    store = server.store(bucket="bakups")
    with pytest.raises(BackupStoreFailed):
        take_backup(world.database, store, world.clients, Wanted("one"))
    assert [path.name for path in (server.folder / "data").iterdir()] == [BUCKET]


def test_a_wrong_key_is_a_refusal_that_does_not_repeat_it(world: World, server: Server) -> None:
    store = server.store(secret="wrong-secret")
    with pytest.raises(BackupStoreFailed) as refused:
        take_backup(world.database, store, world.clients, Wanted("one"))
    assert "wrong-secret" not in str(refused.value)


def test_a_server_that_goes_in_the_middle_is_told(
    world: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Store.write

    def write(store: Store, folder: str, name: str, chunks, **more):  # type: ignore[no-untyped-def]
        def stopping() -> Iterator[bytes]:
            with contextlib.closing(chunks):
                for number, chunk in enumerate(chunks):
                    if number == 1:
                        server.process.stop()
                    yield chunk

        return original(store, folder, name, stopping(), **more)

    monkeypatch.setattr(Store, "write", write)
    with pytest.raises(BackupStoreFailed):
        take_backup(world.database, world.store, world.clients, Wanted("one"))


def test_restoring_needs_nothing_but_the_object_store(world: World, server: Server) -> None:
    take_backup(world.database, world.store, world.clients, Wanted("one"))
    elsewhere = Workshop(server.store(), world.clients)
    assert verify("one", elsewhere, now=NOW, scratch=world.database).verdict == "VERIFIED"
