"""Which cases `make test` runs, and which only `make exhaustive` does."""

from __future__ import annotations

import pytest
from _pytest.mark.structures import ParameterSet


def further(*values: object) -> list[ParameterSet]:
    """Cases that show once more what another one shows, each a single parameter."""
    return [pytest.param(value, marks=pytest.mark.exhaustive) for value in values]


mainly_helm4 = pytest.mark.parametrize("helm", [4, *further(3)], ids=["helm4", "helm3"], indirect=True)
"""For what takes long and differs little from one helm to the other."""
