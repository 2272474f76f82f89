from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ApprovalMissing, ApprovalRefused
from include.ledger.approvals import Approval, NotApproved, approval, decision
from include.ledger.entry import Entry, NewEntry, canonical

T = datetime(2026, 3, 1, 11, tzinfo=UTC)
ROLES = {"technical-lead": ("tina", "tom"), "business-owner": ("bert",), "on-call": ("otto", "tina")}
PRINT = "sha256:" + "a" * 64


def recorded(*answers: NewEntry) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            sequence=number,
            kind=new.kind,
            release=new.release,
            environment=new.environment,
            run_id=new.run_id,
            actor=new.actor,
            key=new.key,
            at=new.at or T,
            recorded_at=T,
            payload_json=canonical(dict(new.payload)),
            previous="",
            hash="",
        )
        for number, new in enumerate(answers, 1)
    )


def says(role: str, user: str, choice: str = "Go", **other: object) -> NewEntry:
    facts: dict[str, object] = {
        "phase": "production",
        "run_id": "run",
        "fingerprint": PRINT,
        "at": T,
        "comment": "",
    }
    return decision(
        role=role,
        user=user,
        choice=choice,  # type: ignore[arg-type]
        release="3.0.0",
        environment="production",
        **{**facts, **other},  # type: ignore[arg-type]
    )


ALL_GO = (says("technical-lead", "tina"), says("business-owner", "bert"), says("on-call", "otto"))


def decide(
    *answers: NewEntry, roles: Mapping[str, tuple[str, ...]] = ROLES, **other: object
) -> Approval | NotApproved:
    facts: dict[str, object] = {
        "phase": "production",
        "run_id": "run",
        "fingerprint": PRINT,
        "triggered_by": "tina",
    }
    return approval(recorded(*answers), roles=roles, **{**facts, **other})  # type: ignore[arg-type]


def reason(result: Approval | NotApproved) -> str:
    assert isinstance(result, NotApproved)
    return result.reason


