"""Real Alembic trees, good and broken, read and rendered in a process of their own; no database is touched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from include.database.connection import Database
from include.database.facts import DatabaseIdentity
from include.database.revisions import VersionTable
from include.errors import TreeUnusable
from include.migration.preflight import HEADS, Preflight, examine
from include.migration.reading import reading
from include.migration.rules import lint
from include.migration.state import DatabaseState
from include.migration.tree import Step, Tree
from include.migration.way_back import losses
from include.sandbox.erp.build import build_folder
from include.sandbox.erp.versions import VERSIONS
from tests.contract.trees import concurrently, inspect, render, revision, sql, tree, without_config

HERE = DatabaseIdentity(system_identifier="7000", name="valeo_erp")
DATABASE = Database("db", 5432, "valeo_erp", "erp", "secret")
LINE = {"a": revision("a"), "b": revision("b", "a", sql("CREATE TABLE t (id int)"), sql("DROP TABLE t"))}


def at(*revisions: str, length: int | None = 32, schema: str = "public") -> DatabaseState:
    table = VersionTable(schema, "alembic_version", length, frozenset(revisions))
    return DatabaseState(HERE, 160013, (table,))


def preflight(given: Tree, state: DatabaseState, target: tuple[str, ...] = ()) -> Preflight:
    return examine(given, inspect(given), state, database=DATABASE, backup=HERE, target=target)


def rules(found: Preflight) -> list[str]:
    return [one.rule for one in found.findings]


def test_a_good_tree_has_a_plan_and_no_findings(tmp_path: Path) -> None:
    found = preflight(tree(tmp_path, LINE), at("a"))
    assert found.findings == ()
    assert (found.heads, found.current, found.target) == (("b",), {"a"}, {"b"})
    assert (found.plan, found.states) == ((Step("b", up=True),), ({"a"}, {"b"}))
    assert preflight(tree(tmp_path, LINE), at("b")).plan == ()


def test_a_database_without_a_version_table_gets_everything(tmp_path: Path) -> None:
    found = preflight(without_config(tree(tmp_path, LINE)), DatabaseState(HERE, 160013, ()))
    assert (found.findings, [one.revision for one in found.plan]) == ((), ["a", "b"])


def test_env_py_is_not_run_and_the_folder_is_left_as_it_was(tmp_path: Path) -> None:
    given = tree(tmp_path, LINE, env="open('ran', 'w')")
    inspect(given)
    render(given, (Step("b", up=True),))
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        *("a.py", "alembic.ini", "b.py", "env.py", "migrations", "versions")
    ]


def test_what_revisions_print_is_no_answer(tmp_path: Path) -> None:
    loud = LINE | {"b": 'print(\'{"event": "inspected"}\')\n' + LINE["b"]}
    assert len(inspect(tree(tmp_path, loud)).revisions) == 2


def test_three_heads_need_a_named_target(tmp_path: Path) -> None:
    given = tree(tmp_path, LINE | {"c": revision("c", "a"), "d": revision("d", None, labels=("shop",))})
    found = preflight(given, at("a"))
    assert rules(found) == ["several-heads"]
    assert "b, c, d" in found.findings[0].what
    assert found.branches == (("shop", "d"),)
    assert [one.revision for one in preflight(given, at("a"), HEADS).plan] == ["b", "c", "d"]
    assert preflight(given, at("a"), ("c",)).target == {"c"}
    assert rules(preflight(given, at("b", "c"), ("c",))) == ["target-behind"]
    assert rules(preflight(given, at("a"), ("zzz",))) == ["unknown-target"]


def test_every_broken_revision_is_named_by_its_file(tmp_path: Path) -> None:
    given = tree(
        tmp_path,
        LINE
        | {
            "syntax": revision("syntax", "b") + "\ndef broken(:\n",
            "import": "import nobody_has_this\n" + revision("import", "b"),
            "exits": "raise SystemExit(3)\n",
            "nameless": "revision = None\n",
            "half": "revision = 'half'\ndown_revision = 'b'\ndef upgrade(): pass\n",
        },
    )
    found = preflight(given, at("a"))
    assert set(rules(found)) == {"unreadable-revision"}
    said = {Path(one.file).name: (one.line, one.what) for one in found.findings}
    assert said["syntax.py"][0] == 18
    assert "SyntaxError" in said["syntax.py"][1]
    assert said["import.py"] == (1, "cannot be imported: ModuleNotFoundError: No module named 'nobody_has_this'")
    assert "SystemExit: 3" in said["exits.py"][1]
    assert "its 'revision' is None" in said["nameless.py"][1]
    assert "it has no function downgrade()" in said["half.py"][1]


def test_duplicates_circles_gaps_and_long_names_are_found(tmp_path: Path) -> None:
    long = "a_name_of_a_revision_that_is_far_too_long"
    given = tree(
        tmp_path,
        LINE
        | {
            "b_again": revision("b", "a"),
            "c": revision("c", "d"),
            "d": revision("d", "c"),
            "e": revision("e", "gone"),
            "f": revision(long, "b"),
        },
    )
    found = preflight(given, at("a"))
    assert rules(found) == ["duplicate-revision", "missing-revision", "cycle", "identifier-too-long"]
    duplicate, missing, cycle, too_long = (Path(one.file).name for one in found.findings)
    assert (duplicate, missing, cycle, too_long) == ("b_again.py", "e.py", "c.py", "f.py")
    assert found.plan == ()
    assert "identifier-too-long" not in rules(preflight(given, at("a", length=64)))


def test_a_revision_the_tree_does_not_know_and_another_database_are_refused(tmp_path: Path) -> None:
    given = tree(tmp_path, LINE)
    found = preflight(given, at("future"))
    assert (rules(found), found.plan) == (["unknown-revision"], ())
    backup = DatabaseIdentity(system_identifier="1", name="x")
    other = examine(given, inspect(given), at("a"), database=DATABASE, backup=backup)
    assert rules(other) == ["wrong-database"]


def test_an_alembic_ini_that_points_elsewhere_is_seen_without_its_password(tmp_path: Path) -> None:
    given = tree(tmp_path, LINE, url="postgresql://erp:hunter2@elsewhere:5433/other")
    found = preflight(given, at("a"))
    assert rules(found) == ["url-elsewhere"]
    assert "postgresql://elsewhere:5433/other" in found.findings[0].what
    assert "hunter2" not in str(inspect(given))
    assert rules(preflight(tree(tmp_path, LINE, url="postgresql://erp:x@db/valeo_erp"), at("a"))) == []


def test_what_alembic_init_writes_points_nowhere(tmp_path: Path) -> None:
    assert rules(preflight(tree(tmp_path, LINE, url="driver://user:pass@localhost/dbname"), at("a"))) == []


def test_a_version_table_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    hidden = VersionTable("public", "alembic_version", 32, frozenset(), readable=False)
    assert rules(preflight(tree(tmp_path, LINE), DatabaseState(HERE, 160013, (hidden,)))) == ["version-tables"]


def test_two_version_tables_need_a_named_schema(tmp_path: Path) -> None:
    both = DatabaseState(HERE, 160013, (*at("a").tables, *at("b", schema="shop").tables))
    assert rules(preflight(tree(tmp_path, LINE), both)) == ["version-tables"]


@pytest.mark.parametrize("interpreter", ["/nowhere/python", "/bin/false"])
def test_an_interpreter_that_does_not_run_is_said(tmp_path: Path, interpreter: str) -> None:
    with pytest.raises(TreeUnusable):
        inspect(tree(tmp_path, LINE, interpreter=interpreter))


def test_an_interpreter_without_alembic_and_a_folder_that_is_not_there_are_said(tmp_path: Path) -> None:
    given = tree(tmp_path, LINE)
    bare = Tree(given.folder, (sys.executable, "-I", "-S"), config=given.config)
    with pytest.raises(TreeUnusable, match="No module named 'alembic'"):
        inspect(bare)
    with pytest.raises(TreeUnusable, match="nowhere"):
        inspect(Tree(given.folder, (sys.executable,), script_location=str(tmp_path / "nowhere")))


def test_one_process_answers_until_it_is_let_go(tmp_path: Path) -> None:
    # The folder tells how often the application's Python was started.
    counted = {"b": f"open({str(tmp_path / 'starts')!r}, 'a').write(f'{{__import__(\"os\").getpid()}}\\n')\n"}
    given = tree(tmp_path, LINE | {"b": counted["b"] + LINE["b"]})
    up, down = Step("b", up=True), Step("b", up=False)
    with reading(given) as reader:
        assert [one.name for one in reader.inspection.revisions] == ["a", "b"]
        assert reader.render(()) == ()
        assert [one.statements for one in reader.render((up, down))] == [
            (("CREATE TABLE t (id int);", 13),),
            (("DROP TABLE t;", 17),),
        ]
        (given.folder / "migrations" / "versions" / "a.py").unlink()
        assert len(reader.inspection.revisions) == 2, "what it has read, it has read"
    assert len(inspect(given).revisions) == 1, "another one sees what is there now"
    assert len(set((tmp_path / "starts").read_text().split())) == 2


def test_a_revision_that_ends_the_process_ends_no_more_than_that(tmp_path: Path) -> None:
    deadly = revision("b", "a", "import os\nos._exit(7)")
    with reading(tree(tmp_path, {"a": LINE["a"], "b": deadly})) as reader:
        assert len(reader.inspection.revisions) == 2
        for _ in range(2):
            with pytest.raises(TreeUnusable, match="exit code 7"):
                reader.render((Step("b", up=True),))


# -- as SQL --------------------------------------------------------------------------------------------------


def test_each_statement_is_told_with_its_line(tmp_path: Path) -> None:
    up = """
        op.add_column("orders", sa.Column("note", sa.Text, nullable=False))
        with op.batch_alter_table("orders") as orders:
            orders.drop_column("old")
        op.bulk_insert(sa.table("t", sa.column("x", sa.Text)), [{"x": "it's"}])
    """
    given = tree(tmp_path, {"a": revision("a", None, up)})
    (one,) = render(given, (Step("a", up=True),))
    assert one.statements == (
        ("ALTER TABLE orders ADD COLUMN note TEXT NOT NULL;", 12),
        ('ALTER TABLE orders DROP COLUMN "old";', 13),
        ("INSERT INTO t (x) VALUES ('it''s');", 15),
    )
    assert [(one.rule, one.line) for one in lint([one])] == [("not-null-without-default", 12), ("drop-column", 13)]


def test_what_needs_a_database_says_so_and_stops_no_other(tmp_path: Path) -> None:
    up = """
        op.execute("SELECT 1")
        rows = op.get_bind().execute(sa.text("SELECT 2")).fetchall()
    """
    given = tree(tmp_path, {"a": revision("a", None, up), "b": revision("b", "a", sql("DROP TABLE t"))})
    first, second = render(given, (Step("a", up=True), Step("b", up=True)))
    assert (first.line, first.why.split(":")[0]) == (13, "Unanswered")
    assert first.statements[0] == ("SELECT 1;", 12)
    assert [(one.rule, one.severity) for one in lint([first, second])] == [
        ("not-rendered", "unknown"),
        ("drop-table", "block"),
    ]


def test_what_lies_beside_the_revisions_is_told_from_what_lay_there_before(tmp_path: Path) -> None:
    given = tree(tmp_path, LINE)
    before = inspect(given)
    data = tmp_path / "migrations" / "versions" / "data" / "articles.csv"
    data.parent.mkdir()
    data.write_text("1,nails")
    with_data = inspect(given)
    data.write_text("1,screws")
    changed = inspect(given)
    assert len({one.data_digest for one in (before, with_data, changed)}) == 3
    assert inspect(tree(tmp_path, {"z": revision("z", "c")})).data_digest == changed.data_digest


HIDDEN = (
    "if not context.is_offline_mode():\n    op.get_bind().execute(sa.text('DELETE FROM orders'))",
    "if context.is_offline_mode():\n    return\nop.drop_table('orders')",
    "if context.requires_connection():\n    op.drop_table('orders')",
    "if not op.get_context().as_sql:\n    op.drop_table('orders')",
    "if not op.get_context().impl.as_sql:\n    op.drop_table('orders')",
    "if isinstance(op.get_bind(), sa.engine.Connection):\n    op.drop_table('orders')",
    "if hasattr(op.get_bind(), 'scalar'):\n    op.drop_table('orders')",
)


@pytest.mark.parametrize("body", HIDDEN)
def test_what_is_done_only_with_a_database_is_not_taken_for_nothing(tmp_path: Path, body: str) -> None:
    text = f"op.execute('SELECT 1')\n{body}"
    quiet = concurrently("VACUUM") + "\nop.add_column('t', sa.Column('x', sa.Text))"
    given = tree(tmp_path, {"a": revision("a", None, text, body), "b": revision("b", "a", quiet)})
    up, down, other = render(given, (Step("a", up=True), Step("a", up=False), Step("b", up=True)))
    why = "it asks whether there is a database, or what one answers, and may do something else with one"
    assert (up.statements, up.why, up.line) == ((("SELECT 1;", 12),), why, 13)
    assert [(one.rule, one.severity, one.line) for one in lint([up])] == [("not-rendered", "unknown", 13)]
    assert [one.kind for one in losses([down])] == ["unknown"]
    assert (other.why, len(other.statements)) == ("", 4)


ANSWERS = (
    "for row in op.get_bind().execute(sa.text('SELECT 2')) or ():\n    op.drop_table('orders')",
    "if op.get_bind().execute(sa.text('SELECT 2')):\n    op.drop_table('orders')",
    "if op.get_bind().execute(sa.text('SELECT 2')) == 2:\n    op.drop_table('orders')",
    "if op.get_context().bind.execute(sa.text('SELECT 2')).rowcount:\n    op.drop_table('orders')",
    "with op.get_bind().connect().execute(sa.text('SELECT 2')) as found:\n    op.drop_table('orders')",
)


@pytest.mark.parametrize("caught", [False, True])
@pytest.mark.parametrize("body", ANSWERS)
def test_what_depends_on_an_answer_is_not_taken_for_nothing(tmp_path: Path, body: str, *, caught: bool) -> None:
    if caught:
        body = "try:\n" + "".join(f"    {line}\n" for line in body.split("\n")) + "except Exception:\n    pass"
    given = tree(tmp_path, {"a": revision("a", None, "pass", sql("SELECT 1") + "\n" + body)})
    (down,) = render(given, (Step("a", up=False),))
    assert [text for text, _ in down.statements] == ["SELECT 1;", "SELECT 2;"]
    assert down.why.startswith("it asks whether" if caught else "Unanswered: ")
    assert [one.kind for one in losses([down])] == ["unknown"]


def test_tables_and_types_are_made_with_the_connection_all_the_same(tmp_path: Path) -> None:
    up = """
        bind = op.get_bind()
        sa.Enum("a", "b", name="mood").create(bind, checkfirst=True)
        sa.Table("notes", sa.MetaData(), sa.Column("mood", sa.Text)).create(bind)
        bind.execute(sa.text("SELECT 2"))
        op.bulk_insert(sa.table("notes", sa.column("mood", sa.Text)), [{"mood": "a"}])
    """
    (one,) = render(tree(tmp_path, {"a": revision("a", None, up)}), (Step("a", up=True),))
    assert one.why == ""
    assert [text.split()[0] for text, _ in one.statements] == ["CREATE", "CREATE", "SELECT", "INSERT"]


def test_what_is_done_with_the_connection_is_shown_where_it_can_be(tmp_path: Path) -> None:
    up = """
        if op.get_bind().dialect.name == "postgresql":
            op.get_bind().execute(sa.text("DELETE FROM orders"))
    """
    (one,) = render(tree(tmp_path, {"a": revision("a", None, up)}), (Step("a", up=True),))
    assert (one.statements, one.why) == ((("DELETE FROM orders;", 13),), "")


def test_outside_of_a_transaction_is_seen(tmp_path: Path) -> None:
    index = "CREATE INDEX CONCURRENTLY i ON t (x)"
    good, mixed, wrong = (
        concurrently(index),
        f"{sql('ALTER TABLE t ADD y INT')}\n{concurrently(index)}",
        sql(index),
    )
    given = tree(
        tmp_path, {name: revision(name, None, up) for name, up in (("a", good), ("b", mixed), ("c", wrong))}
    )
    found = [lint([one]) for one in render(given, tuple(Step(name, up=True) for name in "abc"))]
    assert [[one.rule for one in each] for each in found] == [
        ["non-transactional"],
        ["non-transactional", "non-transactional-mixed"],
        ["concurrently-in-transaction"],
    ]


def test_a_plan_of_another_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TreeUnusable, match="zzz"):
        render(tree(tmp_path, LINE), (Step("zzz", up=True),))


# -- the demo ERP --------------------------------------------------------------------------------------------


def test_the_demo_erp_is_read_with_its_image_and_nothing_else() -> None:
    given = erp(build_folder(VERSIONS["3.0.0"]))
    found = preflight(given, at("0002_orders"))
    assert (found.findings, found.heads) == ((), ("0003_delivery_date",))
    (one,) = render(given, found.plan)
    assert one.statements == (("ALTER TABLE orders ADD COLUMN delivery_date DATE;", 14),)
    assert lint([one]) == ()
    assert preflight(erp(build_folder(VERSIONS["2.9.0"])), at("0003_delivery_date")).findings[0].rule == (
        "unknown-revision"
    )


def erp(image: Path) -> Tree:
    app = image / "app"
    return Tree(
        app,
        (sys.executable, "-I", "-S"),
        search_path=(app, app / "lib"),
        script_location=str(app / "erp" / "migrations"),
    )
