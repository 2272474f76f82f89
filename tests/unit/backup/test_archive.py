"""An archive at a glance: its first bytes, its table of contents, what is missing, whose it is."""

from __future__ import annotations

import pytest

from include.backup.archive import missing, must_be_archive, must_belong, read_contents
from include.database.inventory import LARGE_OBJECTS, Inventory, Thing
from include.errors import ArchiveForeign, ArchiveUnusable
from tests.unit.backup.test_loss import manifest

LISTING = """;
; Archive created at 2026-03-01 12:00:00 UTC
;     dbname: erp
;     TOC Entries: 6
;     Compression: gzip
;     Dumped from database version: 18.4
;     Dumped by pg_dump version: 18.4
;
;
; Selected TOC Entries:
;
5; 2615 16400 SCHEMA - Größe "A" b owner
215; 1259 16385 TABLE public TABLE DATA owner
3401; 0 16385 TABLE DATA public TABLE DATA owner
3402; 0 0 BLOBS - BLOBS
3250; 2606 16390 CONSTRAINT public x_pkey owner
"""
TABLE = Thing(kind="table", name="public.x", definition="", entry=(1259, 16385))


def inventory(*things: Thing, data: tuple[int, ...] = (16385,), large: int = 0) -> Inventory:
    return Inventory(things=things, sequences={}, rows={LARGE_OBJECTS: large}, data=data)


def test_the_listing_is_understood_whatever_things_are_called() -> None:
    contents = read_contents(LISTING)
    assert (contents.database, contents.server, contents.large_objects) == ("erp", "18.4", True)
    assert contents.entries >= {(2615, 16400), (1259, 16385), (2606, 16390)}
    assert contents.data == {16385}
    with pytest.raises(ArchiveUnusable):
        read_contents("")


def test_nothing_is_missing_when_all_is_there() -> None:
    column = Thing(kind="column", name="public.x.a", definition="integer")
    assert missing(inventory(TABLE, column, large=1), read_contents(LISTING)) == ()


def test_every_missing_thing_has_its_sentence() -> None:
    enum = Thing(kind="enum", name="public.status", definition="'a'", entry=(1247, 16500))
    other = Thing(kind="table", name="public.y", definition="", entry=(1259, 16386))
    contents = read_contents(LISTING.replace("BLOBS", "COMMENT"))
    assert missing(inventory(TABLE, enum, other, data=(16385, 16386, 9), large=2), contents) == (
        "enum public.status is not in the archive",
        "table public.y is not in the archive",
        "the rows of public.y are not in the archive",
        "the rows of table number 9 are not in the archive",
        "the large objects are not in the archive",
    )


@pytest.mark.parametrize(
    ("beginning", "told"),
    [
        (b"", "an empty file"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"--\n-- PostgreSQL", "an SQL script"),
        (b"PK\x03\x04", "a zip file"),
        (b"<html>", "something else"),
    ],
)
def test_what_is_no_archive_is_named(beginning: bytes, told: str) -> None:
    with pytest.raises(ArchiveUnusable, match=told):
        must_be_archive(beginning, where="x")
    must_be_archive(b"PGDMP\x01", where="x")


def test_an_archive_belongs_to_its_manifest() -> None:
    must_belong(manifest({}), read_contents(LISTING))
    for change in (("dbname: erp", "dbname: other"), ("version: 18.4", "version: 17.1")):
        with pytest.raises(ArchiveForeign):
            must_belong(manifest({}), read_contents(LISTING.replace(*change)))
