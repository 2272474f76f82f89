from __future__ import annotations

import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from include.errors import InvalidPlan, UnknownEnvironment, UnknownRelease
from include.plan.loader import conflicts_of, load_plan, plan_folder
from include.plan.models import Environment
from include.plan.source import LARGEST_BYTES, Source
from include.plan.validation import faults, refuse_faults
from tests.unit.plan.test_models import ENVIRONMENT, RELEASE

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MARKUP = "ab:-[]{}#&*!|>'\"\\ \n\t01."


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "releases").mkdir()
    (tmp_path / "environments").mkdir()
    (tmp_path / "charts" / "erp").mkdir(parents=True)
    (tmp_path / "charts" / "erp" / "Chart.yaml").write_text("name: erp\n")
    (tmp_path / "releases" / "3.0.0.yaml").write_text(yaml.safe_dump(RELEASE, sort_keys=False))
    (tmp_path / "environments" / "production.yaml").write_text(yaml.safe_dump(ENVIRONMENT, sort_keys=False))
    return tmp_path


def problem(folder):
    plan = load_plan(folder)
    assert len(plan.problems) == 1
    return plan.problems[0].what


class TestThePlanThatShips:
    plan = load_plan(plan_folder())

    def test_is_whole(self):
        assert self.plan.problems == ()
        assert set(self.plan.environments) == {"staging", "production"}
        assert self.plan.release("3.0.0").previous == "2.9.0"

    def test_says_what_the_deployment_plan_says(self):
        production = self.plan.environment("production")
        assert (production.namespace, production.replicas) == ("production", 3)
        assert production.traffic.public_url == "https://erp.valeo.example.com"
        assert production.traffic.preview_url == "https://erp-green.valeo.example.com"
        assert production.messages.status_channel == "#valeo-erp-status"
        assert production.messages.alerts_channel == "#valeo-erp-alerts"
        assert set(production.gate.roles) == {"technical-lead", "business-owner", "on-call-lead"}
        triggers, criteria = production.slo.triggers, production.slo.criteria
        assert (triggers.error_rate.limit, triggers.p95_seconds.limit, triggers.down_seconds) == (0.05, 2.0, 300)
        assert (criteria.error_rate.limit, criteria.p95_seconds.limit) == (0.01, 0.5)
        limits = {name: rule.limit for name, rule in production.slo.named() if name.startswith("criteria.")}
        assert limits["criteria.memory_bytes"] == 1e9
        assert limits["criteria.cpu_ratio"] == 0.5
        assert limits["criteria.sse_connections"] == 100
        assert {"criteria.memory_growth_ratio", "criteria.sse_reconnect_ratio"} <= set(limits)
        assert (criteria.pods, criteria.logs) == (True, True)
        assert production.watch.seconds == 3600

    def test_environments_do_not_share_what_must_be_apart(self):
        staging, production = self.plan.environment("staging"), self.plan.environment("production")
        assert staging.namespace != production.namespace
        assert staging.helm_release != production.helm_release
        assert staging.connections.kubernetes != production.connections.kubernetes

    def test_has_its_chart_beside_it(self):
        for environment in self.plan.environments.values():
            assert (self.plan.chart(environment) / "Chart.yaml").is_file()


def test_the_folder_can_be_named(monkeypatch, folder):
    monkeypatch.setenv("STELLWERK_PLAN", str(folder))
    assert plan_folder() == folder
    monkeypatch.setenv("STELLWERK_PLAN", "")
    assert plan_folder().name == "include"


def test_unknown_names_tell_what_exists(folder):
    plan = load_plan(folder)
    with pytest.raises(UnknownRelease, match=r"release '9.9.9' is not in the plan.*one of 3.0.0.*9.9.9.yaml"):
        plan.release("9.9.9")
    with pytest.raises(UnknownEnvironment, match=r"environment 'qa' is not in the plan.*one of production"):
        plan.environment("qa")


def test_one_broken_file_does_not_hide_the_others(folder):
    (folder / "releases" / "3.1.0.yaml").write_text("version: [\n")
    plan = load_plan(folder)
    assert plan.release("3.0.0").version == "3.0.0"
    with pytest.raises(InvalidPlan, match=r"3\.1\.0\.yaml:2: "):
        plan.release("3.1.0")
    with pytest.raises(UnknownRelease, match=r"1 file\(s\) of the plan are broken"):
        plan.release("9.9.9")


