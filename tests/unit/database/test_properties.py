"""The statements that make a new database like the old one; every name and value quoted."""

from __future__ import annotations

from include.database.properties import Grant, Properties, Setting, creation, privileges, settings
from tests.unit.backup.test_preflight import PROPERTIES

NAME = 'erp "ü" b'


def like(**more: object) -> Properties:
    return PROPERTIES.model_copy(update={"owner": 'o"w', **more})


def test_a_database_is_created_with_the_locale_of_the_old_one() -> None:
    assert creation(NAME, like()).as_string(None) == (
        'CREATE DATABASE "erp ""ü"" b" OWNER = "o""w" TEMPLATE = "template0" ENCODING = \'UTF8\' '
        "LOCALE_PROVIDER = libc LC_COLLATE = 'C' LC_CTYPE = 'C'"
    )
    icu = creation(NAME, like(provider="icu", locale="de-DE")).as_string(None)
    assert icu.endswith("LOCALE_PROVIDER = icu LC_COLLATE = 'C' LC_CTYPE = 'C' ICU_LOCALE = 'de-DE'")
    assert "BUILTIN_LOCALE = 'C.UTF-8'" in creation(NAME, like(provider="builtin", locale="C.UTF-8")).as_string(
        None
    )


def test_only_those_may_use_it_who_could() -> None:
    grants = (
        Grant(role="public", privilege="TEMPORARY", grantable=False),
        Grant(role="a b", privilege="CONNECT", grantable=True),
    )
    assert [said.as_string(None) for said in privileges("x", like(grants=grants))] == [
        'REVOKE ALL ON DATABASE "x" FROM PUBLIC, "o""w"',
        'GRANT TEMPORARY ON DATABASE "x" TO PUBLIC',
        'GRANT CONNECT ON DATABASE "x" TO "a b" WITH GRANT OPTION',
    ]


def test_what_was_set_for_it_is_set_again() -> None:
    made = (
        Setting(role="", name="search_path", value='"$user", public'),
        Setting(role="", name="work_mem", value="8MB"),
        Setting(role="r", name="app.mode", value="it's"),
    )
    assert [said.as_string(None) for said in settings("x", like(settings=made, connection_limit=5))] == [
        'ALTER DATABASE "x" CONNECTION LIMIT 5',
        'ALTER DATABASE "x" SET "search_path" TO "$user", public',
        'ALTER DATABASE "x" SET "work_mem" TO \'8MB\'',
        'ALTER ROLE "r" IN DATABASE "x" SET "app"."mode" TO \'it\'\'s\'',
    ]
