"""The report of a release, from the ledger alone: every phase and every run of it that the ledger knows.

:mod:`.history` reads the entries, :mod:`.steps`, :mod:`.deviations`, :mod:`.decisions`, :mod:`.evidence` and
:mod:`.windows` each tell one part, :func:`.draft.release_report` makes the model of them (:mod:`.model`),
:mod:`.document` shows it, :mod:`.check` finds out whether a written report is what its ledger says. Nothing here
reads a clock or a database.
"""
