"""Who may speak for a role of a release in another's place, and that nobody decides alone by that."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ledger.approvals import Approval, approval, decision
from include.ledger.delegations import delegate_of, delegated, delegations, holders, most_people, refusal
from include.ledger.entry import Entry, NewEntry
from tests.memory import MemoryLedger

T = datetime(2030, 1, 15, 11, tzinfo=UTC)
ROLES = {"lead": ("tina", "tom"), "owner": ("bert",), "on-call": ("otto",)}
PEOPLE = frozenset({"tina", "tom", "bert", "otto", "sue"})


def written(*entries: NewEntry) -> tuple[Entry, ...]:
    ledger = MemoryLedger()
    return tuple(ledger.append(new) for new in entries)


def names(role: str, by: str, to: str, run_id: str = "run", at: str = "1") -> NewEntry:
    facts = {"comment": "", "phase": "production", "release": "3.0.0", "environment": "production"}
    return delegated(role=role, by=by, to=to, run_id=run_id, at=at, **facts)


def says(role: str, user: str, choice: str = "Go") -> NewEntry:
    facts = {"phase": "production", "comment": "", "fingerprint": "f", "release": "3.0.0", "at": T}
    return decision(role=role, user=user, choice=choice, environment="production", run_id="run", **facts)  # type: ignore[arg-type]


def decide(*entries: NewEntry, quorum: int = 2) -> object:
    known = written(*entries)
    given_ = delegations(known, ROLES, PEOPLE)
    return approval(
        known, phase="production", run_id="run", fingerprint="f", roles=ROLES, quorum=quorum, delegated=given_
    )


def test_a_delegate_speaks_for_the_role_beside_its_own_people_in_every_run_of_the_release() -> None:
    found = delegations(written(names("lead", "tina", "sue", run_id="another")), ROLES, PEOPLE)
    assert holders(ROLES, found) == {**ROLES, "lead": ("tina", "tom", "sue")}
    assert delegate_of("owner", found) is None


def test_the_newest_delegation_of_a_role_replaces_the_one_before() -> None:
    found = delegations(written(names("lead", "tina", "sue"), names("lead", "tom", "bert")), ROLES, PEOPLE)
    assert delegate_of("lead", found) == "bert"
    assert delegate_of("lead", found, before=found[-1].sequence) == "sue"


@pytest.mark.parametrize(
    "entry",
    [
        names("lead", "bert", "sue"),
        names("lead", "tina", "mallory"),
        names("lead", "tina", "tom"),
        names("stranger", "tina", "sue"),
    ],
)
def test_what_the_plan_does_not_allow_any_more_is_no_delegation(entry: NewEntry) -> None:
    assert delegations(written(entry), ROLES, PEOPLE) == ()


def test_a_go_of_a_delegate_counts_from_the_delegation_on() -> None:
    others = (says("owner", "bert"), says("on-call", "otto"))
    assert isinstance(decide(names("lead", "tina", "sue"), says("lead", "sue"), *others), Approval)
    assert not isinstance(decide(says("lead", "sue"), names("lead", "tina", "sue"), *others), Approval)


@pytest.mark.parametrize(
    ("by", "to", "why"),
    [
        ("bert", "sue", "only tina or tom can delegate lead"),
        ("sue", "otto", "only tina or tom can delegate lead"),
        ("tina", "", "choose who decides instead"),
        ("tina", "tom", "may answer this question anyway"),
        ("tina", "tina", "may answer this question anyway"),
        ("tina", "mallory", "nobody whom the environment names"),
    ],
)
def test_who_cannot_be_named_is_refused_with_the_reason(by: str, to: str, why: str) -> None:
    assert why in refusal("lead", by, to, roles=ROLES, people=PEOPLE, decided={}, quorum=2)


def test_a_delegate_who_would_leave_one_person_to_decide_is_refused() -> None:
    two = {"lead": ("tina",), "on-call": ("otto",)}
    assert "fewer than 2 different people" in refusal(
        "lead", "tina", "otto", roles=two, people=PEOPLE, decided={}, quorum=2
    )
    assert refusal("lead", "tina", "sue", roles=two, people=PEOPLE, decided={}, quorum=2) == ""
    three = {**two, "owner": ("otto", "bert")}
    asked = {"roles": three, "people": PEOPLE, "quorum": 2}
    assert refusal("lead", "tina", "otto", decided={}, **asked) == ""  # type: ignore[arg-type]
    decided = {"owner": "otto", "on-call": "otto"}
    assert "fewer than 2" in refusal("lead", "tina", "otto", decided=decided, **asked)  # type: ignore[arg-type]


speakers = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]), st.lists(st.sampled_from(["w", "x", "y", "Y "]), min_size=1, max_size=3)
)


@given(speakers)
def test_most_people_is_what_trying_everything_finds(found: dict[str, list[str]]) -> None:
    best = max(len({name.strip().casefold() for name in chosen}) for chosen in itertools.product(*found.values()))
    assert most_people(found) == best


@given(
    acts=st.lists(
        st.one_of(
            st.builds(
                names,
                st.sampled_from([*ROLES, "stranger"]),
                st.sampled_from(sorted(PEOPLE)),
                st.sampled_from([*sorted(PEOPLE), "mallory"]),
                at=st.integers(0, 99).map(str),
            ),
            st.builds(says, st.sampled_from([*ROLES]), st.sampled_from([*sorted(PEOPLE), "mallory"])),
        ),
        max_size=12,
    )
)
def test_whoever_is_named_by_whomever_two_people_decide_and_each_speaks_for_the_role(acts: list[NewEntry]) -> None:
    result = decide(*acts)
    if not isinstance(result, Approval):
        return
    assert len(result.people) >= 2
    assert "mallory" not in result.people
    for one in result.decisions:
        named = {
            entry.payload["to"]
            for entry in acts
            if entry.kind == "gate.delegated"
            and entry.payload["role"] == one.role
            and entry.payload["by"] in ROLES[one.role]
        }
        assert one.user in {*ROLES[one.role], *named}
