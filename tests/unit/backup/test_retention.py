"""Which backups go: never the newest verified one, whatever the policy and whatever else there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from include.backup.retention import Fate, Retention, Stored, decide
from include.database.facts import DatabaseIdentity

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ERP, OTHER = (DatabaseIdentity(system_identifier="1", name=name) for name in ("erp", "other"))


def backup(name: str, days: float, proof: str = "VERIFIED", **more: object) -> Stored:
    facts = {"database": ERP, "at": NOW - timedelta(days=days), "proof": proof, "ours": True, **more}
    return Stored(name, **facts)  # type: ignore[arg-type]


def kept(*stored: Stored, **policy: float) -> set[str]:
    fates = decide(stored, Retention(**policy), now=NOW)  # type: ignore[arg-type]
    return {fate.folder for fate in fates if fate.kept}


def test_young_ones_stay_and_so_do_the_newest_verified() -> None:
    many = [backup(str(day), day) for day in range(1, 100)]
    assert kept(*many, newest=3, days=10) == {str(day) for day in range(1, 10)}
    assert kept(*many, newest=20, days=10) == {str(day) for day in range(1, 21)}


def test_what_is_not_verified_does_not_count_and_goes_when_it_is_old() -> None:
    stored = [backup("proved", 90), backup("damaged", 91, "DAMAGED"), backup("unknown", 92, "UNKNOWN")]
    assert kept(*stored, newest=1) == {"proved"}


def test_what_is_newer_than_the_newest_verified_stays() -> None:
    assert kept(backup("newer", 80, "UNKNOWN"), backup("proved", 90), newest=1) == {"newer", "proved"}


def test_nothing_goes_while_no_backup_of_the_database_is_verified() -> None:
    stored = [backup("a", 90, "UNKNOWN"), backup("b", 91, "DAMAGED"), backup("c", 50, database=OTHER)]
    assert kept(*stored, newest=1) == {"a", "b", "c"}


def test_what_somebody_needs_stays() -> None:
    assert kept(backup("old", 400, pinned=True), backup("new", 40), newest=1) == {"old", "new"}


def test_what_an_attempt_left_goes_when_nobody_can_be_at_it_any_more() -> None:
    young, old = backup("young", 1.9, "UNKNOWN", database=None), backup("old", 2.1, "UNKNOWN", database=None)
    assert kept(young, old, unfinished_hours=48) == {"young"}
    assert kept(Stored("no age", None, None, ours=True)) == {"no age"}


def test_what_is_not_ours_stays_and_protects_nothing_of_ours() -> None:
    theirs = [backup("theirs", 90, ours=False), backup("rest", 90, "UNKNOWN", database=None, ours=False)]
    assert kept(*theirs, backup("old", 92), backup("older", 93), newest=1) == {"theirs", "rest", "old"}
    assert kept(backup("theirs", 90, ours=False), backup("unproven", 92, "UNKNOWN")) == {"theirs", "unproven"}


def test_every_fate_has_its_reason() -> None:
    fates = decide([backup("a", 1), backup("b", 90), backup("c", 99)], Retention(newest=1), now=NOW)
    assert fates == (
        Fate("a", kept=True, reason="younger than 30 days"),
        Fate("b", kept=False, reason="older than 30 days"),
        Fate("c", kept=False, reason="older than 30 days"),
    )


STORED = st.builds(
    Stored,
    folder=st.text(min_size=1, max_size=5),
    database=st.sampled_from([None, ERP, OTHER]),
    at=st.none() | st.integers(-10, 4000).map(lambda hours: NOW - timedelta(hours=hours)),
    proof=st.sampled_from(["VERIFIED", "DAMAGED", "UNKNOWN"]),
    pinned=st.booleans(),
    ours=st.booleans(),
)
POLICY = st.builds(
    Retention, newest=st.integers(-1, 3), days=st.floats(0, 100), unfinished_hours=st.floats(0, 1000)
)


@given(st.lists(STORED, unique_by=lambda one: one.folder), POLICY)
def test_the_newest_verified_of_each_database_always_stays(stored: list[Stored], policy: Retention) -> None:
    fates = {fate.folder: fate.kept for fate in decide(stored, policy, now=NOW)}
    assert all(fates[one.folder] for one in stored if not one.ours)
    for database in (ERP, OTHER):
        of_it = [one for one in stored if one.ours and one.database == database and one.at is not None]
        verified = [one for one in of_it if one.proof == "VERIFIED"]
        if not verified:
            assert all(fates[one.folder] for one in of_it)
            continue
        newest = max(one.at for one in verified if one.at is not None)
        assert any(fates[one.folder] for one in verified if one.at == newest)
        assert all(fates[one.folder] for one in of_it if one.at is not None and one.at > newest)


@given(st.lists(STORED, unique_by=lambda one: one.folder), POLICY)
def test_deciding_again_over_what_was_kept_deletes_nothing_more(stored: list[Stored], policy: Retention) -> None:
    fates = {fate.folder: fate.kept for fate in decide(stored, policy, now=NOW)}
    left = [one for one in stored if fates[one.folder]]
    assert all(fate.kept for fate in decide(left, policy, now=NOW))
