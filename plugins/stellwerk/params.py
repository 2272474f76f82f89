"""The trigger form: which release goes to which environment.

The form offers what the plan's files hold when the DAG file is parsed; the first task reads the files again, so a
release that was removed meanwhile is refused there (Airflow accepts unknown keys in a run's conf: FACTS, Humans).
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from include.plan.loader import load_plan, plan_folder

#: how a release is named: its semantic version
VERSION_PATTERN = r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$"


def release_params(**more: Param) -> dict[str, Param]:
    """Return the params every phase has, and ``more`` of its own."""
    plan = load_plan(plan_folder())
    releases = sorted(plan.releases, reverse=True)
    environments = sorted(plan.environments)
    return {
        "release": Param(
            type="string",
            title="Release",
            description="Which version goes live. Each is a file in releases/.",
            pattern=VERSION_PATTERN,
            **_choice(releases),
        ),
        "environment": Param(
            "production" if "production" in environments else None,
            type="string" if environments else ["null", "string"],
            title="Environment",
            description="Where it goes. Each is a file in environments/.",
            **({"enum": environments} if environments else {}),
        ),
        **more,
    }


def _choice(names: list[str]) -> dict[str, Any]:
    # A Param without default and with an enum is a drop-down that must be answered; without any file there is
    # nothing to offer and the pattern alone decides.
    return {"enum": names} if names else {}
