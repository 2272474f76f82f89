"""What may be done with a Lease, and several releases that stall, die and take over: never two at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from include.bluegreen.lease import (
    SLACK_SECONDS,
    TAKEN_OVER,
    Acquire,
    Decision,
    HeldByOther,
    LeaseState,
    Renew,
    TakeOver,
    Terms,
    account_of,
    acquired,
    decide,
    lease_seconds,
    renewed,
    taken_over,
)
from include.errors import EnvironmentHeld, PatchRefused
from tests.unit.bluegreen.lease_server import LeaseServer

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
SECONDS = 60


def terms(release: str) -> Terms:
    return Terms("lease", release, "release-manager", SECONDS)


def held_by(release: str, *, seconds_ago: float = 0) -> LeaseState:
    return acquired(None, terms(release), NOW - timedelta(seconds=seconds_ago))


def test_a_lease_outlasts_the_gate_with_slack() -> None:
    assert lease_seconds(1800) == 1800 + SLACK_SECONDS
    assert SLACK_SECONDS > 300, "Airflow notices a dead worker only then"


@pytest.mark.parametrize(
    ("lease", "may_take_over", "override", "expected"),
    [
        (None, False, "", Acquire),
        (replace(held_by("b"), holder=None), False, "", Acquire),
        (held_by("a"), False, "", Renew),
        (held_by("a", seconds_ago=999), False, "", Renew),
        (held_by("b"), True, "", HeldByOther),
        (held_by("b"), True, "hotfix", TakeOver),
        (held_by("b"), False, "hotfix", HeldByOther),
        (held_by("b", seconds_ago=SECONDS), True, "", HeldByOther),
        (held_by("b", seconds_ago=SECONDS + 0.001), True, "", TakeOver),
        (held_by("b", seconds_ago=999), False, "", HeldByOther),
        (replace(held_by("b", seconds_ago=999), renewed_at=None), True, "", HeldByOther),
        (replace(held_by("b", seconds_ago=999), duration_seconds=None), True, "", HeldByOther),
    ],
)
def test_what_may_be_done(
    lease: LeaseState | None, may_take_over: bool, override: str, expected: type[object]
) -> None:
    decision = decide(lease, "a", now=NOW, may_take_over=may_take_over, override_reason=override)
    assert type(decision) is expected


def test_who_is_refused_reads_who_has_it_since_when_and_until_when() -> None:
    lease = acquired(None, replace(terms("3.0.0@production/manual__1"), started_by="ada"), NOW)
    decision = decide(lease, "3.0.1@production/manual__2", now=NOW, may_take_over=True)
    assert isinstance(decision, HeldByOther)
    error = decision.error()
    assert isinstance(error, EnvironmentHeld)
    assert not error.retryable
    assert error.what == (
        "the environment is held by release 3.0.0, run manual__1, started by ada, "
        "since 2030-01-01T12:00:00+00:00, last renewed 2030-01-01T12:00:00+00:00, "
        "expires 2030-01-01T12:01:00+00:00"
    )
    assert "override_reason" in error.remedy
    late = decide(lease, "b", now=NOW + timedelta(hours=1))
    assert isinstance(late, HeldByOther)
    assert "start a new run" in late.error().remedy


def test_a_takeover_tells_from_whom_and_why() -> None:
    lease = replace(held_by("a", seconds_ago=120), transitions=3)
    how = decide(lease, "b", now=NOW, may_take_over=True)
    assert isinstance(how, TakeOver)
    after = taken_over(lease, how, terms("b"), NOW)
    assert (after.holder, after.transitions, after.acquired_at) == ("b", 4, NOW)
    account = account_of(after)
    assert account is not None
    assert (account["from"], account["because"], account["started_by"]) == ("a", "expired", "release-manager")
    assert "last renewed 2030-01-01T11:58:00+00:00" in account["reason"]
    assert account_of(renewed(after, terms("b"), NOW)) == account, "renewing keeps it"
    assert account_of(acquired(after, terms("c"), NOW)) is None


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", '{"from": 1}'])
def test_an_account_that_cannot_be_read_is_none(text: str) -> None:
    assert account_of(replace(held_by("a"), annotations={TAKEN_OVER: text})) is None


@given(st.text(), st.text())
def test_who_lost_it_never_renews(holder: str, release: str) -> None:
    if holder == release:
        return
    with pytest.raises(ValueError, match="does not hold"):
        renewed(held_by(holder), terms(release), NOW)


RELEASES = ("r1", "r2", "r3")
PROCESSES = tuple((name, number) for name in RELEASES for number in (1, 2))


@dataclass
class Pending:
    """A write that was decided on and not sent yet: its process may sleep for as long as it likes."""

    observed: LeaseState | None
    decision: Decision
    wanted: LeaseState
    at: datetime


class Leases(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.server = LeaseServer()
        self.pending: dict[tuple[str, int], Pending] = {}
        self.until: dict[str, datetime] = {}  # how long a release takes itself for the holder
        self.superseded: set[str] = set()

    @rule(seconds=st.sampled_from([1, 20, SECONDS, SECONDS + 1]))
    def time_passes(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule(process=st.sampled_from(PROCESSES), begins=st.booleans(), override=st.sampled_from(["", "", "hotfix"]))
    def observe(self, process, begins, override):
        name, _ = process
        if name in self.superseded:
            return  # the ledger says so, before anything else
        decision = decide(self.server.lease, name, now=self.now, may_take_over=begins, override_reason=override)
        lease = self.server.lease
        match decision:
            case Acquire():
                wanted = acquired(lease, terms(name), self.now)
            case Renew():
                wanted = renewed(lease, terms(name), self.now)
            case TakeOver():
                assert begins
                wanted = taken_over(lease, decision, terms(name), self.now)
            case _:
                return
        self.pending[process] = Pending(lease, decision, wanted, self.now)

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def send(self, data):
        process = data.draw(st.sampled_from(sorted(self.pending)))
        pending, before = self.pending.pop(process), self.server.lease
        try:
            after = (
                self.server.create(pending.wanted)
                if pending.observed is None
                else self.server.replace(pending.wanted)
            )
        except PatchRefused:
            return
        name, _ = process
        match pending.decision:
            case Acquire():
                assert before is None or before.holder is None, "took what somebody had"
            case Renew():
                assert before is not None
                assert before.holder == name, "renewed what it had lost"
            case TakeOver(from_whom, because, _):
                assert before is not None
                assert before.holder == from_whom != name
                assert because == "override" or before.expired(pending.at), "took what was not expired"
                assert account_of(after) is not None, "without a word of why"
                self.superseded.add(from_whom)
                if because == "override":
                    self.until.pop(from_whom, None)
        self.until[name] = after.expires_at

    @rule(process=st.sampled_from(PROCESSES))
    def give_up(self, process):
        name, _ = process
        lease = self.server.lease
        if lease is not None and lease.holder == name:
            self.server.delete(lease)
            self.until.pop(name, None)

    @rule(process=st.sampled_from(PROCESSES))
    def process_dies(self, process):
        self.pending.pop(process, None)

    @invariant()
    def never_two_who_take_themselves_for_the_holder(self):
        acting = [name for name, until in self.until.items() if self.now <= until]
        assert len(acting) <= 1, acting


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