def test_a_wrong_value_is_named_with_its_line(folder):
    file = folder / "environments" / "production.yaml"
    text = file.read_text().replace("path: /healthz", "path: healthz")
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "path: healthz" in row)
    file.write_text(text)
    assert problem(folder) == f"{file}:{line}: smoke.0.path: 'healthz' is not a path like /healthz"


def test_several_wrong_values_are_all_named(folder):
    file = folder / "releases" / "3.0.0.yaml"
    file.write_text(file.read_text().replace("2.9.0", "2.9").replace("Europe/Berlin", "Nowhere") + "extra: 1\n")
    said = problem(folder)
    assert said.startswith(f"{file}:2: previous:")
    assert "line 4: timezone:" in said
    assert "line 8: extra:" in said


def test_a_missing_key_points_at_what_should_hold_it(folder):
    file = folder / "environments" / "production.yaml"
    file.write_text(file.read_text().replace("  preview_service: erp-preview\n", ""))
    assert "traffic.preview_service: is missing: add it" in problem(folder)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("version: 3.0.0\nversion: 3.0.1\n", "2: the key 'version' appears twice (first in line 1)"),
        ("image:\n  tag: a\n  tag: b\n", "3: the key 'tag' appears twice (first in line 2)"),
        ("yes: 1\n", "1: the key True is not text: put it in quotes"),
        ("[1]: 1\n", "1: the key [1] is not text"),
        ("- a\n", "1: not a mapping"),
        ("", "1: not a mapping"),
        ("a: !!python/object:os.system {}\n", "1: could not determine a constructor"),
        ("a: b\n--- \nc: d\n", "2: but found another document"),
        ("a: *nothing\n", "1: anchors and aliases (& and *) are not allowed"),
        ("b: 1\na: &a [*a]\n", "2: anchors and aliases (& and *) are not allowed"),
        ("\tx: 1\n", "1: found character that cannot start any token (a tab? indent with spaces)"),
    ],
)
def test_yaml_that_is_not_what_it_seems(folder, text, why):
    file = folder / "releases" / "3.0.0.yaml"
    file.write_text(text)
    assert f"{file}:{why}" in problem(folder)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: " + "[" * 5_000 + "]" * 5_000, "1: nested more than 20 levels deep"),
        ("a: " + "[" * 200_000, "1: "),
        ("a: " + "{a: " * 2_000 + "1" + "}" * 2_000, "1: nested more than 20 levels deep"),
        ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "1: anchors and aliases"),
        ("a: " + "x" * LARGEST_BYTES, f"1: larger than {LARGEST_BYTES} bytes"),
        ("a: !!binary aGk=\n", "1: could not determine a constructor"),
        ("a: !!set {x, y}\n", "1: could not determine a constructor"),
    ],
    ids=["deep", "deeper", "deep mapping", "aliases", "large", "binary", "set"],
)
def test_a_bomb_goes_off_nowhere(folder, text, why):
    file = folder / "releases" / "3.0.0.yaml"
    file.write_text(text)
    assert f"{file}:{why}" in problem(folder)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10:00", "10:00"),
        ("08:30", "08:30"),
        ("2030-01-01", "2030-01-01"),
        ("010", "010"),
        ("3.0.0", "3.0.0"),
        ("1_000_000", 1_000_000),
        ("-5", -5),
        ("0", 0),
        ("0.05", 0.05),
        ("1e3", 1000.0),
        (".5", ".5"),
        ("yes", True),
        ("~", None),
        ("", None),
        ("=", "="),
    ],
)
def test_a_value_is_what_it_looks_like(tmp_path, text, expected):
    (tmp_path / "a.yaml").write_text(f"a: {text}\n")
    found = Source(tmp_path / "a.yaml").content["a"]
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("chart: charts/erp", "replicas: '3'\nchart: charts/erp", "replicas: Input should be a valid integer"),
        ("chart: charts/erp", "replicas: yes\nchart: charts/erp", "replicas: Input should be a valid integer"),
        ("chart: charts/erp", "replicas: 2.5\nchart: charts/erp", "replicas: Input should be a valid integer"),
        (
            "chart: charts/erp",
            "watch: {seconds: '60'}\nchart: charts/erp",
            "watch.seconds: Input should be a valid",
        ),
        (
            "chart: charts/erp",
            "slo: {criteria: {pods: 'no'}}\nchart: charts/erp",
            "criteria.pods: Input should be",
        ),
        ("namespace: production", "namespace: 5", "namespace: Input should be a valid string"),
        ("namespace: production", "namespace: [production]", "namespace: Input should be a valid string"),
        ("chart: charts/erp", "watch: {seconds: .nan}\nchart: charts/erp", "watch.seconds: Input should be"),
    ],
)
def test_a_wrong_type_is_not_made_to_fit(folder, before, after, why):
    file = folder / "environments" / "production.yaml"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))
    assert why in problem(folder)