def test_a_go_of_every_role_approves() -> None:
    result = decide(*ALL_GO)
    assert isinstance(result, Approval)
    assert result.people == ("bert", "otto", "tina")
    assert [given.role for given in result.decisions] == list(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_a_missing_role_is_named_with_those_who_hold_it(role: str) -> None:
    result = decide(*(go for go in ALL_GO if go.payload["role"] != role))
    assert reason(result) == f"no Go from {role} ({' or '.join(ROLES[role])})"
    assert isinstance(result, NotApproved)
    assert not result.refused


def test_silence_is_no_go() -> None:
    assert "technical-lead" in reason(decide())


def test_a_no_go_refuses_and_is_quoted() -> None:
    result = decide(*ALL_GO[:2], says("on-call", "otto", "No-Go", comment="pager is broken"))
    assert reason(result) == "otto said No-Go for on-call: pager is broken"
    assert isinstance(result, NotApproved)
    assert isinstance(result.error("deploy"), ApprovalRefused)
    assert isinstance(NotApproved("x").error("deploy"), ApprovalMissing)


def test_the_later_decision_of_a_role_counts() -> None:
    assert isinstance(decide(*ALL_GO, says("technical-lead", "tom", "No-Go")), NotApproved)
    assert isinstance(decide(says("technical-lead", "tom", "No-Go"), *ALL_GO), Approval)


def test_the_order_is_the_ledgers_not_the_clocks() -> None:
    early = says("on-call", "otto", "No-Go", at=T - timedelta(hours=1))
    assert isinstance(decide(*ALL_GO, early), NotApproved)


def test_whoever_does_not_hold_the_role_does_not_count() -> None:
    result = decide(*ALL_GO[:2], says("on-call", "bert"))
    assert "no Go from on-call (otto or tina)" in reason(result)
    assert "bert answered for on-call without holding it" in reason(result)
    assert isinstance(decide(*ALL_GO, says("on-call", "mallory", "No-Go")), Approval)


def test_a_changed_fingerprint_voids_the_go() -> None:
    result = decide(*ALL_GO, fingerprint="sha256:" + "b" * 64)
    assert "was for aaaaaaaaaaaa, but now it would be bbbbbbbbbbbb" in reason(result)
    assert "empty" in reason(decide(*ALL_GO, fingerprint=""))


def test_a_later_go_for_something_else_voids_the_go_before() -> None:
    assert isinstance(decide(*ALL_GO, says("on-call", "otto", fingerprint="sha256:other")), NotApproved)


@pytest.mark.parametrize("other", [{"run_id": "another"}, {"phase": "database"}])
def test_decisions_of_another_run_or_phase_do_not_count(other: dict[str, str]) -> None:
    assert isinstance(decide(*(says(go.payload["role"], go.actor, **other) for go in ALL_GO)), NotApproved)


def test_a_late_go_does_not_count_and_a_late_no_go_still_stops() -> None:
    late = T + timedelta(minutes=31)
    deadline = T + timedelta(minutes=30)
    result = decide(*ALL_GO[:2], says("on-call", "otto", at=late), deadline=deadline)
    assert "no Go from on-call" in reason(result)
    assert "otto's Go for on-call came after the deadline" in reason(result)
    assert isinstance(decide(*ALL_GO, deadline=deadline), Approval)
    assert isinstance(decide(*ALL_GO, says("on-call", "otto", "No-Go", at=late), deadline=deadline), NotApproved)


def test_one_person_in_every_role_is_not_enough() -> None:
    result = decide(
        says("a", "bert"), says("b", "bert"), roles={"a": ("bert",), "b": ("bert",)}, triggered_by="tina", quorum=1
    )
    assert reason(result) == "only bert decided; 2 people are needed"


def test_a_run_of_the_calendar_needs_two_as_well() -> None:
    roles = {"a": ("bert",), "b": ("bert", "otto")}
    result = decide(says("a", "bert"), says("b", "bert"), roles=roles, triggered_by="")
    assert reason(result) == "only bert decided; 2 people are needed"
    assert isinstance(decide(says("a", "bert"), says("b", "otto"), roles=roles, triggered_by=""), Approval)


def test_an_approval_is_of_the_run_that_was_begun_then_and_not_of_another_one_under_its_id() -> None:
    gos = [says(go.payload["role"], go.actor, born="monday") for go in ALL_GO]
    assert isinstance(decide(*gos, born="monday"), Approval)
    for born in ("", "tuesday"):
        assert "no Go from technical-lead" in reason(decide(*gos, born=born))
    assert isinstance(decide(*ALL_GO, born="monday"), NotApproved)


def test_whoever_started_the_run_is_never_alone() -> None:
    result = decide(says("a", "bert"), roles={"a": ("bert",)}, triggered_by="Bert")
    assert "nobody but Bert, who started the run, decided" in reason(result)


def test_two_spellings_are_one_person() -> None:
    roles = {"a": ("bert",), "b": ("Bert ",)}
    assert "2 people are needed" in reason(decide(says("a", "bert"), says("b", "Bert "), roles=roles))


def test_a_gate_without_roles_approves_nothing() -> None:
    assert "names no role" in reason(decide(*ALL_GO, roles={}))


def test_the_quorum_of_the_plan_is_needed() -> None:
    assert "4 people are needed" in reason(decide(*ALL_GO, quorum=4))


def test_an_answer_that_is_neither_is_a_refusal() -> None:
    assert "neither Go nor No-Go ('go')" in reason(decide(*ALL_GO[:2], says("on-call", "otto", "go")))


def test_a_damaged_payload_is_no_decision() -> None:
    entries = recorded(*ALL_GO)
    damaged = Entry(**{**{f: getattr(entries[2], f) for f in Entry.__dataclass_fields__}, "payload_json": "[1]"})
    result = approval(
        [*entries[:2], damaged], phase="production", run_id="run", fingerprint=PRINT, roles=ROLES, triggered_by="x"
    )
    assert isinstance(result, NotApproved)


def test_recording_an_answer_twice_has_one_key() -> None:
    assert says("on-call", "otto").key == says("on-call", "otto").key
    assert says("on-call", "otto").key != says("on-call", "otto", at=T + timedelta(microseconds=1)).key


answers = st.lists(
    st.builds(
        says,
        role=st.sampled_from([*ROLES, "stranger"]),
        user=st.sampled_from(["tina", "tom", "bert", "otto", "mallory"]),
        choice=st.sampled_from(["Go", "Go", "Go", "No-Go", ""]),
        phase=st.sampled_from(["production", "production", "database"]),
        run_id=st.sampled_from(["run", "run", "another"]),
        fingerprint=st.sampled_from([PRINT, PRINT, "sha256:other", ""]),
        at=st.sampled_from([T, T + timedelta(hours=2)]),
    ),
    max_size=12,
)


@given(
    answers=answers,
    roles=st.dictionaries(
        st.sampled_from(["technical-lead", "business-owner", "on-call"]),
        st.lists(st.sampled_from(["tina", "tom", "bert", "otto"]), unique=True).map(tuple),
    ),
    quorum=st.integers(-1, 4),
    starter=st.sampled_from(["tina", "bert", "mallory", ""]),
)
def test_nothing_is_approved_that_lacks_a_role_a_person_or_the_fingerprint(
    answers: list[NewEntry], roles: dict[str, tuple[str, ...]], quorum: int, starter: str
) -> None:
    deadline = T + timedelta(hours=1)
    result = decide(*answers, roles=roles, quorum=quorum, triggered_by=starter, deadline=deadline)
    if isinstance(result, NotApproved):
        assert result.reason
        return
    # Said again in the simplest words, independently of how the decision is made.
    assert roles
    people = set()
    for role, holders in roles.items():
        mine = [
            entry
            for entry in answers
            if entry.payload["role"] == role
            and entry.payload["user"] in holders
            and entry.payload["phase"] == "production"
            and entry.run_id == "run"
        ]
        gos = [entry for entry in mine if entry.payload["choice"] == "Go" and entry.at and entry.at <= deadline]
        assert gos
        assert gos[-1].payload["fingerprint"] == PRINT
        assert all(entry.payload["choice"] == "Go" for entry in mine[mine.index(gos[-1]) :])
        people.add(gos[-1].payload["user"])
    assert len(people) >= max(2, quorum)
    assert people - {starter}


AGES = st.fixed_dictionaries({role: st.integers(-3, 3) for role in ROLES})


@given(ages=AGES, refused=st.sets(st.sampled_from(sorted(ROLES))))
def test_a_go_is_young_enough_or_none_and_a_no_go_never_too_old(ages: dict[str, int], refused: set[str]) -> None:
    """Time alone takes an approval away and never gives one."""
    users = {"technical-lead": "tina", "business-owner": "bert", "on-call": "otto"}
    said = [
        says(role, users[role], "No-Go" if role in refused else "Go", at=T + timedelta(hours=hours))
        for role, hours in ages.items()
    ]
    ageless = decide(*said, oldest=None)
    by_age = [decide(*said, oldest=T + timedelta(hours=hours)) for hours in range(-4, 5)]
    if refused:
        assert all(isinstance(one, NotApproved) and one.refused for one in (ageless, *by_age))
        return
    assert isinstance(ageless, Approval)
    young = [min(ages.values()) >= hours for hours in range(-4, 5)]
    assert [isinstance(one, Approval) for one in by_age] == young
