"""The newest looks at a slot and at the public URL, as a watch hands them on to whichever process goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from include.slo.samples import ProbeSample, SlotSample

L = TypeVar("L", ProbeSample, SlotSample)


def sparse(looks: Sequence[L], *, apart_seconds: float) -> tuple[L, ...]:
    """Of looks in a row that say the same only one every ``apart_seconds``; always the newest.

    How long something has been so stays proven where two looks that are kept lie no further apart than what counts
    as one stretch between two looks (:func:`include.slo.moment.gap_seconds`).

    :param looks: in the order of time
    """
    kept: list[L] = []
    for look in looks:
        if not kept or not same(kept[-1], look) or look.at - kept[-1].at >= apart_seconds:
            kept.append(look)
    if kept and kept[-1] is not looks[-1]:
        kept.append(looks[-1])
    return tuple(kept)


def same(one: L, other: L) -> bool:
    """Whether two looks say the same, whenever each was taken."""
    return replace(one, at=other.at) == other