@pytest.mark.parametrize(
    ("more", "line", "why"),
    [
        (
            "timeline:\n  final-check: {at: T-1 09:00}\n  staging-deploy:\n    at: T+1 09:00\n",
            9,
            "timeline.final-check",
        ),
        ("day:\n  cutover: 12:00\n  clean_up: 11:45\n", 10, "day.clean_up: clean_up (11:45) has to come after"),
        ("timeline:\n  staging-deploy:\n    after: [post-release]\n", 10, "timeline.staging-deploy.after: post-"),
    ],
)
def test_values_that_do_not_fit_together_are_named_where_they_stand(folder, more, line, why):
    file = folder / "releases" / "3.0.0.yaml"
    file.write_text(file.read_text() + more)
    assert problem(folder).startswith(f"{file}:{line}: {why}")


def test_a_role_that_nobody_has_is_named_where_it_stands(folder):
    file = folder / "environments" / "production.yaml"
    before = len(file.read_text().splitlines())
    file.write_text(
        file.read_text() + "checklists:\n  standby:\n    - {text: ready, role: technical-lead}\n"
        "    - {text: set, role: captain}\n"
    )
    said = problem(folder)
    assert said.startswith(f"{file}:{before + 4}: checklists.standby.1.role: there is no role 'captain': ")
    assert "business-owner, technical-lead; add who has it" in said


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("sign_off: [captain]\n", "sign_off.0: there is no role 'captain'"),
        ("people: {technical-lead: [eve]}\n", "people.technical-lead: technical-lead is a role of the gate"),
        ("people: {crew: []}\n", "people.crew: Tuple should have at least 1 item"),
        ("contacts: [{name: Eve}]\n", "contacts.0: Eve has neither phone nor mail"),
        ("checklists: {standby: [{text: a}]}\n", "give exactly one of role, rule and task"),
        ("checklists: {standby: [{text: a, rule: criteria.speed}]}\n", "there is no rule 'criteria.speed'"),
        ("checklists: {standby: []}\n", "at least 1 item"),
        ("checklists: {lunch: [{text: a, role: technical-lead}]}\n", "checklists.lunch: Input should be"),
        ("urls: {frontend: {url: 'ftp://a'}}\n", "urls.frontend.url: 'ftp://a' is not an http(s) URL"),
    ],
)
def test_people_and_lists_that_make_no_sense(folder, more, why):
    file = folder / "environments" / "production.yaml"
    file.write_text(file.read_text() + more)
    assert why in problem(folder)


def test_what_does_not_fit_together_is_named_in_the_release_and_leaves_it_usable(folder):
    (folder / "environments" / "staging.yaml").write_text(
        yaml.safe_dump({**ENVIRONMENT, "name": "staging"}, sort_keys=False)
    )
    other = folder / "releases" / "3.0.1.yaml"
    other.write_text(yaml.safe_dump({**RELEASE, "version": "3.0.1"}, sort_keys=False))
    plan = load_plan(folder)
    found = conflicts_of(plan, NOW, frozenset())
    assert set(found) == {"3.0.1"}
    assert str(found["3.0.1"][0]).startswith(f"{other}:3: date: its release day in production begins")
    assert "do: correct the file" in str(found["3.0.1"][0])
    assert plan.release("3.0.1").version == "3.0.1", "a run that is under way goes on"
    begun = conflicts_of(plan, NOW, frozenset({"3.0.1"}))
    assert set(begun) == {"3.0.0"}
    assert "move 3.0.0: 3.0.1 has begun and keeps its place" in str(begun["3.0.0"][0])


def test_two_releases_that_meet_are_named_at_both_where_nobody_knows_which_has_begun(folder):
    (folder / "environments" / "staging.yaml").write_text(
        yaml.safe_dump({**ENVIRONMENT, "name": "staging"}, sort_keys=False)
    )
    other = folder / "releases" / "3.0.1.yaml"
    other.write_text(yaml.safe_dump({**RELEASE, "version": "3.0.1"}, sort_keys=False))
    plan = load_plan(folder)
    told = [str(fault) for fault in faults(plan, NOW)]
    assert [sum(f"{version}.yaml:" in one for one in told) for version in ("3.0.0", "3.0.1")] == [3, 3]
    for one in told:
        assert "move one of them; one that has begun keeps its place, then move the other" in one
    with pytest.raises(InvalidPlan, match=r"has 6 fault\(s\):\n.*3\.0\.0\.yaml:3"):
        refuse_faults(plan, NOW)


