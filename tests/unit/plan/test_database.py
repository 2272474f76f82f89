"""The database section of an environment: what is refused, and what stands where nothing is said."""

from __future__ import annotations

from copy import deepcopy

import pytest
from pydantic import ValidationError

from include.plan.database import DatabasePlan
from include.plan.loader import load_plan, plan_folder
from include.plan.models import Environment
from tests.unit.plan.test_models import ENVIRONMENT

DATABASE = {
    "connection": "erp",
    "backups": "s3://backups/erp/",
    "tree": {"folder": "/srv/{version}", "interpreter": ["/srv/{version}/python"], "config": "/srv/alembic.ini"},
}
ROLES = {"technical-lead": ["anna"], "on-call-lead": ["bo"], "business-owner": ["carl"]}


def environment(**database: object) -> Environment:
    content = {**deepcopy(ENVIRONMENT), "gate": {"roles": ROLES}, "database": {**DATABASE, **database}}
    return Environment.model_validate(content)


def test_the_defaults_are_safe() -> None:
    database = environment().database
    assert database is not None
    assert (database.backups, database.watch_seconds) == ("s3://backups/erp", 600)
    assert (database.backup.format, database.backup.verify_by_restore) == ("custom", True)
    assert (database.migration.unknown_blocks, database.migration.way_back_needed) == (True, True)
    assert (database.limits.lock_seconds, database.limits.attempts) == (5, 6)
    assert database.gate_roles == ("technical-lead", "on-call-lead")


def test_an_environment_may_leave_its_database_to_others() -> None:
    assert Environment.model_validate(ENVIRONMENT).database is None


@pytest.mark.parametrize("name", ["staging", "production"])
def test_the_plan_that_ships_has_one(name: str) -> None:
    plan = load_plan(plan_folder())
    database = plan.environment(name).database
    assert database is not None
    assert name in database.connection
    assert name in database.backups


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"connexion": "erp"}, "not permitted"),
        ({"connection": ""}, "at least 1 character"),
        ({"backups": "/srv/backups"}, "not an object storage URL"),
        ({"backups": "s3://key:secret@bucket/erp"}, "must not hold credentials"),
        ({"clients": "bin"}, "not an absolute path"),
        ({"watch_seconds": 0}, "greater than 0"),
        ({"watch_seconds": 9}, "a watch has to last at least one window"),
        ({"gate_roles": []}, "at least 1 item"),
        ({"gate_roles": ["technical-lead", "technical-lead"]}, "names a role twice"),
        ({"gate_roles": ["technical-lead", "nobody"]}, "names nobody, which is no role"),
        ({"gate_roles": ["technical-lead"]}, "the roles can be spoken for by 1 distinct user"),
        ({"backup": {"format": "directory"}}, "a folder with a bound"),
        ({"backup": {"format": "tar"}}, "'custom' or 'directory'"),
        ({"backup": {"jobs": 0}}, "greater than or equal to 1"),
        ({"backup": {"retention": {"newest": 0}}}, "greater than or equal to 1"),
        ({"limits": {"lock_seconds": 0}}, "greater than 0"),
        ({"limits": {"lock_seconds": float("nan")}}, "finite"),
        ({"limits": {"attempts": 1000}}, "less than or equal to 100"),
        ({"migration": {"rules": {"drop-column": "ignore"}}}, "'block' or 'warn'"),
        ({"migration": {"accepted": [{"rule": "drop-column", "by": "anna"}]}}, "Field required"),
        ({"migration": {"accepted": [{"rule": "drop-column", "by": "", "reason": "r"}]}}, "at least 1 character"),
        ({"rehearsal": {"old_version": {"program": ["suite"]}}}, "not an absolute path"),
        ({"rehearsal": {"old_version": {"program": []}}}, "at least 1 item"),
        ({"tree": {"folder": "/srv", "interpreter": ["/python"]}}, "nobody knows where env.py is"),
        ({"tree": {**DATABASE["tree"], "folder": "srv"}}, "not an absolute path"),
        ({"tree": {**DATABASE["tree"], "folder": "/srv/{release}"}}, "names something that nobody fills in"),
        ({"tree": {**DATABASE["tree"], "interpreter": []}}, "at least 1 item"),
        ({"tree": {**DATABASE["tree"], "runner": "job"}}, "'process'"),
        ({"tree": {**DATABASE["tree"], "driver": "postgresql+asyncpg"}}, "psycopg"),
        ({"tree": {**DATABASE["tree"], "url_variable": "A B"}}, "pattern"),
    ],
)
def test_a_database_that_makes_no_sense(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        environment(**change)


def test_its_schema_can_be_shown_by_an_editor() -> None:
    schema = DatabasePlan.model_json_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"connection", "backups", "tree"}
