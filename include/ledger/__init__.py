"""The append-only, hash-chained record of everything a release did and of every approval."""
