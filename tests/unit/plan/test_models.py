from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from include.plan.models import Environment, Gate, ImageRef, Release, SloRules, Watch
from include.plan.rules import Criteria, Triggers
from include.plan.slots import other

RELEASE = {
    "version": "3.0.0",
    "previous": "2.9.0",
    "date": "2030-05-01",
    "timezone": "Europe/Berlin",
    "image": {"repository": "registry.example.com:5000/erp", "tag": "3.0.0"},
}
ENVIRONMENT = {
    "name": "production",
    "application": "erp",
    "namespace": "production",
    "chart": "charts/erp",
    "helm_release": "erp-production",
    "connections": {"kubernetes": "k", "ledger": "l", "slack": "s", "smtp": "m"},
    "traffic": {
        "service": "erp",
        "preview_service": "erp-preview",
        "selector": {"app.kubernetes.io/name": "erp"},
        "public_url": "https://erp.example.com/",
        "preview_url": "https://erp-green.example.com",
    },
    "smoke": [{"name": "alive", "path": "/healthz"}],
    "gate": {"roles": {"technical-lead": ["anna"], "business-owner": ["bo"]}},
    "messages": {
        "status_channel": "#erp-status",
        "alerts_channel": "#erp-alerts",
        "mail_from": "stellwerk@example.com",
        "stakeholders": ["all@example.com"],
    },
}


def changed(base, path, value):
    content = deepcopy(base)
    *parents, key = path.split(".")
    place = content
    for parent in parents:
        place = place.setdefault(parent, {})
    place[key] = value
    return content


def test_the_defaults_are_the_deployment_plans():
    environment = Environment.model_validate(ENVIRONMENT)
    assert environment.slo == SloRules(
        triggers=Triggers(error_rate=0.05, p95_seconds=2.0, down_seconds=300),
        criteria=Criteria(error_rate=0.01, p95_seconds=0.5),
    )
    assert (environment.watch.seconds, environment.replicas) == (3600, 3)
    assert (environment.drain, environment.cleanup) == ("restart", "scale-to-zero")


def test_names_derived_from_a_slot():
    environment = Environment.model_validate(ENVIRONMENT)
    assert environment.slot_release("green") == "erp-production-green"
    assert environment.traffic.selector_for("green") == {"app.kubernetes.io/name": "erp", "version": "green"}
    assert environment.traffic.public_url == "https://erp.example.com"
    assert (other("blue"), other("green")) == ("green", "blue")


