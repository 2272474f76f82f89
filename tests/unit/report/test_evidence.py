from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import EvidenceError
from include.report.evidence import Evidence, Machine, Measure, Reference, commit_of, main, read, render, write

T = datetime(2026, 7, 1, 12, 30, tzinfo=UTC)
MEASURES = (
    Measure("release.requests_sent", 12345, "requests", goal=1, comparator=">="),
    Measure("release.seconds", 61.234, "s", goal=90.0, comparator="<=", samples=(61.0, 61.5)),
    Measure("release.final_slot", "green", "slot", goal="green", comparator="=="),
    Measure("release.seconds_fault", 0.75, "s", reference=Reference("Argo Rollouts 1.9.0", 9.3)),
)


def evidence(*measures: Measure) -> Evidence:
    return Evidence.of("demo", measures or MEASURES, now=T)


@pytest.mark.parametrize(
    ("value", "comparator", "goal", "ok"),
    [
        (1, "<=", 1, True),
        (1.01, "<=", 1, False),
        (1, ">=", 1.0, True),
        (0, "==", 0, True),
        (1, "==", 0, False),
        ("green", "==", "green", True),
        ("blue", "==", "green", False),
        (None, "==", 0, False),
        (float("nan"), "<=", 5, False),
        (float("inf"), ">=", 5, False),
    ],
)
def test_a_measure_is_compared_with_its_goal(value: Any, comparator: Any, goal: Any, *, ok: bool) -> None:
    assert Measure("m", value, "u", goal=goal, comparator=comparator).ok is ok


def test_a_measure_without_goal_informs() -> None:
    assert Measure("m", None, "s").ok


@pytest.mark.parametrize(
    "facts",
    [{"goal": 1}, {"comparator": "<="}, {"goal": 1, "comparator": "<"}, {"goal": "green", "comparator": "=="}],
)
def test_a_contradiction_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(EvidenceError):
        Measure("m", 1, "s", **facts)


def test_evidence_is_ok_when_every_goal_is_reached() -> None:
    assert evidence().ok
    assert not evidence(*MEASURES, Measure("lost", 1, "requests", goal=0, comparator="==")).ok
    assert not Evidence.of("demo", []).ok


@pytest.mark.parametrize("name", ["", "../demo", "Demo", "a/b", ".hidden"])
def test_a_name_is_a_plain_file_name(name: str) -> None:
    with pytest.raises(EvidenceError, match="plain name"):
        Evidence.of(name, MEASURES)


def test_two_measures_of_one_name_are_refused() -> None:
    with pytest.raises(EvidenceError, match="same name"):
        evidence(MEASURES[0], MEASURES[0])


def test_the_file_has_the_projects_format(tmp_path: Path) -> None:
    file = write(evidence(*MEASURES, Measure("lost", float("nan"), "requests")), tmp_path / "not" / "there")
    data = json.loads(file.read_text())
    assert list(data) == ["name", "taken_at", "commit", "machine", "ok", "measures"]
    assert (data["name"], data["taken_at"], data["ok"]) == ("demo", "2026-07-01T12:30:00+00:00", True)
    assert list(data["machine"]) == ["cpus", "memory_bytes", "kernel"]
    assert data["machine"]["memory_bytes"] > 2**28
    assert data["measures"][1] == {
        "name": "release.seconds",
        "value": 61.234,
        "unit": "s",
        "goal": 90.0,
        "comparator": "<=",
        "reference": None,
        "samples": [61.0, 61.5],
    }
    assert data["measures"][3]["reference"] == {"name": "Argo Rollouts 1.9.0", "value": 9.3}
    assert data["measures"][4]["value"] is None
    assert [each.name for each in file.parent.iterdir()] == ["demo.json"]


@given(
    st.lists(
        st.builds(
            lambda name, value, samples, goal: Measure(
                name, value, "s", goal=goal, comparator=None if goal is None else "<=", samples=tuple(samples)
            ),
            st.text(min_size=1),
            st.one_of(st.none(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
            st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3),
            st.one_of(st.none(), st.integers(-9, 9)),
        ),
        max_size=5,
        unique_by=lambda measure: measure.name,
    )
)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, measures: list[Measure]) -> None:
    machine = Machine(2, 2**32, "6.1")
    written = Evidence("demo", T, "abc", machine, tuple(m for m in measures if m.name.isprintable()))
    assert read(write(written, tmp_path_factory.mktemp("evidence"))) == written


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "demo.json").write_text(text)
    with pytest.raises(EvidenceError, match=r"demo\.json is not evidence"):
        read(tmp_path / "demo.json")
    assert main(["--folder", str(tmp_path)]) == 2


def test_the_table_shows_values_goals_and_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    shown = render([evidence(*MEASURES, Measure("lost", None, "requests", goal=0, comparator="=="))])
    assert "demo: MISSED" in shown
    rows = [" ".join(line.replace("│", " ").split()) for line in shown.splitlines()]
    assert "release.requests_sent 12,345 requests >= 1 ok" in rows
    assert "release.seconds 61.23 s <= 90 ok 2" in rows
    assert "release.seconds_fault 0.75 s Argo Rollouts 1.9.0: 9.3" in rows
    assert "lost not measured requests == 0 MISSED" in rows
    assert "\x1b" not in shown


def test_names_are_never_taken_for_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "tasks[/red]" in render([evidence(Measure("tasks[/red]", 1, "[s]"))])


def test_the_command_fails_when_a_goal_is_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", str(tmp_path)]) == 2
    assert "make demo" in capsys.readouterr().err
    file = write(evidence(), tmp_path)
    assert main(["--folder", str(tmp_path)]) == 0
    # The file's own verdict is not believed.
    file.write_text(file.read_text().replace('"value": 12345', '"value": 0'))
    assert main(["--folder", str(tmp_path)]) == 1


def test_the_commit_is_that_of_the_checkout(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == "unknown"
    for arguments in (
        ["init", "-q"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    clean = commit_of(tmp_path)
    assert len(clean) == 40
    (tmp_path / "file").write_text("")
    subprocess.run(["git", "-C", str(tmp_path), "add", "file"], check=True)
    assert commit_of(tmp_path) == f"{clean}+changes"
