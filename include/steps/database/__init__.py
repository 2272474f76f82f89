"""The steps of the DAG ``db-migration``: what is backed up, looked at, tried out, decided, changed, taken back.

Each looks at the ledger and at the database first, does only what is missing, and needs nothing but what ledger
and store of backups hold: it may be killed at any moment and run again by another process.
"""
