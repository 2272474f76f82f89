"""Runs that migrate, give up and go back beside each other: what the ledger says of the schema is what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import MigrationRefused
from include.ledger.entry import Entry
from include.steps.database.entries import newest, open_migration
from include.steps.database.wanted import must_be_wanted, must_go_down, overtaken
from include.steps.record import all_recorded, record
from include.steps.run import ReleaseRun
from include.steps.schema_course import (
    COURSE,
    LEFT_OLD,
    MIGRATED,
    MIGRATION_INTENDED,
    REHEARSED,
    TAKEN_BACK,
    WAY_BACK_INTENDED,
    WAY_BACK_LEFT,
    standing,
    undone_by,
)
from include.steps.schema_proof import schema_fact
from tests.unit.steps.database.worlds import a_ledger, a_run

TOP = 2
RUNS = [a_run(name) for name in ("r1", "r2", "r3")]
ANOTHER = a_run("another")

Step = Callable[[], object]


class Course:
    """Two revisions, three runs. A step is what one process does under the lock of migrations.

    A migration moves first and is recorded later, or never: it may be killed between.
    """

    def __init__(self) -> None:
        self.ledger = a_ledger()
        self.at = 0
        record(self.ledger, ANOTHER, REHEARSED, {"fingerprint": str(TOP), "id": "p", "previous": "2.9.0"})

    def intending(self, run: ReleaseRun) -> Step | None:
        if self.at == TOP or all_recorded(self.ledger, run, MIGRATION_INTENDED):
            return None
        payload = {"current": [str(self.at)], "target": [str(TOP)]}
        return lambda: self.write(run, MIGRATION_INTENDED, payload)

    def going_up(self, run: ReleaseRun) -> Step | None:
        intent = newest(self.ledger, run, MIGRATION_INTENDED)
        if intent is None or all_recorded(self.ledger, run, MIGRATED) or self.at < at(intent):
            return None
        if refused(must_be_wanted, run, self.ledger, intent):
            return None
        payload = {"fingerprint": str(TOP), "revisions": [str(TOP)], "rehearsal": "p"}
        return self.move(1) if self.at < TOP else lambda: self.write(run, MIGRATED, payload)

    def giving_up(self, run: ReleaseRun) -> Step | None:
        intent = self.own(run, MIGRATION_INTENDED)
        if intent is None or all_recorded(self.ledger, run, MIGRATED) or at(intent) != self.at:
            return None
        if any(entry.kind == WAY_BACK_INTENDED for entry in standing(self.ledger.entries(kinds=COURSE))):
            return None
        return lambda: self.write(run, LEFT_OLD, {})

    def intending_back(self, run: ReleaseRun) -> Step | None:
        began, own = open_migration(self.ledger, run), self.own(run, WAY_BACK_INTENDED)
        if began is None or (own and not overtaken(own, self.ledger.entries(kinds=COURSE))):
            return None
        payload = {"began": began.sequence, "current": [str(self.at)]}
        return lambda: self.write(run, WAY_BACK_INTENDED, payload)

    def going_down(self, run: ReleaseRun) -> Step | None:
        intent = newest(self.ledger, run, WAY_BACK_INTENDED)
        if intent is None or self.at > at(intent) or refused(must_go_down, run, self.ledger, intent):
            return None
        payload = {"began": intent.payload["began"]}
        return self.move(-1) if self.at else lambda: self.write(run, TAKEN_BACK, payload)

    def giving_up_going_back(self, run: ReleaseRun) -> Step | None:
        intent = self.own(run, WAY_BACK_INTENDED)
        if intent is None or at(intent) != self.at:
            return None
        return lambda: self.write(run, WAY_BACK_LEFT, {"began": intent.payload["began"]})

    def own(self, run: ReleaseRun, kind: str) -> Entry | None:
        """The run's newest one, unless something has undone it."""
        found = newest(self.ledger, run, kind)
        return found if found and undone_by(found, self.ledger.entries(kinds=COURSE)) is None else None

    def move(self, by: int) -> Step:
        def step() -> None:
            self.at += by

        return step

    def write(self, run: ReleaseRun, kind: str, payload: dict[str, object]) -> None:
        record(self.ledger, run, kind, payload, number=len(self.ledger.entries()) + 1)

    def what_is_said_is_so(self) -> None:
        said = schema_fact(ANOTHER, self.ledger).proof
        assert said != "unchanged" or self.at == 0, "somebody has migrated"
        assert said != "rehearsed" or self.at == TOP, "it is half-way, or not there"

    def there_is_a_way_back_to_where_it_all_began(self) -> None:
        began = open_migration(self.ledger, ANOTHER)
        assert began is not None or self.at == 0
        assert began is None or at(began) == 0


def at(intent: Entry) -> int:
    """Where the schema was when it was written."""
    return int(intent.payload["current"][0])


def refused(guard: Callable[..., None], *arguments: object) -> bool:
    try:
        guard(*arguments)
    except MigrationRefused:
        return True
    return False


WAYS: tuple[Callable[[Course, ReleaseRun], Step | None], ...] = (
    Course.intending,
    Course.going_up,
    Course.giving_up,
    Course.intending_back,
    Course.going_down,
    Course.giving_up_going_back,
)


@given(st.lists(st.tuples(st.sampled_from(RUNS), st.sampled_from(WAYS)), max_size=25))
def test_whatever_the_runs_do_the_ledger_says_where_the_schema_is(
    steps: list[tuple[ReleaseRun, Callable[[Course, ReleaseRun], Step | None]]],
) -> None:
    course = Course()
    for run, way in steps:
        if step := way(course, run):
            step()
            course.what_is_said_is_so()
            course.there_is_a_way_back_to_where_it_all_began()


@pytest.mark.parametrize(
    "steps",
    [
        # The second goes on with what the first has left half-way, and changes nothing.
        [(0, Course.intending), (0, Course.going_up), (1, Course.intending), (1, Course.giving_up)],
        # Another run takes it back while one waits for a lock.
        [
            *((0, way) for way in (Course.intending, Course.going_up, Course.going_up, Course.going_up)),
            *(
                (1, way)
                for way in (Course.intending_back, Course.going_down, Course.going_down, Course.going_down)
            ),
            *((0, way) for way in (Course.giving_up, Course.going_up)),
        ],
        # A migration begins between two tries of a way back.
        [
            *((0, way) for way in (Course.intending, Course.going_up, Course.going_up, Course.going_up)),
            *((0, way) for way in (Course.intending_back, Course.going_down)),
            *((1, way) for way in (Course.intending, Course.going_up, Course.going_up)),
            (0, Course.going_down),
        ],
        # What the first has left half-way is taken back, and the first is asked whether it has changed anything.
        [
            *((0, way) for way in (Course.intending, Course.going_up)),
            (1, Course.intending),
            *((0, way) for way in (Course.intending_back, Course.going_down, Course.giving_up)),
        ],
    ],
)
def test_courses_that_went_wrong_once(steps: list[tuple[int, Any]]) -> None:
    course = Course()
    for number, way in steps:
        if step := way(course, RUNS[number]):
            step()
            course.what_is_said_is_so()
            course.there_is_a_way_back_to_where_it_all_began()
