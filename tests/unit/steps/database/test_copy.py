"""Copies that rehearsals have left: which are ours."""

from __future__ import annotations

import hashlib

from include.database.marks import marked
from include.steps.database.copy import copy_name, is_copy_of


def comment(name: str) -> str:
    """As a copy bears it, behind that of the database it was made from."""
    return marked("the ERP", "restoring", hashlib.sha256(name.encode()).hexdigest()[:12])


OURS, OTHERS = copy_name("erp", "killed"), copy_name("erp_staging", "killed")


def test_only_what_bears_the_mark_of_its_own_name_is_a_copy() -> None:
    by_hand = "erp_rehearsal_0123456789"
    found = [
        ("erp", ""),
        (OURS, comment(OURS)),
        (OTHERS, comment(OTHERS)),
        (by_hand, ""),
        (by_hand, comment(OURS)),
        ("erp_rehearsal_2030", comment("erp_rehearsal_2030")),
    ]
    assert [one for one, said in found if is_copy_of("erp", one, said)] == [OURS]
    assert [one for one, said in found if is_copy_of("erp_staging", one, said)] == [OTHERS]
    cut = copy_name("x" * 63, "r")
    assert not is_copy_of("x" * 63, cut, comment(cut)), "another one's name may be cut alike"
