"""Releases and environments that are wrong in one way each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

from include.plan.values import merged
from include.sandbox.beside import Beside
from include.sandbox.environment import PLAN_TEMPLATE, Sandbox
from include.sandbox.erp.versions import ErpVersion

# 3.0.6 fails only after long use: what probers ask is not enough. 3.0.7 has no image at all; 3.0.8 crashes as soon
# as it runs; 3.0.9 is removed by its test; 3.4.0 is rolled back after its clean-up, its test says what it is.
EXTRA_RELEASES = ("3.0.6", "3.0.7", "3.0.8", "3.0.9", "3.4.0")
# Of staging, so that Airflow calls back within the test.
DEADLINES = {"alert_seconds": 6, "mail_seconds": 8, "post_mortem_seconds": 10}
BAD_VERSIONS = (
    ErpVersion("3.0.6", revision=3, needs=2, faults={"error_ratio": {"value": 0.3, "after_requests": 1000}}),
    ErpVersion("3.0.8", revision=3, needs=2, faults={"crash_after_seconds": {"value": 0.3}}),
)


def release_date(version: str) -> str:
    """A week of its own for each: two releases must not have an environment at the same time."""
    return str(date(2030, 3, 1) + timedelta(weeks=EXTRA_RELEASES.index(version)))


def write_release(folder: Path, version: str) -> None:
    """Write a release file for a version."""
    target = folder / "releases" / f"{version}.yaml"
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "version": version,
        "previous": "3.0.0",
        "date": release_date(version),
        "image": {"repository": "valeo-erp", "tag": version},
    }
    target.write_text(yaml.safe_dump(content))


def replace_what_runs(folder: Path, live: str) -> None:
    """Have the releases that tests try on top of whatever others have left replace just that.

    :param folder: of the plan
    :param live: the version that users are on
    """
    releases = {version: folder / "releases" / f"{version}.yaml" for version in ("3.0.1", *EXTRA_RELEASES[:-1])}
    if not releases["3.0.6"].exists():
        return  # a sandbox of its own has releases of its own
    for version, file in releases.items():
        if not file.exists() or version == live:
            continue
        text = file.read_text()
        written = re.sub(r"^previous: .*$", f"previous: {live}", text, flags=re.MULTILINE)
        if written != text:
            _write(file, written)


def _write(target: Path, text: str) -> None:
    """Write a file that is whole at every moment."""
    partial = target.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(target)


def write_staging(folder: Path) -> None:
    """Write the sandbox's staging with deadlines of seconds, from which the DAG takes those of Airflow."""
    content = yaml.safe_load((PLAN_TEMPLATE / "environments" / "staging.yaml").read_text())
    target = folder / "environments" / "staging.yaml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(yaml.safe_dump(merged(content, {"messages": {"deadlines": DEADLINES}})))


@contextmanager
def staging_like_production(sandbox: Sandbox | Beside, changes: Mapping[str, Any]) -> Iterator[None]:
    """Have an environment ``staging`` that is the sandbox's production but for ``changes``."""
    with _environment(sandbox, "staging", {"name": "staging", **changes}):
        yield


@contextmanager
def changed_production(sandbox: Sandbox, changes: Mapping[str, Any]) -> Iterator[None]:
    """Have the sandbox's production with ``changes``."""
    with _environment(sandbox, "production", changes):
        yield


@contextmanager
def _environment(sandbox: Sandbox | Beside, name: str, changes: Mapping[str, Any]) -> Iterator[None]:
    """Replace an environment's file by production's with ``changes``, whole at every moment."""
    folder = sandbox.plan_folder / "environments"
    content = yaml.safe_load((folder / "production.yaml").read_text())
    target = folder / f"{name}.yaml"
    before = target.read_text()
    _write(target, yaml.safe_dump(merged(content, changes)))
    try:
        yield
    finally:
        _write(target, before)
