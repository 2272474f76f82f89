"""Which cases `make test` runs, and which only `make exhaustive` does."""

from __future__ import annotations

import pytest
from _pytest.mark.structures import ParameterSet

#: For what takes long and differs little from one helm to the other: Helm 3 is a further case.
mainly_helm4 = pytest.mark.parametrize(
    "helm",
    [pytest.param(4, id="helm4"), pytest.param(3, id="helm3", marks=pytest.mark.exhaustive)],
    indirect=True,
)


def further(*values: object) -> list[ParameterSet]:
    """Cases that show once more what another one shows, each a single parameter."""
    return [pytest.param(value, marks=pytest.mark.exhaustive) for value in values]
