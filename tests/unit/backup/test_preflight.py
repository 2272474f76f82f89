"""Why a restore would fail, each reason on its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from include.backup.described import BackupContents
from include.backup.preflight import Powers, TargetSeen, objections
from include.database.clients import Clients
from include.database.inventory import Inventory
from include.database.properties import Grant, Properties, Setting
from tests.unit.backup.test_loss import manifest

PROPERTIES = Properties(
    owner="erp",
    encoding="UTF8",
    provider="libc",
    collate="C",
    ctype="C",
    locale="",
    connection_limit=-1,
    comment="",
    settings=(Setting(role="", name="log_duration", value="on"), Setting(role="reader", name="a", value="b")),
    grants=(),
    roles=("erp", "reader"),
    owners=("erp",),
    extensions=("vector",),
)
CONTENTS = BackupContents(inventory=Inventory(things=(), sequences={}, rows={}), properties=PROPERTIES)
CLIENTS = Clients(Path("/x"), "18.4")
ALL = frozenset({"erp", "reader"})
POWERS = Powers(
    role="erp",
    superuser=False,
    creates_databases=True,
    known=ALL,
    acts_as=frozenset({"erp"}),
    extensions=frozenset({"vector"}),
    available=frozenset({"vector"}),
    alters=ALL,
    reserved=frozenset(),
    server_major=18,
)
TARGET = TargetSeen("erp", exists=True, owned=True)


def test_nothing_is_said_against_a_role_that_may_do_it_all() -> None:
    assert objections(POWERS, manifest({}), CONTENTS, CLIENTS, TARGET) == ()
    assert objections(POWERS, manifest({}), CONTENTS, CLIENTS, TargetSeen("erp", exists=False)) == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"creates_databases": False}, "may not create databases"),
        ({"known": frozenset({"erp"})}, "the role reader does not exist"),
        ({"acts_as": frozenset()}, "may not create what belongs to erp"),
        ({"available": frozenset()}, "the extension vector is not installed"),
        ({"extensions": frozenset()}, "may not create the extension vector"),
        ({"alters": frozenset({"erp"})}, "may not set a for the role reader"),
        ({"reserved": frozenset({"log_duration"})}, "may not set log_duration"),
        ({"server_major": 17}, "the backup is of PostgreSQL 18"),
        ({"server_major": 19}, "pg_restore 18.4 is older than the server"),
    ],
)
def test_each_lack_has_its_sentence(change: dict[str, object], told: str) -> None:
    found = objections(replace(POWERS, **change), manifest({}), CONTENTS, CLIENTS, TARGET)  # type: ignore[arg-type]
    assert len(found) == 1
    assert told in found[0]


def test_roles_that_only_a_grant_or_a_setting_names_have_to_exist_too() -> None:
    grants = tuple(Grant(role=role, privilege="CONNECT", grantable=False) for role in ("public", "guest"))
    settings = (Setting(role="nightly", name="work_mem", value="1GB"), Setting(role="", name="a", value="b"))
    named = PROPERTIES.model_copy(update={"grants": grants, "settings": settings})
    contents = CONTENTS.model_copy(update={"properties": named})
    guest, nightly = (f"the role {role} does not exist on the server" for role in ("guest", "nightly"))
    assert objections(POWERS, manifest({}), contents, CLIENTS, TARGET) == (guest, nightly)
    assert objections(POWERS, manifest({}), contents, CLIENTS, None) == (guest,), "it gets no settings"


def test_programs_that_an_older_server_does_not_understand() -> None:
    old = manifest({}).model_copy(update={"server_version_number": 160004})
    found = objections(replace(POWERS, server_major=16), old, CONTENTS, CLIENTS, TARGET)
    assert found == ("pg_restore 18.4 is too new for the server",)


def test_a_copy_that_takes_nobodys_place_needs_less() -> None:
    weak = replace(POWERS, alters=frozenset(), reserved=frozenset({"log_duration"}))
    assert objections(weak, manifest({}), CONTENTS, CLIENTS, None) == ()


def test_a_target_that_is_not_ours_and_sessions_that_stay() -> None:
    target = replace(TARGET, owned=False, immune=("postgres",), holders=("the prepared transaction 'x'",))
    found = objections(POWERS, manifest({}), CONTENTS, CLIENTS, target)
    assert len(found) == 3
    assert "does not own the database erp" in found[0]
    assert "may not disconnect postgres" in found[1]
    assert found[2] == "erp cannot be renamed because of the prepared transaction 'x'"
