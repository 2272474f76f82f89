"""Loads this folder under a name that no application has, so that its modules hide none of the application's."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

NAME = "stellwerk_alembic_runner"


def main() -> int:
    """Answer the requests on standard input; the exit code is 0 when none has failed."""
    here = Path(__file__).resolve().parent
    sys.dont_write_bytecode = True  # an image is never written to
    sys.path[:] = [one for one in sys.path if Path(one).resolve() != here]
    spec = importlib.util.spec_from_file_location(
        NAME, here / "__init__.py", submodule_search_locations=[str(here)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)
    return int(importlib.import_module(f"{NAME}.session").main())


if __name__ == "__main__":
    sys.exit(main())
