"""Migrations of real trees in a real PostgreSQL: what stops them, and where they leave the database."""

from __future__ import annotations

import logging
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from include.errors import (
    MigrationFailed,
    MigrationInterrupted,
    MigrationRefused,
    SchemaDiffers,
    WrongDatabase,
)
from include.migration.apply import Migration, log_progress
from include.migration.job import Progress
from include.migration.tree import Tree
from include.sandbox.postgres import Postgres
from tests.contract.migrations import FIRST, LINE, QUICK, World, at_a, schema, slow, world
from tests.contract.trees import ENV, revision, sql, tree, without_config


@pytest.fixture
def erp(server: Postgres) -> World:
    return world(server, 'erp "Größe" 1')


# -- what goes well ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [tree, lambda *given: without_config(tree(*given))])
def test_it_ends_at_the_target_and_a_second_run_does_nothing(erp: World, tmp_path: Path, shape) -> None:
    job = erp.job(shape(tmp_path, LINE))
    done = Migration(job, erp.database).run()
    assert (done.state.kind, done.state.revisions, done.attempts) == ("target", {"c"}, 1)
    assert done.timings.keys() == {"a", "b", "c"}
    assert done.schema == schema(erp)
    assert "table public.notes" in done.schema.objects
    again = Migration(job, erp.database).run()
    assert (again.state.kind, again.attempts) == ("target", 0)
    assert erp.backends() == []


def test_it_goes_on_from_between(erp: World, tmp_path: Path) -> None:
    job = erp.job(tree(tmp_path, LINE))
    at_a(erp, tmp_path)
    done = Migration(job, erp.database).run()
    assert (done.state.kind, done.timings.keys()) == ("target", {"b", "c"})


def test_down_to_the_recorded_set_is_the_same_thing(erp: World, tmp_path: Path) -> None:
    branches = LINE | {"d": revision("d", "a"), "e": revision("e", ("c", "d"))}
    at_a(erp, tmp_path)
    before = schema(erp)
    given = tree(tmp_path, branches)
    up = erp.job(given)
    Migration(up, erp.database).run()
    assert erp.revisions() == {"e"}
    plan = up.graph.downgrade({"e"}, {"a"})
    down = replace(up, plan=plan, states=up.graph.states({"e"}, plan), before=None, expected=before)
    done = Migration(down, erp.database).run()
    assert (done.state.revisions, done.schema.fingerprint) == ({"a"}, before.fingerprint)


def test_as_whom_a_revision_works_ends_with_it(erp: World, tmp_path: Path) -> None:
    with erp.admits() as opened:
        opened.execute("CREATE ROLE migrator; GRANT migrator TO valeo_erp; GRANT ALL ON SCHEMA public TO migrator")
    try:
        switches = f"{sql('SET ROLE migrator')}\n{sql('CREATE TABLE theirs (id int)')}\n{sql('RESET ROLE')}"
        keeps = f"{sql('CREATE TABLE ours (id int)')}\n{sql('GRANT ALL ON alembic_version TO migrator')}"
        keeps += f"\n{sql('SET ROLE migrator')}"
        revisions = {"a": revision("a", None, switches), "b": revision("b", "a", keeps)}
        revisions["c"] = revision("c", "b", sql("CREATE TABLE ours_too (id int)"))
        Migration(erp.job(tree(tmp_path, revisions)), erp.database).run()
        owners = dict(erp.ask("SELECT tablename, tableowner FROM pg_tables WHERE tablename ~ '^(ours|theirs)'"))
        assert owners == {"theirs": "migrator", "ours": "valeo_erp", "ours_too": "valeo_erp"}
    finally:
        with erp.admits() as opened:
            opened.execute("DROP OWNED BY migrator; DROP ROLE migrator")


def test_every_name_is_taken_as_it_is(erp: World, tmp_path: Path) -> None:
    folder = tmp_path / "Bäume und Größen 100% 'x'"
    name = 'Auf träge "neu"'
    names = {"ä ö": revision("ä ö", None, f"op.create_table({name!r}, sa.Column('Größe', sa.Integer))")}
    done = Migration(erp.job(without_config(tree(folder, names))), erp.database).run()
    assert done.state.revisions == {"ä ö"}
    assert 'table public."Auf träge ""neu"""' in done.schema.objects


