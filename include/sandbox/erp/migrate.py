"""The ERP's schema changes, run with the image's own libraries in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from include.errors import SandboxError
from include.sandbox.erp.build import build_folder
from include.sandbox.erp.versions import VERSIONS


def migrate_erp(
    database_url: str, revision: str = "head", *, version: str = "3.0.0", timeout: float = 120.0
) -> None:
    """Upgrade the database to ``revision`` with the tree of ``version``.

    :param timeout: seconds
    :raises SandboxError: Alembic refused or did not finish
    """
    alembic(database_url, "upgrade", revision, folder=build_folder(VERSIONS[version]), timeout=timeout)


def link_trees(place: Path) -> None:
    """Name what each version's image holds by the version: ``<place>/3.0.0/erp/migrations``."""
    place.mkdir(parents=True, exist_ok=True)
    for name, version in VERSIONS.items():
        link = place / name
        link.unlink(missing_ok=True)
        link.symlink_to(build_folder(version) / "app", target_is_directory=True)


def alembic(database_url: str, *arguments: str, folder: Path, timeout: float = 120.0) -> str:
    """Run one Alembic command of the image in ``folder`` and return what it printed.

    :raises SandboxError: it failed or did not finish in ``timeout`` seconds
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    argv = [str(folder / "app" / "run"), "alembic", *arguments]
    what = f"alembic {' '.join(arguments)}"
    try:
        done = subprocess.run(
            argv,
            env={"PATH": path, "DATABASE_URL": database_url},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SandboxError(f"{what} did not finish", expected=f"an end within {timeout:g} s") from None
    if done.returncode:
        said = f"{done.stderr}\n{done.stdout}".strip()[-2000:]  # Alembic tells some of its errors on stdout
        raise SandboxError(f"{what} failed", seen=said.replace(database_url, "<database>"))
    return done.stdout
