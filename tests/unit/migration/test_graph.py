"""The revision graph against Alembic's own understanding of it."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from types import SimpleNamespace

import pytest
from alembic.runtime.migration import HeadMaintainer, RevisionStep
from alembic.script.revision import Revision as AlembicRevision
from alembic.script.revision import RevisionMap
from hypothesis import given
from hypothesis import strategies as st

from include.errors import MigrationRefused
from include.migration.graph import Graph
from include.migration.tree import Revision, Step


def revision(name: str, *down: str, depends: tuple[str, ...] = (), labels: tuple[str, ...] = ()) -> Revision:
    return Revision(name, f"versions/{name}.py", down, depends, labels)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Branches, merges, several bases and dependencies, in files of any order."""
    size = draw(st.integers(1, 12))
    made: list[Revision] = []
    for number in range(size):
        names = [one.name for one in made]
        down = draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) if names else []
        # Alembic refuses a merge of something with its own ancestor.
        graph = Graph(tuple(made))
        down = [one for one in down if not any(one in graph.closure([other]) - {other} for other in down)]
        # Nor can it run one that depends on something above what it follows.
        rest = [name for name in names if not graph.closure(down) & graph.closure([name])]
        depends = draw(st.lists(st.sampled_from(rest), max_size=1)) if rest else []
        made.append(revision(f"r{number:02}", *down, depends=tuple(depends)))
    return Graph(tuple(draw(st.permutations(made))))


def alembic_map(graph: Graph) -> RevisionMap:
    def scripts():
        for one in graph.revisions:
            made = AlembicRevision(one.name, one.down or None, one.depends or None, one.labels or None)
            made.module = SimpleNamespace(upgrade=lambda: None, downgrade=lambda: None)
            yield made

    return RevisionMap(scripts)


class Rows(HeadMaintainer):
    """Alembic's bookkeeping of the version table, without a database."""

    def __init__(self, revisions: RevisionMap, heads: frozenset[str]) -> None:
        super().__init__(SimpleNamespace(), heads)
        self.revisions = revisions

    def take(self, step: Step) -> frozenset[str]:
        self.update_to_step(RevisionStep(self.revisions, self.revisions.get_revision(step.revision), step.up))
        return frozenset(self.heads)

    def _insert_version(self, version: str) -> None:
        assert version not in self.heads
        self.heads.add(version)

    def _delete_version(self, version: str) -> None:
        self.heads.remove(version)

    def _update_version(self, from_: str, to_: str) -> None:
        assert to_ not in self.heads
        self.heads.remove(from_)
        self.heads.add(to_)


@given(graphs(), st.data())
def test_each_step_leaves_the_set_that_alembic_writes_into_the_version_table(
    graph: Graph, data: st.DataObject
) -> None:
    names = [one.name for one in graph.revisions]
    recorded = graph.rows(graph.closure(data.draw(st.lists(st.sampled_from(names)))))
    rows = Rows(alembic_map(graph), recorded)
    up = graph.upgrade(recorded, graph.heads)
    assert [graph.normal(rows.take(step)) for step in up] == list(graph.states(recorded, up)[1:])
    top = frozenset(rows.heads)
    down = graph.downgrade(top, recorded)
    assert [graph.normal(rows.take(step)) for step in down] == list(graph.states(top, down)[1:])
    assert graph.normal(rows.heads) == recorded


@given(graphs())
def test_heads_are_those_that_alembic_names(graph: Graph) -> None:
    assert graph.sound
    assert sorted(graph.heads) == sorted(alembic_map(graph).heads)


@given(graphs(), st.data())
def test_every_circle_is_found_and_named(graph: Graph, data: st.DataObject) -> None:
    victim = data.draw(st.sampled_from(graph.revisions))
    below = data.draw(st.sampled_from(graph.revisions))
    changed = Revision(victim.name, victim.file, (*victim.down, below.name), victim.depends)
    graph = Graph(tuple(changed if one is victim else one for one in graph.revisions))
    circle = python_finds(graph)  # Alembic itself misses some
    assert bool(graph.cycles) == bool(circle)
    assert not circle or any(circle <= set(group) for group in graph.cycles)


def python_finds(graph: Graph) -> set[str]:
    try:
        tuple(TopologicalSorter(graph.parents).static_order())
    except CycleError as error:
        return set(error.args[1])
    return set()


def test_going_down_means_the_recorded_set_and_not_one_step() -> None:
    graph = Graph((revision("a"), revision("b", "a"), revision("c", "a"), revision("d", "b", "c")))
    assert graph.downgrade(["d"], ["b"]) == (Step("d", up=False), Step("c", up=False))
    assert graph.states(["d"], graph.downgrade(["d"], ["b"])) == ({"d"}, {"b", "c"}, {"b"})
    assert [step.revision for step in graph.downgrade(["d"], [])] == ["d", "c", "b", "a"]


def test_a_set_that_is_not_below_is_no_way_down() -> None:
    graph = Graph((revision("a"), revision("b", "a"), revision("c", "a")))
    with pytest.raises(MigrationRefused, match="not applied: c"):
        graph.downgrade(["b"], ["c"])
    with pytest.raises(MigrationRefused, match="zzz is not in the tree"):
        graph.upgrade(["zzz"], ["b"])


def test_what_is_wrong_is_named() -> None:
    graph = Graph(
        (
            revision("a", labels=("core",)),
            Revision("a", "versions/other.py"),
            revision("b", "gone", depends=("core",)),
            revision("c", "d"),
            revision("d", "c"),
            revision("e", "d"),
        )
    )
    assert graph.duplicates == {"a": ("versions/a.py", "versions/other.py")}
    assert [(one.name, name) for one, name in graph.missing] == [("b", "gone")]
    assert graph.cycles == (("c", "d"),)
    assert not graph.sound


def test_a_dependency_by_label_is_the_revision_that_carries_it() -> None:
    graph = Graph((revision("a", labels=("core",)), revision("b", depends=("core",))))
    assert graph.parents["b"] == ("a",)
    assert graph.rows({"a", "b"}) == {"b"}
    assert graph.heads == ("a", "b")
    assert graph.branches == {"core": "a"}
