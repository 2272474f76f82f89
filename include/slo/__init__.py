"""Service levels: samples become windows, windows become verdicts."""
