"""What the form of user feedback offers, apart from what becomes of it: the DAG file needs no more."""

from __future__ import annotations

from typing import Final

#: what the form offers → what it means to those who read of it
VERDICTS: Final = {
    "works": "it works",
    "problem": "a problem",
    "critical-data-loss": "CRITICAL: data is lost or wrong",
    "critical-security": "CRITICAL: a security hole",
}
LONGEST_TEXT: Final = 1000

CONFIRM: Final = "Roll back now"
DISMISS: Final = "No rollback"
