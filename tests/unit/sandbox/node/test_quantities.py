"""Kubernetes' quantities."""

from __future__ import annotations

from decimal import Decimal

import pytest

from include.sandbox.node.quantities import in_units, quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", Decimal(1)),
        ("100m", Decimal("0.1")),
        ("128Mi", Decimal(128 * 1024 * 1024)),
        ("1.5Gi", Decimal(1536 * 1024 * 1024)),
        ("2k", Decimal(2000)),
        ("1e3", Decimal(1000)),
        ("500u", Decimal("0.0005")),
    ],
)
def test_a_quantity_is_a_number(text: str, number: Decimal) -> None:
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "Mi", "1 Mi", "1X", "m1", "--1"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        quantity(text)


def test_the_downward_api_rounds_up() -> None:
    assert in_units("250m", "1") == 1
    assert in_units("250m", "1m") == 250
    assert in_units("100Mi", "1Mi") == 100
    assert in_units("1500Ki", "1Mi") == 2
    assert in_units("2", "0") == 2
