"""The image store: digests pin content, tags move, nothing half-written is ever seen."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ImageNotFound, SandboxError
from include.sandbox.images import ImageStore, content_digest, parse_reference

ENTRY = ["/app/run"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    app = tmp_path / "source" / "app"
    app.mkdir(parents=True)
    (app / "run").write_text("#!/bin/sh\necho 1\n")
    (app / "run").chmod(0o755)
    (app / "link").symlink_to("run")
    return app.parent


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


def test_an_added_image_resolves_by_tag_and_by_digest(store: ImageStore, folder: Path) -> None:
    digest = store.add("valeo/erp:3.0.0", folder, entrypoint=ENTRY, env={"A": "1"})
    image = store.resolve("valeo/erp:3.0.0")
    assert image.digest == digest
    assert image.entrypoint == ("/app/run",)
    assert image.env == {"A": "1"}
    assert (image.root / "app" / "run").read_text().startswith("#!/bin/sh")
    assert (image.root / "app" / "run").stat().st_mode & 0o111
    assert (image.root / "app" / "link").is_symlink()
    assert store.resolve(f"valeo/erp@{digest}").root == image.root
    assert store.resolve(f"valeo/erp:whatever@{digest}").root == image.root
    assert store.references() == ("valeo/erp:3.0.0",)


def test_a_moved_tag_leaves_the_old_digest_in_place(store: ImageStore, folder: Path) -> None:
    first = store.add("erp:1", folder, entrypoint=ENTRY, env={})
    (folder / "app" / "run").write_text("#!/bin/sh\necho 2\n")
    second = store.add("erp:1", folder, entrypoint=ENTRY, env={})
    assert first != second
    assert store.resolve("erp:1").digest == second
    assert "echo 1" in (store.resolve(f"erp@{first}").root / "app" / "run").read_text()


def test_a_changed_source_does_not_change_the_stored_image(store: ImageStore, folder: Path) -> None:
    digest = store.add("erp:1", folder, entrypoint=ENTRY, env={})
    (folder / "app" / "run").write_text("changed")
    image = store.resolve("erp:1")
    assert content_digest(image.root, entrypoint=image.entrypoint, env=image.env) == digest


@pytest.mark.parametrize("missing", ["erp:2", "other:1", "other@sha256:" + "0" * 64])
def test_an_unknown_reference_says_what_there_is(store: ImageStore, folder: Path, missing: str) -> None:
    store.add("erp:1", folder, entrypoint=ENTRY, env={})
    with pytest.raises(ImageNotFound) as caught:
        store.resolve(missing)
    assert isinstance(caught.value, LookupError)
    assert ("erp:1" in str(caught.value)) == (missing == "erp:2")


def test_a_digest_belongs_to_its_name(store: ImageStore, folder: Path) -> None:
    digest = store.add("erp:1", folder, entrypoint=ENTRY, env={})
    with pytest.raises(ImageNotFound):
        store.resolve(f"other@{digest}")


def test_the_digest_covers_content_mode_and_configuration(folder: Path) -> None:
    def digest(**changes: object) -> str:
        return content_digest(folder, **{"entrypoint": ENTRY, "env": {}, **changes})  # type: ignore[arg-type]

    original = digest()
    assert digest() == original
    assert digest(env={"A": "1"}) != original
    assert digest(entrypoint=["/other"]) != original
    (folder / "app" / "run").chmod(0o644)
    assert digest() != original
    (folder / "app" / "run").chmod(0o755)
    assert digest() == original
    (folder / "empty").mkdir()
    assert digest() != original


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside"])
def test_a_link_out_of_the_image_is_refused(store: ImageStore, folder: Path, target: str) -> None:
    (folder / "app" / "bad").symlink_to(target)
    with pytest.raises(SandboxError, match="points out of the image"):
        store.add("erp:1", folder, entrypoint=ENTRY, env={})
    assert store.references() == ()


@pytest.mark.parametrize("bad", ["", "Erp:1", "erp:", "erp@", "erp@sha256:12", "erp:a b", "../x:1", "erp:../x"])
def test_a_malformed_reference_is_refused(store: ImageStore, folder: Path, bad: str) -> None:
    with pytest.raises(SandboxError, match="no image reference"):
        store.resolve(bad)
    with pytest.raises(SandboxError):
        store.add(bad, folder, entrypoint=ENTRY, env={})


def test_nothing_can_be_added_without_a_folder_an_entry_point_or_by_digest(
    store: ImageStore, folder: Path
) -> None:
    with pytest.raises(SandboxError):
        store.add("erp:1", folder / "none", entrypoint=ENTRY, env={})
    with pytest.raises(SandboxError):
        store.add("erp:1", folder, entrypoint=[], env={})
    with pytest.raises(SandboxError, match="name:tag"):
        store.add("erp@sha256:" + "0" * 64, folder, entrypoint=ENTRY, env={})


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("docker.io/library/erp:1", "erp:1"),
        ("index.docker.io/valeo/erp:1", "valeo/erp:1"),
        ("erp", "erp:latest"),
        ("registry.local:5000/valeo/erp", "registry.local:5000/valeo/erp:latest"),
        ("registry.local:5000/valeo/erp:2.9.0", "registry.local:5000/valeo/erp:2.9.0"),
        ("erp@sha256:" + "a" * 64, "erp@sha256:" + "a" * 64),
    ],
)
def test_references_are_normalised(text: str, normal: str) -> None:
    assert str(parse_reference(text)) == normal


@given(
    st.from_regex(r"[a-z0-9]+(/[a-z0-9]+){0,2}", fullmatch=True).filter(
        lambda name: not name.startswith("library/")
    ),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True),
)
def test_normalising_twice_changes_nothing(name: str, tag: str) -> None:
    once = str(parse_reference(f"{name}:{tag}"))
    assert once == f"{name}:{tag}"
    assert str(parse_reference(once)) == once


def test_concurrent_writers_of_the_same_image_all_succeed(store: ImageStore, folder: Path) -> None:
    digests: list[str] = []
    threads = [
        threading.Thread(target=lambda: digests.append(store.add("erp:1", folder, entrypoint=ENTRY, env={})))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 8
    assert len(set(digests)) == 1
    assert store.resolve("erp:1").digest == digests[0]
    assert not list((store.root / "incoming").iterdir())
