"""A small ERP: articles and orders in PostgreSQL, a live event stream, honest health and metrics.

Runs from its image alone (``/app/run``): nothing here may import anything outside this package and the
libraries of ``requirements.txt``.
"""
