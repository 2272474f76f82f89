"""The image store: what a registry and a container runtime's image cache are to a cluster, as folders.

An image is a folder (what the container's ``/`` would hold on top of Debian 12 with python3) and a
configuration (entry point, environment). Its digest covers every file's path, mode and content and the
configuration, so a reference by digest pins exactly what runs. Layout below the store's root::

    blobs/<hex>/rootfs/…         the files, copied once, never changed
    blobs/<hex>/config.json      entry point and environment
    names/<name>/tags/<tag>      the digest a tag points at now
    names/<name>/digests/<hex>   every digest the name ever had
    incoming/                    copies under way; a kill leaves rubbish only here

Everything becomes visible by one rename, so readers in other processes never see a half-written image.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, unquote

from include.errors import ImageNotFound, SandboxError

_NAME = re.compile(r"[a-z0-9]+(?:[._:-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DEFAULT_REGISTRIES = ("docker.io/", "index.docker.io/")
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Reference:
    """A normalised image reference; ``digest`` wins over ``tag`` when both are given, as in a registry."""

    name: str
    tag: str | None
    digest: str | None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}@{self.digest}" if self.digest else f"{self.name}{tag}"


@dataclass(frozen=True)
class Image:
    """An image ready to run: ``root`` is the folder that stands for the container's ``/``."""

    reference: str
    digest: str
    root: Path
    entrypoint: tuple[str, ...]
    env: Mapping[str, str]


def parse_reference(text: str) -> Reference:
    """Split ``[docker.io/[library/]]name[:tag][@sha256:…]``; without tag and digest the tag is ``latest``.

    :raises SandboxError: the text is no image reference
    """
    rest, _, digest = text.partition("@")
    for registry in _DEFAULT_REGISTRIES:
        rest = rest.removeprefix(registry)
    rest = rest.removeprefix("library/")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:  # the colon, if any, belongs to a registry's port
        head, tag = rest, ""
    valid = (
        _NAME.fullmatch(head) and (not tag or _TAG.fullmatch(tag)) and (not digest or _DIGEST.fullmatch(digest))
    )
    if not valid or text.endswith(("@", ":")):
        raise SandboxError(
            f"{text!r} is no image reference",
            expected="name:tag or name@sha256:<64 hexadecimal digits>, the name in lower case",
            remedy="correct the image's repository, tag or digest",
        )
    return Reference(head, tag or (None if digest else "latest"), digest or None)


def content_digest(folder: Path, *, entrypoint: Sequence[str], env: Mapping[str, str]) -> str:
    """``sha256:…`` over the folder's files (path, executable bit, content, links) and the configuration.

    :raises SandboxError: the folder holds something an image cannot (a device, a link that leaves it)
    """
    total = hashlib.sha256(_config(entrypoint, env))
    for relative, path in _walk(folder):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            line = f"link {relative} {_link_target(folder, path)}"
        elif stat.S_ISDIR(mode):
            line = f"folder {relative}"
        elif stat.S_ISREG(mode):
            line = f"file {relative} {'x' if mode & 0o100 else '-'} {_file_digest(path)}"
        else:
            raise SandboxError(f"{path} is neither a file, a folder nor a link", remedy="remove it from the image")
        total.update(b"\n" + line.encode(errors="surrogateescape"))
    return f"sha256:{total.hexdigest()}"


