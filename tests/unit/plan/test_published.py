"""What editors are told is what the loader takes."""

from __future__ import annotations

import json
import string

import jsonschema
import pytest

from include.plan.loader import load_plan, plan_folder
from include.plan.published import FOLDER, schemas
from include.plan.source import Source
from include.sandbox.environment import PLAN_TEMPLATE

KINDS = {"release": "releases", "environment": "environments"}
PLACEHOLDERS = {
    **dict.fromkeys(("WATCH_SECONDS", "MIGRATION_WATCH_SECONDS", "GATE_SECONDS", "SCRAPE_SECONDS"), "20"),
    **dict.fromkeys(("PUBLIC_URL", "PREVIEW_URL", "IDENTITY_URL"), "http://127.0.0.1:1"),
    **dict.fromkeys(("CHART", "PG_CLIENTS", "ERP_TREES", "PYTHON"), "/srv/x"),
    "NAMESPACE": "production",
    "ACCOUNTS": '{"technical-lead": "3"}',
    "METRICS_SOURCE": "openmetrics",
    "BACKUPS_URL": "file:///srv/backups",
}


def validator(kind):
    return jsonschema.Draft202012Validator(json.loads((FOLDER / f"{kind}.schema.json").read_text()))


def read(file):
    return Source(file).content


def test_the_published_schemas_are_current():
    """`make schemas` writes them."""
    for file, text in schemas().items():
        assert file.read_text(encoding="utf-8") == text, f"{file.name} is out of date: run `make schemas`"
    assert {file.name for file in FOLDER.iterdir()} == {file.name for file in schemas()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_that_ships_names_its_schema_and_fits_it(kind):
    files = sorted((plan_folder() / KINDS[kind]).glob("*.yaml"))
    assert files
    for file in files:
        first = file.read_text().splitlines()[0]
        assert first == f"# yaml-language-server: $schema=../schemas/{kind}.schema.json"
        assert [f"{list(e.absolute_path)}: {e.message}" for e in validator(kind).iter_errors(read(file))] == []


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("release", {"timeline": {"staging-deploy": {"at": "T-3"}}}),
        ("release", {"timeline": {"staging_deploy": {"at": "T-3 09:00"}}}),
        ("release", {"day": {"cutover": "12:60"}}),
        ("release", {"relase": 1}),
        ("environment", {"drain": "kill"}),
        ("environment", {"traffic": {}}),
        ("environment", {"replicas": "3"}),
        ("environment", {"checklists": {"lunch": []}}),
    ],
)
def test_an_editor_shows_what_the_loader_refuses(kind, change):
    name = "3.0.0" if kind == "release" else "production"
    content = {**read(plan_folder() / KINDS[kind] / f"{name}.yaml"), **change}
    assert list(validator(kind).iter_errors(content))


def test_short_forms_are_taken_and_what_is_observed_is_not_offered():
    text = (FOLDER / "environment.schema.json").read_text()
    assert "legacy" not in json.loads(text)["$defs"]["Traffic"]["properties"]
    production = read(plan_folder() / "environments" / "production.yaml")
    assert production["slo"]["criteria"]["error_rate"] == 0.01


def test_the_plan_of_the_sandbox_is_in_order(tmp_path):
    for file in PLAN_TEMPLATE.rglob("*.yaml"):
        target = tmp_path / file.relative_to(PLAN_TEMPLATE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(string.Template(file.read_text()).substitute(PLACEHOLDERS))
    assert load_plan(tmp_path).problems == ()


def test_keys_are_explained_in_the_words_of_the_models():
    content = json.loads((FOLDER / "release.schema.json").read_text())
    assert content["properties"]["date"]["description"] == "T-0, the day of the release, in `timezone`"
    late = content["$defs"]["PhasePlan"]["properties"]["late_minutes"]["description"]
    assert late == "so long after its time the calendar still starts it; later it is only reported"
    assert content["description"] == "One version going live."
