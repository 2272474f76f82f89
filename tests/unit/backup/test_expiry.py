"""Retention on what is really there: it deletes what its own environment's backups have left, and nothing else."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from upath import UPath

from include.backup.expiry import expire, stored
from include.backup.manifest import BEGUN, INVENTORY, MANIFEST, VERIFICATION, Begun, Level, Verification
from include.backup.retention import Retention
from include.backup.store import Store
from tests.unit.backup.test_loss import manifest

OURS, OTHERS = "erp/production", "erp/staging"
NOW = datetime(2026, 9, 1, tzinfo=UTC)
OLD = NOW - timedelta(days=200)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(UPath(str(tmp_path)))


def put(store: Store, folder: str, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        store.put(folder, name, content)
        os.utime(Path(store.root.path) / folder / name, (OLD.timestamp(), OLD.timestamp()))


def begun(backup: str, keeper: str = OURS) -> dict[str, bytes]:
    return {BEGUN: Begun(id=backup, keeper=keeper, started_at=OLD).model_dump_json().encode()}


def finished(store: Store, backup: str, *, days: int = 200, keeper: str = OURS) -> dict[str, bytes]:
    """A whole, verified backup of that age."""
    dump = store.put(backup, "0a1b2c3d.dump", backup.encode())
    held = store.put(backup, INVENTORY, b"{}")
    made = manifest({}).model_copy(
        update={
            "id": backup,
            "keeper": keeper,
            "snapshot_at": NOW - timedelta(days=days),
            "inventory": held,
            "pieces": (dump,),
            "size": dump.size,
            "sha256": dump.sha256,
        }
    )
    proof = Verification(
        backup=backup,
        sha256=made.sha256,
        level=Level.CONTENTS,
        at=OLD,
        verdict="VERIFIED",
        sentences=(),
        entries=1,
        seconds=1,
    )
    return {MANIFEST: made.model_dump_json().encode(), VERIFICATION: proof.model_dump_json().encode()}


def gone(store: Store, keeper: str = OURS) -> set[str]:
    fates = expire(store, Retention(newest=1, days=30), keeper=keeper, now=NOW)
    assert set(store.folders()) == {fate.folder for fate in fates if fate.kept}
    return {fate.folder for fate in fates if not fate.kept}


@pytest.mark.parametrize(
    "files",
    [
        ("20260201.dump", "20260101-erp.sql.gz"),
        ("0a1b2c3d.dump", INVENTORY),
        ("000000010000000000000001", "000000010000000000000002.partial"),
        (VERIFICATION,),
    ],
)
def test_a_folder_that_no_backup_has_begun_is_somebody_elses(store: Store, files: tuple[str, ...]) -> None:
    put(store, "monthly", dict.fromkeys(files, b"x"))
    assert gone(store) == set()
    assert set(store.files("monthly")) == set(files)


def test_what_an_attempt_of_ones_own_has_left_goes(store: Store) -> None:
    put(store, "left", {**begun("left"), "0a1b2c3d.dump.partial": b"half"})
    assert gone(store) == {"left"}
    assert store.files("left") == {}


def test_what_another_environment_keeps_there_is_its_own_affair(store: Store) -> None:
    put(store, "left", {**begun("left", OTHERS), "0a1b2c3d.dump.partial": b"half"})
    for days in (200, 300):
        put(store, f"theirs-{days}", finished(store, f"theirs-{days}", days=days, keeper=OTHERS))
    put(store, "nobodys", finished(store, "nobodys", keeper=""))
    put(store, "ours", finished(store, "ours"))
    assert gone(store) == set()
    assert gone(store, OTHERS) == {"left", "theirs-300"}


def test_a_copy_of_a_folder_is_not_what_it_was(store: Store) -> None:
    put(store, "copy", {**begun("left"), "0a1b2c3d.dump.partial": b"half"})
    assert gone(store) == set()


def test_killed_between_two_files_the_rest_is_still_known(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for days in (100, 200):
        put(store, f"b-{days}", {**begun(f"b-{days}"), **finished(store, f"b-{days}", days=days)})
    deleted: list[str] = []

    def dying(_: Store, folder: str, names: list[str]) -> None:
        assert folder == "b-200"
        deleted.extend(names)
        (Path(store.root.path) / folder / names[0]).unlink()
        os.utime(Path(store.root.path) / folder / "0a1b2c3d.dump", (OLD.timestamp(), OLD.timestamp()))
        os.utime(Path(store.root.path) / folder / INVENTORY, (OLD.timestamp(), OLD.timestamp()))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Store, "delete", dying)
        with pytest.raises(KeyboardInterrupt):
            gone(store)
    assert (deleted[0], deleted[-1]) == (MANIFEST, BEGUN)
    assert gone(store) == {"b-200"}
    assert [one.folder for one in stored(store, OURS)] == ["b-100"]


def test_what_somebody_has_to_look_at_is_told(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    put(store, "monthly", {"notes.txt": b"x"})
    with caplog.at_level(logging.INFO):
        gone(store)
    assert "monthly is left alone: not begun by a backup of erp/production" in caplog.text
