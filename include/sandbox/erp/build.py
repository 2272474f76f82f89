"""Images of the demo ERP: one folder per version, and their way into an image store or a cluster.

A folder is what a container's ``/`` holds on top of Debian 12 with python3::

    app/run            entry point
    app/release.json   which version this is
    app/erp/           the application, with the revisions this version knows
    app/lib/           its libraries

``python -m include.sandbox.erp.build [--store DIR] [VERSION …]`` builds and prints them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from include.errors import SandboxError
from include.sandbox.erp.libraries import compile_bytecode, libraries, publish
from include.sandbox.erp.versions import ENTRYPOINT, VERSIONS, ErpVersion
from include.sandbox.images import ImageStore

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[2] / "build" / "erp"
_REVISION_FILE = re.compile(r"(\d+)_\w+\.py")
_IMPORT_SECONDS = 600.0


class ImportImage(Protocol):
    """Takes an image in; ``ImageStore.add`` is one. Returns the digest where it knows it."""

    def __call__(
        self, reference: str, folder: Path, *, entrypoint: Sequence[str], env: Mapping[str, str]
    ) -> str | None:
        """Import one image."""


@dataclass(frozen=True)
class BuiltImage:
    """An imported image; ``digest`` is None where the importer does not tell."""

    reference: str
    folder: Path
    digest: str | None


def build_images(
    import_image: ImportImage, versions: Iterable[ErpVersion] = tuple(VERSIONS.values()), *, cache: Path = CACHE
) -> dict[str, BuiltImage]:
    """Build the versions' folders where needed and import each; by version.

    :raises SandboxError: building or importing failed
    """
    built = {}
    for version in versions:
        folder = build_folder(version, cache=cache)
        digest = import_image(version.reference, folder, entrypoint=ENTRYPOINT, env=version.env)
        built[version.version] = BuiltImage(version.reference, folder, digest)
    return built


def build_folder(version: ErpVersion, *, cache: Path = CACHE) -> Path:
    """The image folder of one version; built once per content."""
    installed = libraries(cache)
    release = json.dumps({"revision": version.needed, "features": sorted(version.features)})
    sources = _sources(version)
    key = hashlib.sha256(f"{installed.name}\n{release}".encode())
    for name, path in sources.items():
        key.update(f"\n{name}\n".encode() + path.read_bytes())
    target = cache / f"{version.version}-{key.hexdigest()[:16]}"
    if target.is_dir():
        return target
    work = Path(tempfile.mkdtemp(dir=cache, prefix=".image-"))
    try:
        app = work / "image" / "app"
        for name, path in sources.items():
            (app / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, app / name)
        (app / "release.json").write_text(release)
        (app / "run").chmod(0o755)
        compile_bytecode(app / "erp", "/app/erp")
        shutil.copytree(installed, app / "lib", copy_function=os.link)  # the same files, not the same bytes again
        publish(work / "image", target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def command_importer(prefix: str) -> ImportImage:
    """Import with a command called as ``<prefix> NAME:TAG DIR -e K=V… -- ENTRYPOINT…``, for real clusters."""

    def import_image(reference: str, folder: Path, *, entrypoint: Sequence[str], env: Mapping[str, str]) -> None:
        options = [part for name, value in sorted(env.items()) for part in ("-e", f"{name}={value}")]
        argv = [*shlex.split(prefix), reference, str(folder), *options, "--", *entrypoint]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_IMPORT_SECONDS, check=False)
        if done.returncode:
            raise SandboxError(
                f"image {reference} could not be imported",
                seen=(done.stderr or done.stdout).strip()[-2000:],
                remedy=f"try by hand: {shlex.join(argv)}",
            )

    return import_image


def _sources(version: ErpVersion) -> dict[str, Path]:
    """Path in the image's ``/app`` → source file, without revisions newer than the version."""
    found = {"run": HERE / "run"}
    for path in sorted((HERE / "app").rglob("*")):
        relative = path.relative_to(HERE / "app")
        if not path.is_file() or "__pycache__" in relative.parts:
            continue
        revision = _REVISION_FILE.fullmatch(path.name)
        if relative.parts[:2] == ("migrations", "versions") and revision and int(revision[1]) > version.revision:
            continue
        found[f"erp/{relative.as_posix()}"] = path
    return found


def main() -> None:
    """Build from the command line."""
    parser = argparse.ArgumentParser(description="Build the demo ERP's images.")
    parser.add_argument("versions", nargs="*", default=list(VERSIONS), metavar="VERSION", help="default: all")
    parser.add_argument("--store", type=Path, help="image store to add them to; without it they are only built")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.versions) - set(VERSIONS)):
        parser.error(f"unknown versions {', '.join(unknown)}; known: {', '.join(VERSIONS)}")
    for name in arguments.versions:
        version = VERSIONS[name]
        if arguments.store:
            image = build_images(ImageStore(arguments.store).add, [version])[name]
            print(f"{image.reference}@{image.digest}")
        else:
            print(f"{version.reference} {build_folder(version)}")


if __name__ == "__main__":
    main()
