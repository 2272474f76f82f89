"""Schema changes of the application: its Alembic tree inspected, linted, applied and taken back.

Nothing of the application is imported here: whatever knows its revisions runs in a process of its own
(``runner``), with the interpreter and the libraries of the application. This process holds the facts, decides,
and watches over the database.
"""
