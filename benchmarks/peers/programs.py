"""The peers' controllers, pinned and built as the sandbox's own programs are, and the CRDs they come with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from include.errors import ProgramMissing
from include.sandbox.go_modules import Catalogue, Module
from include.sandbox.programs import programs
from include.sandbox.toolchain import go_environment, go_toolchain

HERE: Final = Path(__file__).parent
_ARGO: Final = "github.com/argoproj/argo-rollouts"
_FLAGGER: Final = "github.com/fluxcd/flagger"
ARGO_ROLLOUTS: Final = Module("argo-rollouts", _ARGO, (f"{_ARGO}/utils/version.version",), root=HERE)
FLAGGER: Final = Module("flagger", _FLAGGER, (), root=HERE)
_LIST_SECONDS: Final = 120.0

PEERS: Catalogue = {
    "rollouts-controller": (ARGO_ROLLOUTS, f"{_ARGO}/cmd/rollouts-controller"),
    "flagger": (FLAGGER, f"{_FLAGGER}/cmd/flagger"),
}


def peer_program(name: str) -> Path:
    """The path of a peer's program, built if need be.

    :raises ProgramMissing: an unknown name, or it cannot be built
    """
    return programs([name], catalogue=PEERS)[name]


def module_sources(module: Module) -> Path:
    """The folder of the pinned module's own sources, where its manifests are.

    :raises ProgramMissing: Go cannot list it
    """
    go = go_toolchain(module.go, environment=os.environ, report=lambda line: print(line, file=sys.stderr))
    done = subprocess.run(
        [str(go), "list", "-m", "-f", "{{.Dir}}", module.pinned],
        cwd=module.folder,
        env=go_environment(os.environ),
        capture_output=True,
        text=True,
        timeout=_LIST_SECONDS,
        check=False,
    )
    if done.returncode or not done.stdout.strip():
        raise ProgramMissing(
            f"the sources of {module.pinned} are not there",
            expected="its folder in Go's module cache",
            seen=done.stderr.strip()[-500:],
            remedy="build the program first: python -m benchmarks.peers.programs",
        )
    return Path(done.stdout.strip())


if __name__ == "__main__":
    for program in PEERS:
        print(program, peer_program(program))