def test_an_env_py_that_takes_the_url_in_another_way_works_as_well(erp: World, tmp_path: Path) -> None:
    body = """
from sqlalchemy import create_engine, pool
from alembic import context
import os
url = {url}
with create_engine(url, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
    for number, url in enumerate(
        (
            "context.config.attributes['url']",
            "context.get_x_argument(as_dictionary=True)['url']",
            "os.environ['ERP_URL']",
        )
    ):
        given = tree(
            tmp_path / str(number),
            {"a": revision("a"), f"b{number}": revision(f"b{number}", "a")},
            env=body.format(url=url),
        )
        given = replace(given, url_variable="ERP_URL", version_schema=f"s{number}")
        given = replace(given, version_schema="")
        erp.do("DROP TABLE IF EXISTS public.alembic_version")
        assert Migration(erp.job(given), erp.database).run().state.revisions == {f"b{number}"}


def test_another_driver_works_as_well(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    given = replace(slow(tmp_path), driver="postgresql+psycopg2")
    job = erp.job(given, limits=replace(QUICK, statement=0.5))
    with pytest.raises(MigrationFailed, match=r"\(statement_timeout\)") as failed:
        Migration(job, erp.database).run()
    assert failed.value.state == "old, at a"
    done = Migration(replace(job, tree=replace(tree(tmp_path, LINE), driver="postgresql+psycopg2")), erp.database)
    with pytest.raises(MigrationFailed, match="is not the one that was planned"):
        done.run()


ASYNC = """
import asyncio
from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import async_engine_from_config

def do_run_migrations(connection):
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()

async def run():
    section = context.config.get_section(context.config.config_ini_section, {})
    connectable = async_engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
    async with connectable.connect() as connection:
        await connection.run_sync(do_run_migrations)
    await connectable.dispose()

