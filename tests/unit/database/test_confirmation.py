"""A confirmation counts with a name and a reason only."""

from __future__ import annotations

import pytest

from include.database.confirmation import LossConfirmation


@pytest.mark.parametrize(
    ("by", "reason", "signed"),
    [("anna", "the data are damaged", True), ("", "the data are damaged", False), ("anna", " ", False)],
)
def test_somebody_has_to_say_who_and_why(by: str, reason: str, signed: bool) -> None:
    assert LossConfirmation(digest="d", by=by, reason=reason).signed is signed
