"""Images: what goes into which version, built once, imported with its configuration."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from include.errors import SandboxError
from include.sandbox.erp import build as module
from include.sandbox.erp.build import build_folder, build_images, command_importer
from include.sandbox.erp.libraries import publish
from include.sandbox.erp.versions import VERSIONS, ErpVersion
from include.sandbox.images import ImageStore


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache whose libraries are a stand-in: nothing is downloaded."""
    installed = tmp_path / "cache" / "lib-0"
    installed.mkdir(parents=True)
    (installed / "library.py").write_text("")
    monkeypatch.setattr(module, "libraries", lambda cache: cache / "lib-0")
    return tmp_path / "cache"


def revisions(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "app/erp/migrations/versions").glob("*.py"))


def test_a_version_knows_its_own_revisions_only(cache: Path) -> None:
    assert revisions(build_folder(VERSIONS["2.9.0"], cache=cache)) == ["0001_articles.py", "0002_orders.py"]
    assert revisions(build_folder(VERSIONS["3.0.0"], cache=cache))[-1] == "0003_delivery_date.py"


def test_a_folder_is_complete_and_readable_for_everybody(cache: Path) -> None:
    folder = build_folder(VERSIONS["3.0.0"], cache=cache)
    assert (folder / "app/run").stat().st_mode & stat.S_IXOTH
    assert (folder / "app/run").read_text().startswith("#!/usr/bin/env -S python3 -I -S\n")
    assert (folder / "app/lib/library.py").exists()
    assert (folder / "app/erp/page.html").exists()
    assert json.loads((folder / "app/release.json").read_text()) == {"revision": 2, "features": ["delivery_date"]}
    for path in folder.rglob("*"):
        assert path.stat().st_mode & stat.S_IROTH, path
    assert list((folder / "app/erp/__pycache__").glob("server.cpython-311.pyc")), "compiled, so nothing is written"


def test_a_folder_is_built_once(cache: Path) -> None:
    first = build_folder(VERSIONS["3.0.0"], cache=cache)
    (first / "mark").touch()
    assert (build_folder(VERSIONS["3.0.0"], cache=cache) / "mark").exists()
    assert not list(cache.glob(".image-*"))


def test_building_twice_gives_the_same_digest(cache: Path, tmp_path: Path) -> None:
    digests = set()
    for number in range(2):
        other = tmp_path / str(number)
        (other / "lib-0").mkdir(parents=True)
        folder = build_folder(VERSIONS["3.0.0"], cache=other)
        store = ImageStore(tmp_path / f"store-{number}")
        digests.add(store.add("valeo-erp:3.0.0", folder, entrypoint=["/app/run"], env={}))
    assert len(digests) == 1


def test_images_are_imported_with_their_configuration(cache: Path, tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    broken = ErpVersion("3.0.8", revision=3, faults={"latency_seconds": 3})
    built = build_images(store.add, [VERSIONS["2.9.0"], broken], cache=cache)
    image = store.resolve("valeo-erp:3.0.8")
    assert built["3.0.8"].digest == image.digest
    assert image.entrypoint == ("/app/run",)
    assert image.env["APP_VERSION"] == "3.0.8"
    assert json.loads(image.env["FAULTS"]) == {"latency_seconds": 3}
    assert "FAULTS" not in store.resolve("valeo-erp:2.9.0").env
    assert built["2.9.0"].digest != built["3.0.8"].digest


def test_a_cluster_is_given_images_by_a_command(tmp_path: Path) -> None:
    script = tmp_path / "import"
    script.write_text(
        f"#!{sys.executable}\nimport sys, json, pathlib\n"
        f"pathlib.Path({str(tmp_path / 'seen')!r}).write_text(json.dumps(sys.argv[1:]))\n"
    )
    script.chmod(0o755)
    importer = command_importer(f"{script} image")
    assert importer("erp:1", tmp_path, entrypoint=["/app/run", "x"], env={"B": "2", "A": "1"}) is None
    assert json.loads((tmp_path / "seen").read_text()) == [
        "image", "erp:1", str(tmp_path), "-e", "A=1", "-e", "B=2", "--", "/app/run", "x",
    ]  # fmt: skip


def test_a_failing_import_is_told(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="could not be imported"):
        command_importer("/bin/false")("erp:1", tmp_path, entrypoint=["/x"], env={})


def test_the_first_of_two_builders_wins(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").touch()
    publish(tmp_path / "made", tmp_path / "target")
    assert (tmp_path / "target" / "file").exists()
