"""What the steps decide without a server: ids, trees, names, rows, confirmations, schemas of the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from upath import UPath

from include.backup.store import Store
from include.database.schema import Schema
from include.errors import AnswerIncomplete, ApprovalRefused, ArchiveUnusable, MigrationRefused, PlanError
from include.migration.graph import Graph
from include.migration.tree import Revision, Step
from include.steps.database.backup import backup_id
from include.steps.database.confirm import confirm, confirmation
from include.steps.database.copy import copy_name, rewritten
from include.steps.database.entries import Purpose
from include.steps.database.intent import _must_be_the_same, described
from include.steps.database.rehearse import row_changes
from include.steps.database.schemas import keep_schemas, kept_schemas
from include.steps.database.site import database_plan, tree_of
from tests.unit.steps.database.worlds import a_ledger, a_run


def test_a_backups_id_is_stable_and_nobody_elses() -> None:
    purposes: tuple[Purpose, ...] = ("rehearsal", "safety")
    ids = {backup_id(a_run(run), purpose, number) for run in "ab" for purpose in purposes for number in (1, 2)}
    assert len(ids) == 8
    assert backup_id(a_run("a"), "safety", 1) in ids


def test_a_tree_is_the_named_versions() -> None:
    tree = tree_of(database_plan(a_run()).tree, "3.0.0")
    assert (tree.folder, tree.script_location) == (Path("/srv/3.0.0"), "/srv/3.0.0/db")
    assert (tree.config, tree.version_schema, tree.url_variable) == (None, "", "")


def test_an_environment_without_a_database_is_refused() -> None:
    run = a_run()
    bare = run.environment.model_copy(update={"database": None})
    with pytest.raises(PlanError, match="no database in the plan"):
        database_plan(replace(run, environment=bare))


@pytest.mark.parametrize("name", ["erp", "ü" * 40, "x" * 63])
def test_a_copys_name_fits_and_tells_runs_apart(name: str) -> None:
    one, other = copy_name(name, "r1"), copy_name(name, "r2")
    assert one != other
    assert max(len(one.encode()), len(other.encode())) <= 63
    assert copy_name(name, "r1") == one


def test_names_that_are_cut_alike_stay_apart() -> None:
    assert copy_name("x" * 62 + "a", "r") != copy_name("x" * 62 + "b", "r")


def test_a_table_that_was_written_anew_has_another_file() -> None:
    before = {1: ("public.a", 10), 2: ("public.b", 20), 3: ("public.gone", 30)}
    after = {1: ("public.a", 10), 2: ("public.renamed", 21), 4: ("public.new", 40)}
    assert rewritten(before, after) == ("public.renamed",)


def test_lost_rows_are_said_and_what_was_not_counted_is_unknown() -> None:
    before = {"public.a": 3, "public.b": 3, "public.c": None, "public.gone": 1}
    after = {"public.a": 3, "public.b": 2, "public.c": 5, "public.new": 9}
    assert row_changes(before, after) == [
        "public.b: 3 rows before, 2 after",
        "public.c: not counted, so not compared",
    ]


def test_schemas_come_back_from_the_store_and_damage_is_seen(tmp_path: Path) -> None:
    store = Store(UPath(str(tmp_path)))
    before, after = Schema({"table public.a": "p"}), Schema({"table public.b": "p"}, ("public.i",))
    reference = keep_schemas(store, "backup-1", "id", before, after)
    found = kept_schemas(store, reference)
    assert (found.before, found.after) == (before, after)
    (tmp_path / "backup-1" / str(reference["name"])).write_text("{}")
    with pytest.raises(ArchiveUnusable):
        kept_schemas(store, reference)


def test_only_who_decides_about_migrations_may_confirm_a_loss_and_says_why() -> None:
    run, ledger = a_run(), a_ledger()
    at = datetime.now(UTC)
    for by, reason in (("carl", "why not"), ("", "nobody"), ("carl", "")):
        with pytest.raises(ApprovalRefused, match="may not confirm"):
            confirm(ledger, run, {"digest": "d", "by": by, "reason": reason}, at=at)
    for incomplete in ({"digest": "d", "reason": "\x00 \n"}, {"digest": "d"}, {"reason": "why not"}, {}):
        with pytest.raises(AnswerIncomplete, match="was confirmed without"):
            confirm(ledger, run, {"by": "anna", **incomplete}, at=at)
    assert confirmation(ledger, run, "d") is None
    confirm(ledger, run, {"digest": "d", "by": "anna", "reason": "the outage is worse"}, at=at)
    found = confirmation(ledger, run, "d")
    assert found is not None
    assert (found.by, found.reason) == ("anna", "the outage is worse")
    assert confirmation(ledger, run, "another statement") is None


def test_a_tree_that_changed_after_the_decision_is_refused() -> None:
    graph = Graph((Revision("a", "a.py", digest="1"), Revision("b", "b.py", ("a",), digest="2")))
    told = described((Step("b", up=True),), graph, "env", ())
    assert told["plan"] == [["b", True]]
    _must_be_the_same(told, graph, "env")
    changed = Graph((Revision("a", "a.py", digest="1"), Revision("b", "b.py", ("a",), digest="3")))
    for other, env in ((changed, "env"), (graph, "other"), (Graph((Revision("a", "a.py", digest="1"),)), "env")):
        with pytest.raises(MigrationRefused, match="not the one that the migration began with"):
            _must_be_the_same(told, other, env)
