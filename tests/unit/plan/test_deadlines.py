from __future__ import annotations

from pathlib import Path

import pytest

from include.plan.deadlines import MessageDeadlines, message_deadlines
from include.plan.loader import load_plan, plan_folder


def test_the_deadlines_are_those_of_the_whole_plan() -> None:
    plan = load_plan(plan_folder())
    wanted = [plan.environment(name).messages.deadlines for name in sorted(plan.environments)]
    assert list(message_deadlines(plan_folder())) == wanted


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("messages: {deadlines: {mail_seconds: 60}}", [MessageDeadlines(mail_seconds=60)]),
        ("messages: {}", [MessageDeadlines()]),
        ("name: x", [MessageDeadlines()]),
        ("messages: {deadlines: {mail_seconds: soon}}", []),
        ("messages: {deadlines: {mail_minutes: 1}}", []),
        ("messages: [", []),
    ],
)
def test_what_is_broken_is_left_out(tmp_path: Path, text: str, found: list[MessageDeadlines]) -> None:
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "production.yaml").write_text(text)
    assert list(message_deadlines(tmp_path)) == found
