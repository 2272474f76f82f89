"""Under which id Airflow's auth manager knows a person of the plan.

Airflow lets those answer a question whose ``get_id()`` is assigned to it: the user name with SimpleAuthManager, a
number with FabAuthManager, a UUID with Keycloak. The plan and the ledger name people: both ways are mapped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from include.plan.quorum import identity
from include.plan.rules import Misplaced

STRANGER = "account:"
"""How an account is recorded that is nobody's in the plan; no name of a person begins so."""


def account_of(accounts: Mapping[str, str], person: str) -> str:
    """The id under which the auth manager knows a person: their name, where the plan says nothing else."""
    return accounts.get(person, person)


def person_of(accounts: Mapping[str, str], account: str) -> str:
    """Whose account it is; never the name of somebody who has another one."""
    for person, known in accounts.items():
        if known == account:
            return person
    return f"{STRANGER}{account}" if account in accounts else account


def mistakable(places: Mapping[str, Mapping[str, Sequence[str]]]) -> Iterator[Misplaced]:
    """The names of people that could be taken for another's, or for an account that is nobody's.

    :param places: where roles are named, dotted → role → its users
    """
    known: dict[str, str] = {}
    for place, roles in places.items():
        for role, users in roles.items():
            for user in users:
                where, same = (*place.split("."), role), known.setdefault(identity(user), user)
                if same != user:
                    yield Misplaced(where, f"{user!r} and {same!r} are one person: write the name in one way")
                if identity(user).startswith(STRANGER):
                    yield Misplaced(where, f"{user!r}: no name begins with {STRANGER!r}, accounts of nobody do")


def doubtful(accounts: Mapping[str, str], people: frozenset[str]) -> Iterator[Misplaced]:
    """The accounts by which one person could speak for another, or which are of nobody."""
    for person, account in accounts.items():
        place = ("accounts", person)
        if person not in people:
            yield Misplaced(place, f"{person} has no role: gate.roles and people name {', '.join(sorted(people))}")
        others = [other for other, same in accounts.items() if same == account and other != person]
        if others:
            yield Misplaced(place, f"{account!r} is also the account of {others[0]}: one account is one person")
        if account in people and account != person and account not in accounts:
            yield Misplaced(place, f"{account!r} is the name of another person: give {account} an account, too")
