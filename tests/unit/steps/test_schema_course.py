"""The course of one schema, whichever releases have made it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from include.ledger.entry import NewEntry
from include.steps.schema_course import MIGRATED, MIGRATION_INTENDED, RESTORED, TAKEN_BACK, standing
from tests.memory import MemoryLedger


@given(st.lists(st.tuples(st.sampled_from(["up", "back", "restore"]), st.sampled_from("abc")), max_size=12))
def test_the_course_is_that_of_one_schema_whichever_releases_have_made_it(steps: list[tuple[str, str]]) -> None:
    memory = MemoryLedger()
    made: list[str] = []

    def write(version: str, *kinds: str) -> None:
        for kind in kinds:
            memory.append(NewEntry(kind, version, "production", "any", "stellwerk", {}))

    for what, version in steps:
        if what == "up" and version not in made:
            write(version, MIGRATION_INTENDED, MIGRATED)
            made.append(version)
        elif what == "back" and made[-1:] == [version]:
            write(version, TAKEN_BACK)
            made.pop()
        elif what == "restore" and version in made:
            write(version, RESTORED)
            del made[made.index(version) :]
        left = standing(memory.entries())
        assert [entry.release for entry in left if entry.kind == MIGRATED] == made
