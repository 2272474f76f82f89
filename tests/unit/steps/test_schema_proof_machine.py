"""Releases that come and go on one schema: what is said of the old version is what users have seen of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from include.ledger.entry import NewEntry
from include.ledger.store import Ledger
from include.steps.decided import release_decided
from include.steps.record import CUT_OVER, CUTOVER_INTENDED, RELEASED, ROLLED_BACK, SWITCHED_BACK, record
from include.steps.run import ReleaseRun
from include.steps.schema_course import MIGRATED, MIGRATION_INTENDED
from include.steps.schema_proof import schema_proof
from tests.memory import MemoryLedger
from tests.unit.steps.watching import release_run

RUN = release_run()
VERSIONS = ("2.9.1", "3.0.0", "3.0.1")


class Users:
    """Releases that migrate, come to the users, are released and left again.

    A version is known to work on a schema once users had it on that.
    """

    def __init__(self) -> None:
        self.memory = MemoryLedger()
        self.ledger = cast("Ledger", self.memory)
        self.live = ["2.9.0"]
        self.schema: tuple[str, ...] = ()
        self.had = {("2.9.0", self.schema)}
        self.runs = 0

    def run_of(self, version: str) -> ReleaseRun:
        """A run of a release, with the version that it replaces or has replaced."""
        previous = self.live[-2] if version == self.live[-1] and len(self.live) > 1 else self.live[-1]
        release = RUN.release.model_copy(update={"version": version, "previous": previous})
        return replace(RUN, release=release, run_id=f"{version} {self.runs}")

    def migrate(self, version: str) -> None:
        if version not in self.schema:
            self.write(version, MIGRATION_INTENDED, MIGRATED)
            self.schema = (*self.schema, version)

    def come(self, version: str) -> None:
        """Be cut over to, for the first time or once it was left."""
        if version in self.live:
            return
        self.runs += 1
        run = self.run_of(version)
        go = release_decided(run, self.ledger)
        for kind in (CUTOVER_INTENDED, CUT_OVER):
            record(self.ledger, run, kind, {})
            assert release_decided(run, self.ledger) == go, "a run's own cutover voids its Go"
        self.live.append(version)

    def leave(self, _: str) -> None:
        if len(self.live) > 1:
            self.write(self.live.pop(), SWITCHED_BACK, ROLLED_BACK)

    def prove(self, _: str) -> None:
        self.write(self.live[-1], RELEASED)

    def write(self, version: str, *kinds: str) -> None:
        for kind in kinds:
            self.memory.append(NewEntry(kind, version, "production", "any", "stellwerk", {}))

    def what_is_said_is_so(self) -> None:
        self.had.add((self.live[-1], self.schema))
        for version in VERSIONS:
            run = self.run_of(version)
            known = (run.release.previous, self.schema) in self.had
            assert known or schema_proof(run, self.ledger) == "unproven"


ACTS: tuple[Callable[[Users, str], None], ...] = (Users.migrate, Users.come, Users.leave, Users.prove)


@given(st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from(VERSIONS)), max_size=15))
def test_whatever_releases_come_and_go_no_version_is_said_to_work_where_no_user_had_it(
    acts: list[tuple[Callable[[Users, str], None], str]],
) -> None:
    users = Users()
    for act, version in acts:
        act(users, version)
        users.what_is_said_is_so()
