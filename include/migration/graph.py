"""The revisions of a tree as a graph: what is wrong with it, and the order in which to go up or down.

The meaning is Alembic's (``alembic/script/revision.py``, ``alembic/runtime/migration.py``): the version table
holds the applied revisions that no other applied one follows or depends on. Alembic sometimes leaves a row too
many when it goes down from a merge that also depends on something, so sets are compared in their normal form.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from include.errors import MigrationRefused
from include.migration.tree import Revision, Step


@dataclass(frozen=True)
class Graph:
    """All readable revisions of a tree, in the order of their files."""

    revisions: tuple[Revision, ...]

    # -- what is wrong -----------------------------------------------------------------------------------------

    @cached_property
    def duplicates(self) -> Mapping[str, tuple[str, ...]]:
        """Names (of revisions or of branches) that more than one file has, with those files."""
        named = Counter(one.name for one in self.revisions)
        named.update(label for one in self.revisions for label in one.labels)
        return {
            name: tuple(one.file for one in self.revisions if name in (one.name, *one.labels))
            for name, number in named.items()
            if number > 1
        }

    @cached_property
    def missing(self) -> tuple[tuple[Revision, str], ...]:
        """Revisions that follow, or depend on, something that is in no readable file."""
        return tuple(
            (one, name)
            for one in self.revisions
            for name in (*one.down, *one.depends)
            if name not in self.by_name and not (name in one.depends and name in self._labels)
        )

    @cached_property
    def cycles(self) -> tuple[tuple[str, ...], ...]:
        """Groups of revisions that come before themselves."""
        found: list[tuple[str, ...]] = []
        for name in self._in_circles():
            if any(name in group for group in found):
                continue
            above = self._reached(name, self.parents)
            if name in above:
                found.append(tuple(sorted(one for one in above if name in self._reached(one, self.parents))))
        return tuple(found)

    @property
    def sound(self) -> bool:
        """Whether orders can be computed."""
        return not (self.duplicates or self.missing or self.cycles)

    # -- what is there -----------------------------------------------------------------------------------------

    @cached_property
    def by_name(self) -> Mapping[str, Revision]:
        """Revisions by name."""
        return {one.name: one for one in self.revisions}

    @cached_property
    def heads(self) -> tuple[str, ...]:
        """Revisions that none follows, as ``alembic heads`` names them: dependencies do not count."""
        followed = {name for one in self.revisions for name in one.down}
        return tuple(one.name for one in self.revisions if one.name not in followed)

    @cached_property
    def branches(self) -> Mapping[str, str]:
        """Label → the revision at which that branch begins."""
        return dict(self._labels)

    @cached_property
    def parents(self) -> Mapping[str, tuple[str, ...]]:
        """Revision → everything that has to be there before it."""
        return {
            one.name: tuple(dict.fromkeys([*one.down, *(self._labels.get(name, name) for name in one.depends)]))
            for one in self.revisions
        }

    # -- ways --------------------------------------------------------------------------------------------------

    def closure(self, names: Iterable[str]) -> frozenset[str]:
        """The revisions and everything before them.

        :raises MigrationRefused: one is not in the tree
        """
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in self.parents:
                raise MigrationRefused(f"revision {name} is not in the tree", expected=", ".join(self.heads))
            if name not in found:
                found.add(name)
                waiting.extend(self.parents[name])
        return frozenset(found)

    def rows(self, applied: Collection[str]) -> frozenset[str]:
        """What the version table holds when these revisions are applied."""
        before = {parent for name in applied for parent in self.parents[name]}
        return frozenset(applied) - before

    def normal(self, rows: Iterable[str]) -> frozenset[str]:
        """The same set without rows that another one implies.

        :raises MigrationRefused: one is not in the tree
        """
        return self.rows(self.closure(rows))

    def upgrade(self, current: Iterable[str], target: Iterable[str]) -> tuple[Step, ...]:
        """The steps from the current set up to one that holds the target.

        :raises MigrationRefused: a revision is not in the tree
        """
        wanted = self.closure(target) - self.closure(current)
        return tuple(Step(name, up=True) for name in self._ordered(wanted))

    def downgrade(self, current: Iterable[str], recorded: Iterable[str]) -> tuple[Step, ...]:
        """The steps from the current set down to exactly the recorded one.

        :raises MigrationRefused: a revision is not in the tree, or the recorded set is not below the current one
        """
        applied, kept = self.closure(current), self.closure(recorded)
        if not kept <= applied:
            raise MigrationRefused(
                "the recorded revisions are not below the current ones",
                expected=f"a way down to {_named(self.rows(kept))}",
                seen=f"not applied: {_named(kept - applied)}",
                remedy="look at how the database came there; a backup is the way back that is left",
            )
        return tuple(Step(name, up=False) for name in reversed(self._ordered(applied - kept)))

    def states(self, start: Iterable[str], plan: Iterable[Step]) -> tuple[frozenset[str], ...]:
        """What the version table holds before the first step, and after each; in normal form."""
        applied = set(self.closure(start))
        found = [self.rows(applied)]
        for step in plan:
            if step.up:
                applied.add(step.revision)
            else:
                applied.discard(step.revision)
            found.append(self.rows(applied))
        return tuple(found)

    # -- inside ------------------------------------------------------------------------------------------------

    @cached_property
    def _labels(self) -> Mapping[str, str]:
        return {label: one.name for one in self.revisions for label in one.labels}

    def _ordered(self, names: frozenset[str]) -> list[str]:
        place = {one.name: number for number, one in enumerate(self.revisions)}
        waits = {name: sum(parent in names for parent in self.parents[name]) for name in names}
        ready = [(place[name], name) for name, number in waits.items() if number == 0]
        heapq.heapify(ready)
        children: dict[str, list[str]] = {name: [] for name in names}
        for name in names:
            for parent in self.parents[name]:
                if parent in names:
                    children[parent].append(name)
        order: list[str] = []
        while ready:
            _, name = heapq.heappop(ready)
            order.append(name)
            for child in children[name]:
                waits[child] -= 1
                if waits[child] == 0:
                    heapq.heappush(ready, (place[child], child))
        return order

    def _in_circles(self) -> list[str]:
        """What is left when revisions without parents, or without children, are taken away again and again."""
        left = dict(self.parents)
        while True:
            wanted = {parent for parents in left.values() for parent in parents}
            kept = {
                name: parents
                for name, parents in left.items()
                if name in wanted and any(parent in left for parent in parents)
            }
            if len(kept) == len(left):
                return sorted(left)
            left = kept

    @staticmethod
    def _reached(name: str, edges: Mapping[str, tuple[str, ...]]) -> set[str]:
        found: set[str] = set()
        waiting = list(edges.get(name, ()))
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting.extend(edges.get(one, ()))
        return found


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "no revision at all"
