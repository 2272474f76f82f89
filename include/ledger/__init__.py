"""The append-only, hash-chained record of everything a release did and of every approval."""

from include.ledger.approvals import Approval, NotApproved, approval
from include.ledger.chain import Examination, Fault, examine
from include.ledger.entry import Entry, Head, NewEntry
from include.ledger.heads import note_head, noted_heads
from include.ledger.store import Ledger

__all__ = [
    "Approval",
    "Entry",
    "Examination",
    "Fault",
    "Head",
    "Ledger",
    "NewEntry",
    "NotApproved",
    "approval",
    "examine",
    "note_head",
    "noted_heads",
]
