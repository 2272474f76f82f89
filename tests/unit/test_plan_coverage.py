"""docs/plan-coverage.md has every line of the deployment plan, and all that it refers to exists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from include.plan.loader import load_plan, plan_folder
from include.plan.source import Source

ROOT = Path(__file__).resolve().parents[2]
PLAN = (ROOT / "docs" / "deployment-plan.md").read_text().splitlines()
KINDS = {"task", "rule", "setting", "human", "later"}
# What is still to come.
DAGS_TO_COME = {"release-preparation", "final-check", "release-day", "post-release"}


@dataclass(frozen=True)
class Row:
    first: int
    last: int
    text: str
    how: str
    where: tuple[str, ...]
    later: str


def _rows() -> list[Row]:
    rows = []
    for line in (ROOT / "docs" / "plan-coverage.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 5 and cells[0][:1].isdigit():
            numbers = [int(number) for number in cells[0].split("-")]
            where = tuple(re.findall(r"`([^`]+)`", cells[3]))
            rows.append(Row(numbers[0], numbers[-1], cells[1], cells[2], where, cells[4]))
    return rows


ROWS = _rows()


def normal(text: str) -> str:
    """A line of the plan without its markup."""
    text = re.sub(r"^\s*(#+ |- |\d\. )*", "", text)
    for markup in ("[ ] ", "✅ ", "**", "`"):
        text = text.replace(markup, "")
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"_{3,}", "", text).replace("|", "/").rstrip("\\ ").strip()


def says_something(line: str) -> bool:
    return bool(line.strip()) and line.strip() != "---" and not re.match(r"##? ", line)


@pytest.fixture(scope="module")
def dags() -> DagBag:
    return DagBag(dag_folder=str(ROOT / "dags"), collect_dags=True, bundle_name="dags-folder")


def test_every_line_of_the_plan_is_in_exactly_one_row():
    covered = [number for row in ROWS for number in range(row.first, row.last + 1)]
    assert sorted(covered) == sorted(set(covered)), "a line is in two rows"
    missing = [
        f"{number}: {line}"
        for number, line in enumerate(PLAN, 1)
        if says_something(line) and number not in covered
    ]
    # The closing fence and the comments of a block belong to the row of its commands.
    assert [line for line in missing if not re.match(r"\d+: \s*(```|# )", line)] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.first))
def test_a_row_says_what_the_plan_says(row: Row):
    block = [normal(line) for line in PLAN[row.first - 1 : row.last]]
    said = [line for line in block if line and line not in ("bash", "powershell")]
    assert row.text.removesuffix(" …") == said[0]
    assert row.text.endswith(" …") == (row.last > row.first)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.first))
def test_what_a_row_refers_to_exists(row: Row, dags: DagBag):
    assert row.how in KINDS
    assert row.where, "a line without an owner"
    for reference in row.where:
        assert resolves(reference, dags), reference
    if row.how == "task":
        assert any(_task(reference, dags) for reference in row.where)
    if row.how == "rule":
        assert all(reference in _rules() for reference in row.where)
    assert row.how != "later" or row.later, "what comes later has a name"


@pytest.mark.parametrize("row", [row for row in ROWS if row.later], ids=lambda row: str(row.first))
def test_what_is_still_to_come_has_not_come_yet(row: Row, dags: DagBag):
    assert row.later in DAGS_TO_COME
    assert row.later not in dags.dags, f"{row.later} exists: say which of its tasks covers line {row.first}"


@pytest.mark.parametrize("row", [row for row in ROWS if row.how == "human"], ids=lambda row: str(row.first))
def test_a_human_step_is_a_role_a_list_or_a_form(row: Row, dags: DagBag):
    """A point of a checklist has a role, and stands there in the plan's words."""
    points = [reference for reference in row.where if re.search(r"checklists\.[^.]+\.\d+$", reference)]
    for reference in points:
        point = value_of(reference)
        assert point.get("role"), f"{reference} is nobody's"
        assert _same_matter(row.text, point["text"]), (row.text, point["text"])
    forms = [reference for reference in row.where if _task(reference, dags)]
    people = [reference for reference in row.where if re.search(r": (checklists|gate|people|sign_off)", reference)]
    assert points or forms or people or row.where[0].startswith("docs/")


def _same_matter(line: str, point: str) -> bool:
    """Whether a point of a checklist asks for what a line of the plan says: what is to be done, as done."""
    said, asked = re.sub(r" \(.*\)$", "", line).split(), point.split()
    if len(asked) == 1:
        return asked[0].startswith(said[0])
    return said[:-1] == asked[:-1] and _stem(said[-1]) == _stem(asked[-1])


def _stem(verb: str) -> str:
    """What *auswerten* and *ausgewertet*, *planen* and *geplant* begin with alike."""
    return verb.replace("ge", "", 1)[:4]


def test_a_point_about_something_else_is_another_matter() -> None:
    assert _same_matter("User-Feedback auswerten", "User-Feedback ausgewertet")
    assert not _same_matter("User-Feedback auswerten", "User-Feedback positiv")
    assert not _same_matter("Security-Scans bestanden", "Security-Scans geplant")


def test_the_tasks_that_settle_a_point_of_a_checklist_exist(dags: DagBag):
    for environment in load_plan(plan_folder()).environments.values():
        for name, items in environment.checklists.items():
            for item in items:
                assert item.task is None or _task(item.task, dags), f"{name}: {item.text}"


def resolves(reference: str, dags: DagBag) -> bool:
    """Whether a reference is a task, a rule, a value in a file, a template or a place in a page."""
    if ": " in reference:
        return value_of(reference) is not None
    if reference.startswith("docs/"):
        page, _, anchor = reference.partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
        return anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    if reference.endswith(".j2"):
        folders = ("",) if reference.endswith(".md.j2") else ("de", "en")  # reports have one language
        return all((ROOT / "include" / "templates" / folder / reference).is_file() for folder in folders)
    return _task(reference, dags) or reference in _rules()


def value_of(reference: str) -> Any:
    """The value at ``<file>: <key>``."""
    name, _, key = reference.partition(": ")
    value: Any = Source(plan_folder() / name).content
    for step in key.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def _task(reference: str, dags: DagBag) -> bool:
    dag, _, task = reference.partition(".")
    return dag in dags.dags and dags.dags[dag].has_task(task)


def _rules() -> set[str]:
    return {name for name, _ in load_plan(plan_folder()).environment("production").slo.named()}
