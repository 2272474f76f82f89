"""Key users are told that their form is open, once for each asking, and why when it is open once more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from include.messages.uat import uat_open
from tests.unit.messages.test_reminder import OCCASION

T = datetime(2026, 1, 12, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("language", "open_", "again"), [("de", "Test offen", "noch einmal"), ("en", "Test open", "once more")]
)
def test_who_is_asked_until_when_and_why_again(language: str, open_: str, again: str) -> None:
    occasion = replace(OCCASION, language=language)
    first = uat_open(occasion, user="anna", problem="", deadline=T, number="1", at=T)
    assert first.text.startswith(f"*{open_}: anna*")
    assert again not in first.text
    second = uat_open(occasion, user="anna", problem="say <why>\n*now*", deadline=T, number="2", at=T)
    assert f"{again}" in second.text
    assert "<why>" not in second.text, "nothing that a user wrote is markup"
    assert first.key != second.key
