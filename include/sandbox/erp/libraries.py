"""The ERP's own libraries: installed from the hash-pinned list into a folder, once per list and platform.

They go into the image and nowhere else; the environment Airflow runs in never sees them.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from uv import find_uv_bin

from include.errors import SandboxError

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_PYTHON = (3, 11)  # of the image's base, Debian 12: compiled wheels and bytecode fit no other
_SOURCES = (".c", ".cpp", ".h", ".pyx", ".pxd", ".pxi", ".pyi")  # of no use at run time, a third of the size
_INSTALL_SECONDS = 600.0


def libraries(cache: Path) -> Path:
    """The folder with the installed libraries, made now if this list was never installed here.

    :raises SandboxError: another Python, or the installation failed
    """
    if sys.version_info[:2] != _PYTHON:
        raise SandboxError(
            "the demo ERP's image cannot be built",
            expected="Python 3.11, the one of Debian 12",
            seen=platform.python_version(),
            remedy="run with the project's environment",
        )
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + sysconfig.get_platform().encode()).hexdigest()[:16]
    target = cache / f"lib-{key}"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=cache, prefix=".lib-"))
    try:
        _install(work / "lib")
        for path in [path for path in (work / "lib").rglob("*") if path.suffix in _SOURCES]:
            path.unlink()
        shutil.rmtree(work / "lib" / "bin", ignore_errors=True)
        compile_bytecode(work / "lib", "/app/lib")
        publish(work / "lib", target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def compile_bytecode(folder: Path, inside: str) -> None:
    """Compile a folder that will be at ``inside`` in the image, so that a process there starts without writing.

    ``unchecked-hash`` and the replaced path make the files independent of time and place of the build.
    """
    argv = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    _run([*argv, "-s", str(folder), "-p", inside, str(folder)], "compiling the demo ERP")


def publish(made: Path, target: Path) -> None:
    """Put a finished folder in place at once, readable for the account a container runs as; the first one wins."""
    for path in [made, *made.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    try:
        made.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def _install(folder: Path) -> None:
    options = ["--target", str(folder), "--require-hashes", "--only-binary", ":all:", "--no-deps"]
    argv = [find_uv_bin(), "pip", "install", "--quiet", "--python", sys.executable, *options]
    _run([*argv, "-r", str(REQUIREMENTS)], "installing the demo ERP's libraries")


def _run(argv: list[str], what: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError(f"{what} failed", seen=str(error)) from None
    if done.returncode:
        raise SandboxError(
            f"{what} failed", seen=(done.stderr or done.stdout).strip()[-2000:], remedy="check the package index"
        )