def test_a_version_that_two_files_describe(folder):
    file = folder / "releases" / "3.0.0.yaml"
    (folder / "releases" / "3.0.1.yaml").write_text(file.read_text())
    assert "3.0.1.yaml:1: version is '3.0.0': the file has to be called 3.0.0.yaml, and there is one" in problem(
        folder
    )
    assert load_plan(folder).release("3.0.0")


@settings(max_examples=60)
@given(st.text(max_size=200) | st.text(MARKUP, max_size=200))
def test_whatever_a_file_holds_it_is_a_release_or_a_problem_of_its_own(text):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "releases").mkdir()
        (folder / "environments").mkdir()
        (folder / "releases" / "3.0.0.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
        plan = load_plan(folder)
    (problem,) = plan.problems
    assert "3.0.0.yaml" in problem.what


@settings(max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    ),
    st.sampled_from([*Environment.model_fields]),
)
def test_whatever_a_value_is_the_environment_is_taken_or_refused_with_its_line(value, field):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "releases").mkdir()
        (folder / "environments").mkdir()
        text = yaml.safe_dump({**ENVIRONMENT, field: value}, sort_keys=False)
        (folder / "environments" / "production.yaml").write_text(text)
        plan = load_plan(folder)
    assert plan.environments or re.search(r"production\.yaml(:\d+: | cannot be read)", plan.problems[0].what)


def test_a_number_that_is_none(folder):
    file = folder / "environments" / "production.yaml"
    file.write_text(file.read_text() + "values: {a: 1e999}\n")
    assert problem(folder) == f"{file}:1: a number in it is too large, or is none"


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("timezone:", "timezome:", "timezome: is no key that belongs here: did you mean 'timezone'?"),
        (
            "image:\n  repository",
            "image:\n  repositry: x\n  repository",
            "image.repositry: is no key that belongs here: did",
        ),
        (
            "version:",
            "day: {cutower: '12:00'}\nversion:",
            "day.cutower: is no key that belongs here: did you mean 'cut",
        ),
        ("version:", "timeline: {staging_deploy: {}}\nversion:", "here: did you mean 'staging-deploy'?"),
        ("version:", "timeline: {staging-deploy: {zz: 1}}\nversion:", "here: correct its spelling, or remove it"),
        (
            "version:",
            "known_issues: [{titel: x}]\nversion:",
            "known_issues.0.titel: is no key that belongs here: did",
        ),
        ("version:", "zzz: 1\nversion:", "zzz: is no key that belongs here: correct its spelling, or remove it"),
    ],
)
def test_a_misspelt_key_is_told_with_the_one_that_was_meant(folder, before, after, why):
    file = folder / "releases" / "3.0.0.yaml"
    file.write_text(file.read_text().replace(before, after, 1))
    assert why in problem(folder)


def test_bytes_that_are_no_text(folder):
    (folder / "releases" / "3.0.0.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in problem(folder)


@pytest.mark.parametrize("name", ["3.1.0.yaml", "3.0.0.yml"])
def test_a_file_is_named_after_its_release(folder, name):
    (folder / "releases" / "3.0.0.yaml").rename(folder / "releases" / name)
    assert "the file has to be called 3.0.0.yaml" in problem(folder)


def test_a_folder_that_is_no_plan(tmp_path):
    with pytest.raises(InvalidPlan, match=r"no releases and no environments.*STELLWERK_PLAN"):
        load_plan(tmp_path)


def test_a_chart_is_found_beside_the_plan_or_by_its_full_path(folder, tmp_path):
    plan = load_plan(folder)
    environment = plan.environment("production")
    assert plan.chart(environment) == folder / "charts" / "erp"
    absolute = environment.model_copy(update={"chart": str(folder / "charts" / "erp")})
    assert plan.chart(absolute) == folder / "charts" / "erp"
    with pytest.raises(InvalidPlan, match=r"is not a Helm chart.*no such folder.*production\.yaml"):
        plan.chart(environment.model_copy(update={"chart": "charts/nowhere"}))
    with pytest.raises(InvalidPlan, match=r"no Chart\.yaml"):
        plan.chart(environment.model_copy(update={"chart": str(Path(folder) / "releases")}))
