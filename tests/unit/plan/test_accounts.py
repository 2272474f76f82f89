"""People and the accounts under which an auth manager knows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.plan.accounts import account_of, doubtful, person_of

PEOPLE = frozenset({"tina", "bert", "otto"})
names = st.sampled_from(["tina", "bert", "otto", "3", "4"])


def test_a_person_without_an_account_is_known_by_name() -> None:
    assert (account_of({}, "tina"), person_of({}, "tina")) == ("tina", "tina")
    assert (account_of({"tina": "3"}, "tina"), person_of({"tina": "3"}, "3")) == ("3", "tina")


def test_an_account_with_the_name_of_somebody_who_has_another_one_is_a_stranger() -> None:
    assert person_of({"tina": "3"}, "tina") == "account:tina"


@pytest.mark.parametrize(
    ("accounts", "why"),
    [
        ({"mallory": "3"}, "has no role"),
        ({"tina": "3", "bert": "3"}, "one account is one person"),
        ({"tina": "bert"}, "is the name of another person"),
    ],
)
def test_what_would_let_one_person_speak_for_another_is_refused(accounts: dict[str, str], why: str) -> None:
    assert any(why in str(wrong) for wrong in doubtful(accounts, PEOPLE))


@given(accounts=st.dictionaries(names, names), account=st.one_of(names, st.text(min_size=1)))
def test_accounts_without_doubt_are_of_one_person_each(accounts: dict[str, str], account: str) -> None:
    if list(doubtful(accounts, PEOPLE)):
        return
    assert all(person_of(accounts, account_of(accounts, person)) == person for person in PEOPLE)
    whose = person_of(accounts, account)
    assert whose not in PEOPLE or account_of(accounts, whose) == account
