"""The steps of a release: observe, decide (``include.bluegreen``, ``include.slo``), act, prove.

Each step is one coroutine over small clients. It may be killed at any moment and called again: it does only what
is missing. It returns a small JSON-able summary; what others rely on is written to the ledger, never taken from
XCom.
"""
