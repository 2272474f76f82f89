"""Backups of the application's database: dump, read back, restore. Owned by the DAG ``db-migration``.

Nothing is here yet.
"""