asyncio.run(run())
"""


def test_an_asynchronous_env_py_is_guarded_in_the_same_way(erp: World, server: Postgres, tmp_path: Path) -> None:
    done = Migration(erp.job(tree(tmp_path / "1", LINE, env=ASYNC)), erp.database).run()
    assert done.state.revisions == {"c"}
    other = world(server, "other")
    job = other.job(tree(tmp_path / "2", LINE, env=ASYNC))
    stray = ASYNC.replace(
        "connectable =",
        "section['sqlalchemy.url'] = section['sqlalchemy.url'][:-5] + 'postgres'\n    connectable =",
    )
    with pytest.raises(WrongDatabase, match="'postgres'"):
        Migration(replace(job, tree=tree(tmp_path / "3", LINE, env=stray)), other.database).run()


# -- the wrong database --------------------------------------------------------------------------------------


@pytest.mark.parametrize("knows_a_password", [False, True])
def test_an_env_py_that_goes_elsewhere_is_refused_before_it_executes_anything(
    erp: World, server: Postgres, tmp_path: Path, *, knows_a_password: bool
) -> None:
    other = world(server, "other")
    password = f":{quote(erp.database.password, safe='')}@" if knows_a_password else "@"
    stubborn = ENV.replace(
        "config.get_section(config.config_ini_section, {})",
        f'{{"sqlalchemy.url": config.attributes["url"].rsplit("/", 1)[0].replace("@", {password!r}) + "/other"}}',
    )
    with pytest.raises(WrongDatabase, match="database 'other'") as refused:
        Migration(erp.job(tree(tmp_path, LINE, env=stubborn)), erp.database).run()
    assert refused.value.state == "old, at no revision at all"
    assert other.ask("SELECT count(*) FROM pg_class WHERE relname = 'alembic_version'") == [(0,)]


def test_a_connection_to_another_database_is_refused(erp: World, server: Postgres, tmp_path: Path) -> None:
    job = erp.job(tree(tmp_path, LINE))
    with pytest.raises(WrongDatabase, match="other"):
        Migration(job, world(server, "other").database).run()


def test_a_wrong_password_is_said_without_it(erp: World, tmp_path: Path) -> None:
    wrong = replace(erp.database, password="not-the-password")
    with pytest.raises(MigrationRefused, match="password authentication failed") as refused:
        Migration(erp.job(tree(tmp_path, LINE)), wrong).run()
    assert "not-the-password" not in str(refused.value)
    assert refused.value.state == "unknown, it gave no answer"


def test_a_revision_set_on_no_way_is_refused(erp: World, tmp_path: Path) -> None:
    job = erp.job(tree(tmp_path, LINE))
    at_a(erp, tmp_path)
    erp.do("UPDATE alembic_version SET version_num = 'future'")
    with pytest.raises(MigrationRefused, match="the database is at future, which is on no way"):
        Migration(job, erp.database).run()


# -- failures ------------------------------------------------------------------------------------------------


def test_a_failing_statement_leaves_exactly_the_revisions_before_it(erp: World, tmp_path: Path) -> None:
    broken = LINE | {"c": revision("c", "b", sql("ALTER TABLE orders ADD x int") + "\n" + sql("SELECT 1/0"))}
    with pytest.raises(MigrationFailed, match="division by zero") as failed:
        Migration(erp.job(tree(tmp_path, broken)), erp.database).run()
    assert failed.value.state == "between, at b"
    assert "c.py:13" in failed.value.seen
    assert failed.value.what == "the migration failed at revision c"
    assert "column public.orders.x" not in schema(erp).objects


def test_a_revision_that_raises_leaves_the_old_state(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    given = tree(tmp_path, FIRST | {"b": revision("b", "a", "op.drop_table('orders')\nraise SystemExit(4)")})
    with pytest.raises(MigrationFailed, match="SystemExit: 4") as failed:
        Migration(erp.job(given), erp.database).run()
    assert failed.value.state == "old, at a"
    assert pickle.loads(pickle.dumps(failed.value)).state == "old, at a"


def test_a_statement_that_takes_too_long_is_ended(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    job = erp.job(slow(tmp_path), limits=replace(QUICK, statement=0.5))
    with pytest.raises(MigrationFailed, match=r"an end within 0\.5 s \(statement_timeout\)") as failed:
        Migration(job, erp.database).run()
    assert failed.value.state == "old, at a"
    assert "pg_sleep" in failed.value.seen


def test_the_limits_hold_against_what_env_py_sets(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    loose = ENV.replace(
        "        context.configure",
        "        connection.exec_driver_sql('SET statement_timeout = 0')\n"
        "        connection.commit()\n        context.configure",
    )
    job = erp.job(slow(tmp_path, env=loose), limits=replace(QUICK, statement=0.5))
    with pytest.raises(MigrationFailed, match="statement_timeout"):
        Migration(job, erp.database).run()


SEEN = "CREATE TABLE {} AS SELECT current_setting('lock_timeout') l, current_setting('statement_timeout') s"


def test_the_limits_hold_again_after_a_revision_that_has_set_others(erp: World, tmp_path: Path) -> None:
    loose = sql("SET lock_timeout = 0") + "\n" + sql("SET statement_timeout = 0")
    reset = sql("RESET lock_timeout") + "\n" + sql(SEEN.format("reset"))
    own = f"""
import psycopg
with psycopg.connect("") as own:
    own.execute({SEEN.format("own")!r})
"""
    given = FIRST | {
        "b": revision("b", "a", loose),
        "c": revision("c", "b", sql(SEEN.format("later"))),
        "d": revision("d", "c", reset),
        "e": revision("e", "d", own),
    }
    Migration(erp.job(tree(tmp_path, given)), erp.database).run()
    assert {one: erp.ask(f"SELECT l, s FROM {one}") for one in ("later", "reset", "own")} == {
        one: [("500ms", "20s")] for one in ("later", "reset", "own")
    }


def test_an_env_py_that_runs_nothing_is_no_success(erp: World, tmp_path: Path) -> None:
    with pytest.raises(MigrationFailed, match="without having run"):
        Migration(erp.job(tree(tmp_path, LINE, env="pass")), erp.database).run()


def test_an_env_py_that_does_not_commit_is_no_success(erp: World, tmp_path: Path) -> None:
    forgetful = ENV.replace("with context.begin_transaction()", "if True").replace(
        ", transaction_per_migration=True", ""
    )
    with pytest.raises(MigrationFailed, match=r"env\.py has to commit") as failed:
        Migration(erp.job(tree(tmp_path, LINE, env=forgetful)), erp.database).run()
    assert failed.value.state == "old, at no revision at all"


def test_another_schema_than_the_rehearsals_is_no_success(erp: World, tmp_path: Path) -> None:
    expected = schema(erp)
    job = erp.job(tree(tmp_path, LINE), expected=expected)
    with pytest.raises(SchemaDiffers, match=r"\+ table public.notes") as differs:
        Migration(job, erp.database).run()
    assert differs.value.state == "target, at c"


# -- secrets -------------------------------------------------------------------------------------------------


def test_the_password_is_nowhere(erp: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    at_a(erp, tmp_path)
    password = erp.database.password
    leaky = f"""
