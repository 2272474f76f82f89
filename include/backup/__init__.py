"""Backups of the application's database: dump, read back, keep, restore.

:mod:`~include.backup.dump` takes one, :mod:`~include.backup.verify` proves it, :mod:`~include.backup.expiry`
deletes what need not be kept, :mod:`~include.backup.restore` brings one back. What they decide is in functions
without I/O: in ``archive``, ``manifest``, ``retention``, ``loss``, ``preflight`` and ``swap``.
"""
