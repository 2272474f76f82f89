"""Real Alembic trees in folders of their own, with the env.py that Alembic's own template writes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import dedent, indent

from include.migration.reading import reading
from include.migration.tree import Inspection, Rendered, Step, Tree

# As `alembic init` writes it, with one transaction for each revision.
ENV = """
from logging.config import fileConfig

from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config

def run_migrations_online():
    connectable = engine_from_config(
        config.get_section(config.config_ini_section, {}), prefix="sqlalchemy.", poolclass=pool.NullPool
    )
    with connectable.connect() as connection:
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()

if context.is_offline_mode():
    raise RuntimeError("nobody asked for this")
run_migrations_online()
"""

INI = """
[alembic]
script_location = %(here)s/migrations
path_separator = os
{url}
"""


def tree(
    folder: Path, revisions: Mapping[str, str], *, env: str = ENV, url: str = "", interpreter: str = sys.executable
) -> Tree:
    """A tree whose files are named like their revisions."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    (folder / "migrations" / "env.py").write_text(env)
    (folder / "alembic.ini").write_text(INI.format(url=f"sqlalchemy.url = {url}" if url else ""))
    for name, text in revisions.items():
        (versions / f"{name}.py").write_text(text)
    return Tree(folder, (interpreter,), config=folder / "alembic.ini")


def without_config(given: Tree) -> Tree:
    """The same tree, named by its script folder alone."""
    return replace(given, config=None, script_location=str(given.folder / "migrations"))


def revision(
    name: str,
    down: str | tuple[str, ...] | None = None,
    up: str = "pass",
    back: str = "pass",
    *,
    depends: str | None = None,
    labels: tuple[str, ...] | None = None,
) -> str:
    """The text of a revision file; ``up`` and ``back`` are the bodies of its functions."""
    head = f'''"""{name}"""
import sqlalchemy as sa
from alembic import context, op

revision = {name!r}
down_revision = {down!r}
branch_labels = {labels!r}
depends_on = {depends!r}
'''
    return head + "".join(
        f"\n\ndef {function}():\n{indent(dedent(body).strip(), '    ')}\n"
        for function, body in (("upgrade", up), ("downgrade", back))
    )


def sql(statement: str) -> str:
    """A body that executes one statement."""
    return f"op.execute({statement!r})"


def concurrently(*given: str) -> str:
    """A body that executes statements outside of a transaction."""
    executed = "".join(f"\n    op.execute({statement!r})" for statement in given)
    return f"with op.get_context().autocommit_block():{executed}"


def inspect(given: Tree) -> Inspection:
    """What the files say now."""
    with reading(given) as reader:
        return reader.inspection


def render(given: Tree, plan: tuple[Step, ...]) -> tuple[Rendered, ...]:
    """The steps as SQL, as the files say now."""
    with reading(given) as reader:
        return reader.render(plan)
