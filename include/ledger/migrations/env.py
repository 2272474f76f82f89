"""Alembic's entry point: runs the revisions on the connection that include.ledger.migrate holds."""

from alembic import context

from include.ledger.schema import SCHEMA

context.configure(connection=context.config.attributes["connection"], version_table_schema=SCHEMA)
with context.begin_transaction():
    context.run_migrations()
