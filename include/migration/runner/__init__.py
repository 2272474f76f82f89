"""Runs inside the application's Python, beside its Alembic; needs nothing of Stellwerk.

Started as ``<interpreter> <this folder>/__main__.py`` by ``include.migration.process``. JSON lines on standard
input say what to do; standard output carries JSON lines only; everything else goes to standard error.
Python 3.9 and Alembic 1.8 are enough.
"""
