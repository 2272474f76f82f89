"""Schema changes of the application: Alembic inspection, policy, execution. Owned by the DAG ``db-migration``.

Nothing is here yet: a release moves traffic only, and its way back relies on a schema that did not change.
"""