def test_an_image_is_named_by_tag_and_pinned_by_digest():
    digest = "sha256:" + "a" * 64
    assert ImageRef(repository="erp", tag="3.0.0").reference == "erp:3.0.0"
    assert ImageRef(repository="erp", tag="3.0.0", digest=digest).reference == f"erp:3.0.0@{digest}"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("version", "3.0", "'3.0' is not a version like 3.0.0"),
        ("version", 3.0, "valid string"),
        ("version", "03.0.0", "is not a version"),
        ("version", "3.0.0\n", "is not a version"),
        ("version", "2.9.0", "a release has to change something"),
        ("date", "someday", "valid date"),
        ("timezone", "Mars/Olympus", "not a time zone like Europe/Berlin"),
        ("timezone", "../../etc/passwd", "not a time zone"),
        ("image.tag", "", "pattern"),
        ("image.tag", "3.0.0 ; rm", "pattern"),
        ("image.digest", "sha256:abc", "pattern"),
        ("image.repository", "--help", "pattern"),
        ("relase_notes", "typo", "not permitted"),
    ],
)
def test_a_release_that_makes_no_sense(path, value, message):
    with pytest.raises(ValidationError, match=message):
        Release.model_validate(changed(RELEASE, path, value))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("name", "qa", "'staging' or 'production'"),
        ("namespace", "Production", "not a Kubernetes name"),
        ("helm_release", "x" * 48, "at most 47"),
        ("replicas", 0, "greater than or equal to 1"),
        ("traffic.preview_service", "erp", "users would see the idle slot"),
        ("traffic.selector", {}, "match every application's pods"),
        ("traffic.selector", {"version": "blue"}, "must not contain the slot label"),
        ("traffic.public_url", "erp.example.com", "not an http"),
        ("traffic.public_url", "https://u:p@erp.example.com", "must not hold credentials"),
        ("traffic.public_url", "https://erp.example.com/?a=b", "query"),
        ("traffic.health_paths", ["healthz"], "not a path like /healthz"),
        ("smoke", [], "there is no smoke check"),
        ("smoke", [{"name": "a", "path": "/"}, {"name": "a", "path": "/b"}], "smoke checks share a name: a"),
        ("slo.triggers.error_rate", 5, "less than 1"),
        ("slo.triggers.error_rate", float("nan"), "finite"),
        ("slo.triggers.error_rate", 0.001, "rolled back while it still counts as healthy"),
        ("slo.triggers.p95_seconds", 0.4, "still counts as healthy"),
        ("slo.criteria.cpu_ratio", 50, "5 % is 0.05"),
        ("slo.criteria.memory_growth_ratio", 0.1, "set that limit, too"),
        ("slo.criteria.more", [{"name": "queue-age", "limit": 3}], "needs a query"),
        (
            "slo.criteria.more",
            [{"name": "q", "limit": 3, "query": "q"}] * 2,
            "rules share a name: criteria.more.q",
        ),
        ("slo.criteria.memory_bytes", {"limit": 1, "query": "q", "source": "openmetrics"}, "answers no query"),
        ("slo.criteria.error_rate", {"limit": 0.01, "for_second": 5}, "not permitted"),
        ("watch.seconds", 5, "a watch has to last at least one window"),
        ("watch.poll_seconds", 20, "a window has to span at least one poll"),
        ("watch.seconds", float("inf"), "finite"),
        ("gate.roles", {}, "could never say Go"),
        ("gate.roles", {"technical-lead": []}, "names no user"),
        ("gate.roles", {"technical-lead": ["anna"], "business-owner": ["anna"]}, "1 distinct user"),
        ("gate.quorum", 1, "greater than or equal to 2"),
        ("gate.timout_seconds", 1, "not permitted"),
        ("messages.mail_from", "stellwerk", "not a mail address"),
        ("messages.status_channel", "", "needs quotes"),
        ("drain", "kill", "'restart' or 'leave'"),
        ("slots", {"purple": {}}, "'blue' or 'green'"),
        ("values", {"autoscaling": {"maxReplicas": 2}}, "no slot could ever be large enough"),
        ("slots", {"green": {"autoscaling": {"maxReplicas": 2}}}, "slots.green.autoscaling"),
    ],
)
def test_an_environment_that_makes_no_sense(path, value, message):
    with pytest.raises(ValidationError, match=message):
        Environment.model_validate(changed(ENVIRONMENT, path, value))


def test_models_are_frozen():
    release = Release.model_validate(RELEASE)
    with pytest.raises(ValidationError, match="frozen"):
        release.version = "3.0.1"


def test_a_quorum_needs_as_many_people():
    with pytest.raises(ValidationError, match="quorum is 3 and the roles can be spoken for by 2"):
        Gate(roles={"a": ("anna",), "b": ("bo", "anna")}, quorum=3)


@settings(deadline=None)
@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.sampled_from(["", "-rc.1", "-beta"]))
def test_every_semantic_version_is_taken(major, minor, patch, suffix):
    version = f"{major}.{minor}.{patch}{suffix}"
    assert Release.model_validate({**RELEASE, "version": version, "previous": "100.0.0"}).version == version


@settings(deadline=None)
@given(st.text(max_size=20))
def test_no_other_text_is_a_version(text):
    try:
        version = Release.model_validate({**RELEASE, "version": text, "previous": "100.0.0"}).version
    except ValidationError:
        return
    assert version.isascii()
    assert version.count(".") >= 2


def test_a_short_watch_for_a_demo_is_possible():
    assert Watch(seconds=20, poll_seconds=0.5, window_seconds=5).seconds == 20


@pytest.mark.parametrize(
    ("criteria", "watch", "message"),
    [
        ({"sse_connections": 100}, {"seconds": 120}, "event streams would never be judged"),
        ({"memory_bytes": 1e9, "memory_growth_ratio": 0.1}, {"seconds": 19}, "at least 20 polls"),
    ],
)
def test_a_watch_that_could_never_pass_is_refused(criteria, watch, message):
    with pytest.raises(ValidationError, match=message):
        Environment.model_validate({**ENVIRONMENT, "slo": {"criteria": criteria}, "watch": watch})


def test_rules_say_where_they_read():
    queue = {"name": "queue-age", "limit": 30, "query": "max(queue_age)"}
    rules = SloRules(triggers={"more": (queue,)}, criteria={"p95_seconds": {"limit": 0.5, "source": "prometheus"}})
    names = dict(rules.named())
    assert rules.source_of(names["triggers.error_rate"]) == "openmetrics"
    assert rules.source_of(names["triggers.more.queue-age"]) == "prometheus"
    assert rules.source_of(names["criteria.p95_seconds"]) == "prometheus"
    assert rules.sources == {"openmetrics", "prometheus"}
    assert SloRules(source="prometheus").sources == {"prometheus"}
