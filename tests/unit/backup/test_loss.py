"""What a restore takes away, and that a confirmation is of that and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.backup.loss import RestoreLoss, must_be_confirmed, must_cover, state_loss, still_answerable
from include.backup.manifest import Format, Manifest, Piece
from include.database.confirmation import LossConfirmation
from include.database.facts import DatabaseIdentity
from include.errors import RestoreUnconfirmed

THEN, NOW = datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 1, 12, 30, 30, tzinfo=UTC)
ERP = DatabaseIdentity(system_identifier="7", name="erp")
PIECE = Piece(name="x.dump", size=3, sha256="a" * 64)


def manifest(rows: Mapping[str, int | None]) -> Manifest:
    return Manifest(
        id="one",
        format=Format.CUSTOM,
        pieces=(PIECE,),
        size=3,
        sha256=PIECE.sha256,
        inventory=PIECE,
        database=ERP,
        server="18.4",
        server_version_number=180004,
        client="18.4",
        revisions={"public.alembic_version": ("a",)},
        rows=rows,
        started_at=THEN,
        snapshot_at=THEN,
        finished_at=THEN,
        duration_seconds=0,
    )


def stated(then: Mapping[str, int | None], now: Mapping[str, int | None] | None, **more: object) -> RestoreLoss:
    facts = {"target_missing": False, "made_at": NOW, **more}
    return state_loss(manifest(then), ERP, now, **facts)  # type: ignore[arg-type]


def test_minutes_and_rows_by_table() -> None:
    statement = stated({"a": 5, "b": 5, "c": 5, "d": None}, {"a": 5, "b": 7, "c": 3, "d": 1, "e": 4})
    assert statement.minutes == 30.5
    assert statement.sentences == (
        "erp becomes what it was at 2026-03-01 12:00:00 UTC (backup one): everything written in the 30.5 minutes "
        "since then is lost.",
        "b: at least 2 rows are lost (7 now, 5 in the backup).",
        "c: at least 2 rows come back (3 now, 5 in the backup).",
        "d: how many rows are lost is not known.",
        "e: at least 4 rows are lost (4 now, 0 in the backup).",
        "Rows are counted, not compared: those added while others were deleted are not seen, those changed "
        "are not counted. They are lost as well.",
    )


def test_what_cannot_be_read_is_not_known() -> None:
    assert any("not known" in sentence for sentence in stated({"a": 5}, None).sentences)
    assert any("cannot be kept" in sentence for sentence in stated({}, None, target_missing=True).sentences)


def test_another_database_is_told() -> None:
    other = ERP.model_copy(update={"name": "staging"})
    told = state_loss(manifest({}), other, {}, target_missing=False, made_at=NOW).sentences
    assert "The backup is of another database: database 'erp' of system 7." in told


@given(
    st.dictionaries(st.text(), st.none() | st.integers(0, 9), max_size=4),
    st.dictionaries(st.text(), st.none() | st.integers(0, 9), max_size=4),
)
def test_no_table_in_which_something_changed_is_left_out(
    then: dict[str, int | None], now: dict[str, int | None]
) -> None:
    told = {table.table for table in stated(then, now).tables}
    for name in then.keys() | now.keys():
        before, after = then.get(name, 0), now.get(name, 0)
        assert (name in told) == (before is None or after is None or before != after)


def test_what_grew_since_it_was_confirmed_is_refused_with_its_tables() -> None:
    statement = stated({"a": 5, "b": 5}, {"a": 6, "b": 5})
    must_cover(statement, stated({"a": 5, "b": 5}, {"a": 6, "b": 3}, made_at=NOW + timedelta(hours=2)))
    with pytest.raises(RestoreUnconfirmed, match="somebody has written") as refused:
        must_cover(statement, stated({"a": 5, "b": 5}, {"a": 7, "b": 6}))
    assert refused.value.seen.split("; ") == [
        "a: at least 2 rows are lost, 1 were confirmed",
        "b: at least 1 rows are lost, 0 were confirmed",
    ]


def confirmed(statement: RestoreLoss, **more: object) -> LossConfirmation:
    return LossConfirmation.model_validate({"digest": statement.digest, "by": "anna", "reason": "damaged", **more})


def test_a_confirmation_is_of_this_statement() -> None:
    statement = stated({"a": 5}, {"a": 6})
    must_be_confirmed(statement, confirmed(statement), now=NOW)
    others = [
        stated({"a": 5}, {"a": 7}),
        stated({"a": 5}, {"a": 6}, made_at=NOW + timedelta(seconds=1)),
        statement.model_copy(update={"backup_sha256": "b" * 64}),
    ]
    for other in others:
        with pytest.raises(RestoreUnconfirmed, match="another statement"):
            must_be_confirmed(other, confirmed(statement), now=NOW)


def test_nobody_and_too_late_are_refused() -> None:
    statement = stated({}, {})
    for nobody in (None, confirmed(statement, by=""), confirmed(statement, reason=" ")):
        with pytest.raises(RestoreUnconfirmed, match="nobody"):
            must_be_confirmed(statement, nobody, now=NOW)
    must_be_confirmed(statement, confirmed(statement), now=NOW + timedelta(minutes=59))
    with pytest.raises(RestoreUnconfirmed, match="older than an hour"):
        must_be_confirmed(statement, confirmed(statement), now=NOW + timedelta(minutes=61))
    must_be_confirmed(statement, confirmed(statement), now=None)  # what has begun in time may take longer
    with pytest.raises(RestoreUnconfirmed, match="nobody"):
        must_be_confirmed(statement, None, now=None)


@pytest.mark.parametrize(("minutes", "left"), [(0, 55), (54, 1), (55, 0), (90, -35)])
def test_an_answer_leaves_the_restore_time_to_begin(minutes: int, left: int) -> None:
    assert still_answerable(NOW, now=NOW + timedelta(minutes=minutes)) == timedelta(minutes=left)


def test_the_digest_is_the_same_after_it_was_recorded() -> None:
    statement = stated({"ä": 5}, {"ä": None})
    assert RestoreLoss.model_validate_json(statement.model_dump_json()).digest == statement.digest
