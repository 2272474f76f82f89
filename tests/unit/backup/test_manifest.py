"""A backup's manifest: what is no manifest is refused, and no id leads out of the store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.backup.manifest import Piece, archive_digest, folder_name, read_manifest
from include.errors import ArchiveUnusable
from tests.unit.backup.test_loss import manifest


def test_it_is_read_as_it_was_written() -> None:
    made = manifest({"public.größe": 5, "b": None})
    assert read_manifest(made.model_dump_json().encode(), where="x") == made
    assert made.server_major == 18


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_what_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(ArchiveUnusable, match="cannot be read"):
        read_manifest(content, where="x")


def test_one_that_was_cut_or_changed_is_refused() -> None:
    whole = manifest({"a": 1}).model_dump_json()
    for end in range(0, len(whole), 37):
        with pytest.raises(ArchiveUnusable):
            read_manifest(whole[:end].encode(), where="x")
    with pytest.raises(ArchiveUnusable, match="contradicts itself"):
        read_manifest(whole.replace('"size":3,"sha256"', '"size":4,"sha256"', 1).encode(), where="x")
    with pytest.raises(ArchiveUnusable, match="schema_version"):
        read_manifest(whole.replace('"schema_version":1', '"schema_version":2').encode(), where="x")


def test_the_digest_of_several_pieces_knows_their_names() -> None:
    one, two = (Piece(name=name, size=1, sha256=name * 64) for name in "ab")
    assert archive_digest([one]) == one.sha256
    assert archive_digest([one, two]) == archive_digest([two, one]) != archive_digest([one, one])
    swapped = one.model_copy(update={"sha256": two.sha256}), two.model_copy(update={"sha256": one.sha256})
    assert archive_digest(swapped) != archive_digest([one, two])


@given(st.text(), st.text())
def test_every_id_has_a_folder_of_its_own(one: str, two: str) -> None:
    first, second = folder_name(one), folder_name(two)
    assert (first == second) == (one == two)
    assert "/" not in first
    assert not first.startswith(".")
    assert 0 < len(first) <= 100


def test_a_plain_id_is_its_folder() -> None:
    assert folder_name("3.0.0-production-final") == "3.0.0-production-final"
    assert folder_name("../x") != "../x"
