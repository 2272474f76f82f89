"""How many different people can speak for roles: one for each, and two spellings are one person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def identity(name: str) -> str:
    """Two spellings of a name are one person, in doubt."""
    return name.strip().casefold()


def most_people(speakers: Mapping[str, Sequence[str]]) -> int:
    """How many different people can speak, one for each role, when every role picks as well as it can.

    :param speakers: role → who may speak for it
    """
    speaks: dict[str, str] = {}

    def place(role: str, tried: set[str]) -> bool:
        for person in speakers[role]:
            name = identity(person)
            if name in tried:
                continue
            tried.add(name)
            if name not in speaks or place(speaks[name], tried):
                speaks[name] = role
                return True
        return False

    return sum(place(role, set()) for role in speakers)
