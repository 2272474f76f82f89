"""One sandbox whose task processes can be killed at any point, under constant load."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from include.plan.values import merged
from include.sandbox.environment import PLAN_TEMPLATE, REPOSITORY, Options, Sandbox
from include.sandbox.external_cluster import named_kubeconfig
from include.sandbox.story import constant_load
from tests.faults.releases import Faults, no_request_lost

INJECT = Path(__file__).parent / "inject"
RATE = 60.0
WATCH_SECONDS = 10.0


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Faults:
    return Faults(tmp_path_factory.mktemp("faults") / "state")


@pytest.fixture(scope="session")
def sandbox(faults: Faults, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    state = tmp_path_factory.mktemp("sandbox")
    options = Options(
        state=state / "run",
        namespace=f"faults-{os.getpid()}" if named_kubeconfig() else "production",
        watch_seconds=WATCH_SECONDS,
        gate_seconds=300,
        extra_plan=_plan(state / "extra-plan"),
        variables={"PYTHONPATH": f"{INJECT}{os.pathsep}{REPOSITORY}", "STELLWERK_FAULTS": str(faults.folder)},
    )
    with (
        Sandbox(options) as sandbox,
        constant_load(sandbox, "faults", RATE) as records,
    ):
        yield sandbox
    with no_request_lost(records):
        pass


def _plan(folder: Path) -> Path:
    """The sandbox's production, except that a triggerer which is down for half of the watch does not hold it."""
    content = yaml.safe_load((PLAN_TEMPLATE / "environments" / "production.yaml").read_text())
    target = folder / "environments" / "production.yaml"
    target.parent.mkdir(parents=True)
    target.write_text(yaml.safe_dump(merged(content, {"watch": {"unknown_limit_ratio": 0.99}})))
    return folder
