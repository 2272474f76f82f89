"""The trigger form: which release goes to which environment.

The form offers what has a file in the plan when the DAG file is parsed; the first task reads the files, so a
release that was removed meanwhile, or whose file is broken, is refused there with what is wrong (Airflow accepts
unknown keys in a run's conf: FACTS, Humans).
"""

from __future__ import annotations

import re
from typing import Any

from airflow.sdk import Param

from include.plan.files import names, plan_folder

#: how a release is named: its semantic version
VERSION_PATTERN = r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$"


def release_params(**more: Param) -> dict[str, Param]:
    """Return the params every phase has, and ``more`` of its own."""
    folder = plan_folder()
    releases = [name for name in names(folder, "releases") if re.match(VERSION_PATTERN, name)]
    environments = names(folder, "environments")
    release: dict[str, Any] = {
        "type": "string",
        "title": "Release",
        "description": "Which version goes live. Each is a file in releases/.",
        "pattern": VERSION_PATTERN,
    }
    environment: dict[str, Any] = {
        "type": "string",
        "title": "Environment",
        "description": "Where it goes. Each is a file in environments/.",
    }
    # An empty enum would be no valid schema: without files nothing is offered, and the first task says why.
    if releases:
        release["enum"] = sorted(releases, reverse=True)
    if environments:
        environment["enum"] = list(environments)
    # No default: a drop-down that has to be answered is better than one that somebody overlooked.
    return {"release": Param(**release), "environment": Param(**environment), **more}


def staging_param() -> Param:
    """Return the param of a phase that acts in staging and nowhere else."""
    return Param(
        "staging",
        type="string",
        enum=["staging"],
        title="Environment",
        description="A release is rehearsed in staging and nowhere else.",
    )


def phase_params(**more: Param) -> dict[str, Param]:
    """Return the params of a top-level phase, which one run begins (:mod:`stellwerk.operators.phase`)."""
    repeat = Param(
        "",
        type="string",
        maxLength=300,
        title="Repeat",
        description="Leave it empty. Only to do a phase again that another run has begun: why. It is recorded "
        "with your name",
    )
    return release_params(repeat_reason=repeat, **more)
