"""Owns the pinned programs of ``tools/``: finds them, or builds them once into a cache keyed by module files.

``python -m include.sandbox.programs helm kube-apiserver`` prints the path of each, building what is missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from include.errors import ProgramMissing, StellwerkError
from include.sandbox.build_progress import Progress, watch_build
from include.sandbox.go_modules import CATALOGUE, Catalogue, Module
from include.sandbox.processes import Process
from include.sandbox.signals import end_on_signals
from include.sandbox.toolchain import cache_folder, exclusive, go_environment, go_toolchain

FOLDER_VARIABLE = "STELLWERK_PROGRAMS"


def program(name: str) -> Path:
    """The path of one pinned program, built if need be; see :func:`programs`."""
    return programs([name])[name]


def programs(
    names: Iterable[str],
    *,
    environment: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    catalogue: Catalogue = CATALOGUE,
) -> dict[str, Path]:
    """The paths of the named programs: from the folder ``$STELLWERK_PROGRAMS``, the cache, or built now.

    Several processes may ask at the same time: one builds, the others wait for it.

    :param catalogue: program → its module and package; another one for programs that are not of ``tools/``
    :raises ProgramMissing: an unknown name, a build that failed, or no Go to build with
    """
    environment = os.environ if environment is None else environment
    progress = progress or Progress(sys.stderr)
    wanted = list(dict.fromkeys(names))
    _check_names(wanted, catalogue)
    found = _given(wanted, environment, progress)
    by_module: dict[Module, list[str]] = {}
    for name in wanted:
        if name not in found:
            by_module.setdefault(catalogue[name][0], []).append(name)
    for module, missing in by_module.items():
        packages = {name: catalogue[name][1] for name in missing}
        found |= _from_cache(module, packages, environment, progress)
    return {name: found[name] for name in wanted}


def _check_names(names: Sequence[str], catalogue: Catalogue) -> None:
    unknown = [name for name in names if name not in catalogue]
    if unknown:
        raise ProgramMissing(
            f"no pinned program is called {', '.join(unknown)}",
            expected=f"one of {', '.join(catalogue)}",
            remedy="use one of these names, or add a module below tools/ and the program to CATALOGUE",
        )


def _given(names: Sequence[str], environment: Mapping[str, str], progress: Progress) -> dict[str, Path]:
    setting = environment.get(FOLDER_VARIABLE)
    if not setting:
        return {}
    folder = Path(setting).expanduser().resolve()
    if not folder.is_dir():
        raise ProgramMissing(
            f"{FOLDER_VARIABLE} names no folder",
            expected=f"a folder with {', '.join(names)}",
            seen=setting,
            remedy=f"correct {FOLDER_VARIABLE}, or unset it to build the programs from tools/",
        )
    found = {name: folder / name for name in names if os.access(folder / name, os.X_OK)}
    for name in names:
        if name not in found:
            progress.line(f"{name} is not in {FOLDER_VARIABLE}={setting}: taking the one of tools/")
    return found


def _from_cache(
    module: Module, packages: Mapping[str, str], environment: Mapping[str, str], progress: Progress
) -> dict[str, Path]:
    home = cache_folder(environment) / "programs" / f"{module.name}-{module.key}"
    paths = {name: home / "bin" / name for name in packages}
    if all(path.exists() for path in paths.values()):
        return paths

    def waiting() -> None:
        progress.line(f"another process is building {module.name}; waiting for it")

    with exclusive(home / "lock", waiting=waiting):
        missing = {name: packages[name] for name, path in paths.items() if not path.exists()}
        if missing:
            _build(module, missing, home, environment, progress)
    return paths


def _build(
    module: Module, packages: Mapping[str, str], home: Path, environment: Mapping[str, str], progress: Progress
) -> None:
    go = go_toolchain(module.go, environment=environment, report=progress.line)
    progress.line(f"building {', '.join(packages)} ({module.name} {module.version}) once, into {home}")
    binaries = home / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    partial = home / "partial"
    shutil.rmtree(partial, ignore_errors=True)  # of a build that was killed; the lock says that none is running
    partial.mkdir()
    try:
        # Go names a binary after its package's folder, which for etcd is "server".
        made = {name: partial / _binary_name(package) for name, package in packages.items()}
        # One invocation for all programs: packages are compiled while others are being linked.
        argv = [
            str(go),
            "build",
            "-v",
            *module.flags,
            "-ldflags",
            module.linker_flags,
            "-o",
            f"{partial}/",
            *packages.values(),
        ]
        log = home / "build.log"
        process = Process("go build", argv, cwd=module.folder, env=go_environment(environment), log=log)
        code = watch_build(process, made=made, progress=progress)
        if code != 0:
            raise _build_failed(module, list(packages), code, log)
        for name, path in made.items():
            path.replace(binaries / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _binary_name(package: str) -> str:
    *_, before, last = package.split("/")
    return before if re.fullmatch(r"v\d+", last) else last


def _build_failed(module: Module, names: Sequence[str], code: int, log: Path) -> ProgramMissing:
    # Package names are the progress; what went wrong has a space or a colon in it.
    lines = [line for line in log.read_text(errors="replace").splitlines() if re.search(r"[\s:]", line)]
    return ProgramMissing(
        f"cannot build {', '.join(names)} from {module.folder}",
        expected="go build to succeed (it needs a Go module proxy, about 5 GB of disk and 2 GB of memory)",
        seen=f"exit code {code}: {' / '.join(lines[-3:]) or 'no message'}",
        remedy=f"read {log} and run it again (what was built is kept), or set {FOLDER_VARIABLE} "
        f"to a folder that holds {', '.join(names)}",
    )


def main(arguments: Sequence[str]) -> int:
    """Print ``name path`` for each program named on the command line (all, if none)."""
    try:
        # A shell that starts a command in the background has it ignore Ctrl-C; a build must end all the same.
        with end_on_signals():
            for name, path in programs(arguments or CATALOGUE).items():
                print(name, path)
    except (StellwerkError, subprocess.SubprocessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
