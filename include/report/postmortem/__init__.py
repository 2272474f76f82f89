"""The draft of a post-mortem: what the ledger knows of a release that was rolled back, and what it does not know.

:mod:`.incident` finds the entries that belong together, :func:`.draft.post_mortem` makes the model of them
(:mod:`.model`), :mod:`.plot` and :mod:`.document` show it. Nothing here reads a clock or a database.
"""
