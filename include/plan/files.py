"""Which files a plan has, without reading what is in them: all that the forms of the DAGs have to know."""

from __future__ import annotations

import os
from pathlib import Path


def plan_folder() -> Path:
    """Where the plan is: ``$STELLWERK_PLAN``, else the one that ships with Stellwerk."""
    configured = os.environ.get("STELLWERK_PLAN", "")
    return Path(configured).absolute() if configured else Path(__file__).resolve().parent.parent


def names(folder: Path, kind: str) -> tuple[str, ...]:
    """What is described below ``folder``, sorted; each file is called as what it describes, broken or not.

    :param kind: ``releases`` or ``environments``
    """
    return tuple(sorted(file.stem for file in (folder / kind).glob("*.yaml")))