import os, sys
secret = open(os.environ["PGPASSFILE"]).read().strip().rsplit(":", 1)[1]
print(secret)
print(secret, file=sys.stderr)
print(op.get_bind().engine.url.render_as_string(hide_password=False), file=sys.stderr, flush=True)
{sql("SELECT pg_sleep(1)")}
raise ValueError(secret)
"""
    job = erp.job(tree(tmp_path, FIRST | {"b": revision("b", "a", leaky)}))
    shown: list[bytes] = []

    def look(_progress: Progress) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            for file in ("cmdline", "environ"):
                try:
                    shown.append((process / file).read_bytes())
                except OSError:
                    continue

    with pytest.raises(MigrationFailed, match="ValueError") as failed:
        Migration(job, erp.database, report=look).run()
    assert shown
    assert not any(password.encode() in one for one in shown)
    assert password not in str(failed.value)
    assert password not in repr(failed.value.__dict__)
    assert password not in repr(job)
    assert "***" in caplog.text
    assert password not in caplog.text


def test_the_password_is_good_for_the_one_database_only(erp: World, tmp_path: Path) -> None:
    at_a(erp, tmp_path)
    given = FIRST | {"b": revision("b", "a", "import psycopg\npsycopg.connect('dbname=postgres')")}
    with pytest.raises(MigrationInterrupted, match="no password supplied"):
        Migration(erp.job(tree(tmp_path, given)), erp.database).run()


def test_no_row_and_no_string_of_a_statement_is_told(
    erp: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    at_a(erp, tmp_path)
    erp.do(
        "ALTER TABLE orders ADD mail text, ALTER id SET NOT NULL",
        "INSERT INTO orders VALUES (1, 'anna@example.com')",
    )
    seen: list[Progress] = []
    slow_one = sql("SELECT pg_sleep(1), 'bert@example.com'")
    failing = sql("UPDATE orders SET id = NULL WHERE mail <> 'cleo@example.com'")
    job = erp.job(tree(tmp_path, FIRST | {"b": revision("b", "a", f"{slow_one}\n{failing}")}))
    with pytest.raises(MigrationFailed, match="violates not-null constraint") as failed:
        Migration(job, erp.database, report=lambda one: (seen.append(one), log_progress(one))).run()
    assert "UPDATE orders SET id = NULL WHERE mail < > '…'" in failed.value.seen
    assert any("pg_sleep" in one.shown for one in seen)
    assert "example.com" not in "".join([str(failed.value), caplog.text, *(one.shown for one in seen)])


# -- the demo ERP --------------------------------------------------------------------------------------------


def test_the_demo_erp_migrates_with_its_own_image(erp: World) -> None:
    from include.sandbox.erp.build import build_folder
    from include.sandbox.erp.versions import VERSIONS

    app = build_folder(VERSIONS["3.0.0"]) / "app"
    given = Tree(
        app,
        (sys.executable, "-I", "-S"),
        search_path=(app, app / "lib"),
        script_location=str(app / "erp" / "migrations"),
    )
    done = Migration(erp.job(given), erp.database).run()
    assert done.state.revisions == {"0003_delivery_date"}
    with psycopg.connect(erp.admin) as opened:
        assert opened.execute("SELECT count(*) FROM articles").fetchone() == (12,)
