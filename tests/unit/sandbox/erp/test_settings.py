"""Settings: what is missing is named; versions and revisions are ordered."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from include.sandbox.erp.app.faults import Fault
from include.sandbox.erp.app.logs import JsonFormatter
from include.sandbox.erp.app.settings import Release, Settings, revision_number, version_key

NEEDED = {"DATABASE_URL": "postgresql://u:secret@h/d", "APP_VERSION": "3.0.0"}


def test_the_defaults_suit_a_container() -> None:
    settings = Settings.from_environment(NEEDED, release=Release(3))
    assert (settings.address, settings.port, settings.slot) == ("0.0.0.0", 8080, "none")
    assert settings.drain_seconds == 3
    assert "secret" not in repr(settings)


def test_the_environment_is_heeded() -> None:
    env = {
        **NEEDED,
        "BIND_ADDRESS": "127.244.1.2",
        "PORT": "9000",
        "SLOT": "blue",
        "POD_NAME": "p",
        "DRAIN_SECONDS": "1.5",
        "FAULTS": '{"latency_seconds": 1}',
    }
    settings = Settings.from_environment(env, release=Release())
    assert (settings.address, settings.port, settings.slot, settings.pod) == ("127.244.1.2", 9000, "blue", "p")
    assert settings.drain_seconds == 1.5
    assert settings.faults.latency_seconds == Fault(1.0)


def test_missing_variables_are_named() -> None:
    with pytest.raises(ValueError, match="DATABASE_URL, APP_VERSION"):
        Settings.from_environment({}, release=Release())


def test_the_release_is_read_from_the_image(tmp_path: Path) -> None:
    file = tmp_path / "release.json"
    file.write_text(json.dumps({"revision": 3, "features": ["delivery_date"]}))
    assert Release.load(file) == Release(3, frozenset({"delivery_date"}))


def test_versions_and_revisions_are_ordered_by_number() -> None:
    assert version_key("2.9.0") < version_key("2.10.0") < version_key("3.0.0-rc.1") == version_key("3.0.0")
    assert version_key("") == ()
    assert revision_number("0003_delivery_date") == 3
    assert revision_number("head") == 0


def test_a_log_line_is_json_with_identity_fields_and_exception() -> None:
    settings = Settings.from_environment({**NEEDED, "SLOT": "green", "POD_NAME": "p"}, release=Release())
    try:
        int("x")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("erp", logging.ERROR, "f", 1, "no %s", ("luck",), info)
    record.fields = {"request_id": "abc"}
    line = JsonFormatter(settings).format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert found["message"] == "no luck"
    assert (found["slot"], found["version"], found["pod"], found["level"]) == ("green", "3.0.0", "p", "error")
    assert found["request_id"] == "abc"
    assert "ValueError" in found["exception"]