class ImageStore:
    """Images by name, tag and digest below one folder; safe for several processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, reference: str, folder: Path, *, entrypoint: Sequence[str], env: Mapping[str, str]) -> str:
        """Copy ``folder`` into the store under ``reference`` and return its digest; the tag moves if it existed.

        :raises SandboxError: not an image reference, a reference by digest, no folder, no entry point
        """
        parsed = parse_reference(reference)
        if parsed.digest or not parsed.tag:
            raise SandboxError(f"cannot add an image as {reference!r}", expected="name:tag")
        if not entrypoint or not folder.is_dir():
            raise SandboxError(
                f"cannot add {reference!r} from {folder}", expected="a folder and a command to start in it"
            )
        digest = content_digest(folder, entrypoint=entrypoint, env=env)
        if not self._blob(digest).is_dir():
            digest = self._copy(folder, entrypoint, env)
        name = self._name(parsed.name)
        _write(name / "digests" / digest.removeprefix("sha256:"), digest)
        _write(name / "tags" / parsed.tag, digest)
        return digest

    def resolve(self, reference: str) -> Image:
        """The image a container with this ``image:`` field would run.

        :raises ImageNotFound: no such name, tag or digest
        :raises SandboxError: not an image reference
        """
        parsed = parse_reference(reference)
        digest = self._digest(parsed)
        blob = self._blob(digest)
        config = json.loads((blob / "config.json").read_text())
        return Image(
            reference=str(parsed),
            digest=digest,
            root=blob / "rootfs",
            entrypoint=tuple(config["entrypoint"]),
            env=MappingProxyType(config["env"]),
        )

    def references(self) -> tuple[str, ...]:
        """Every ``name:tag`` of the store, sorted."""
        tags = (path for path in self.root.glob("names/*/tags/*") if not path.name.startswith("."))
        return tuple(sorted(f"{unquote(tag.parent.parent.name)}:{tag.name}" for tag in tags))

    def _digest(self, parsed: Reference) -> str:
        name = self._name(parsed.name)
        entry = (
            name / "digests" / parsed.digest.removeprefix("sha256:")
            if parsed.digest
            else name / "tags" / str(parsed.tag)
        )
        try:
            return entry.read_text()
        except FileNotFoundError:
            held = [reference for reference in self.references() if reference.startswith(f"{parsed.name}:")]
            raise ImageNotFound(
                f"image {parsed} not found",
                expected="a name, tag or digest the image store holds",
                seen=f"for this name only {', '.join(held)}" if held else "no image of this name",
                remedy="correct the tag, or add the image first",
            ) from None

    def _copy(self, folder: Path, entrypoint: Sequence[str], env: Mapping[str, str]) -> str:
        incoming = self.root / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=incoming))
        try:
            shutil.copytree(folder, work / "rootfs", symlinks=True)
            # The copy's digest, not the source's: the source may have changed while it was copied.
            digest = content_digest(work / "rootfs", entrypoint=entrypoint, env=env)
            (work / "config.json").write_bytes(_config(entrypoint, env))
            work.chmod(0o755)
            self._blob(digest).parent.mkdir(parents=True, exist_ok=True)
            try:
                work.rename(self._blob(digest))
            except OSError:
                if not self._blob(digest).is_dir():  # else somebody else added the same content meanwhile
                    raise
            return digest
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _blob(self, digest: str) -> Path:
        return self.root / "blobs" / digest.removeprefix("sha256:")

    def _name(self, name: str) -> Path:
        return self.root / "names" / quote(name, safe="")


def _config(entrypoint: Sequence[str], env: Mapping[str, str]) -> bytes:
    return json.dumps({"entrypoint": list(entrypoint), "env": dict(env)}, sort_keys=True).encode()


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    for base, folders, files in os.walk(folder):
        folders.sort()
        linked = [name for name in folders if (Path(base) / name).is_symlink()]
        folders[:] = [name for name in folders if name not in linked]
        for name in sorted([*files, *folders, *linked]):
            path = Path(base) / name
            yield path.relative_to(folder).as_posix(), path


def _link_target(folder: Path, link: Path) -> str:
    target = link.readlink()
    inside = Path(os.path.normpath(link.parent / target)).is_relative_to(folder)
    if target.is_absolute() or not inside:
        raise SandboxError(
            f"{link} points out of the image at {target}",
            expected="a relative link inside",
            remedy="copy the file",
        )
    return str(target)


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    with os.fdopen(handle, "w") as file:
        file.write(text)
        os.fchmod(handle, 0o644)
    Path(temporary).rename(path)
