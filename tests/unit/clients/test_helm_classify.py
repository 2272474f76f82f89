"""Helm's words, as helm 3.22 and 4.3 print them, and what they mean."""

from __future__ import annotations

import pytest

from include.clients.helm.classify import classify, error_text, redact
from include.clients.helm.output import parse_history, parse_manifests
from include.clients.helm.version import HelmVersion, parse_version
from include.errors import (
    ChartDependencyMissing,
    ChartError,
    ChartKubeVersion,
    ChartUnreadable,
    ChartValueMissing,
    ChartValuesInvalid,
    ClusterRefused,
    ClusterUnreachable,
    HelmError,
    HelmPending,
    HelmReleaseMissing,
    HelmTimeout,
    HelmUnusable,
)

HELM_4_WARNING = 'level=WARN msg="unable to find exact version; falling back to closest available version"\n'

WORDS = [
    ("UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress", HelmPending),
    ("UPGRADE FAILED: release: already exists", HelmPending),
    ("INSTALLATION FAILED: cannot re-use a name that is still in use", HelmPending),
    ('UPGRADE FAILED: "app" has no deployed releases', HelmPending),
    ("release: not found", HelmReleaseMissing),
    ("release has no 99 version", HelmReleaseMissing),
    ("uninstall: Release not loaded: app: release: not found", HelmReleaseMissing),
    ("UPGRADE FAILED: context deadline exceeded", HelmTimeout),
    (
        "UPGRADE FAILED: resource Deployment/d2/app not ready. status: InProgress\ncontext deadline exceeded",
        HelmTimeout,
    ),
    ('kubernetes cluster unreachable: Get "http://localhost:8080/version": connect: refused', ClusterUnreachable),
    ("Kubernetes cluster unreachable: context deadline exceeded", ClusterUnreachable),
    ("query: failed to query with labels: dial tcp 127.0.0.1:1: connect: connection refused", ClusterUnreachable),
    ("chart dependencies: found in Chart.yaml, but missing in charts/ directory: x", ChartDependencyMissing),
    ("execution error at (app/templates/a.yaml:1:3): image.tag is required", ChartError),
    ("execution error at (app/templates/a.yaml:1:3): cluster unreachable, says the chart", ChartError),
    ("parse error at (app/templates/a.yaml:3): unclosed action", ChartError),
    ("YAML parse error on app/templates/a.yaml: error converting YAML to JSON", ChartError),
    ("path \"/nowhere\" not found", ChartUnreadable),
    ("non-absolute URLs should be in form of repo_name/path_to_chart, got: nowhere", ChartUnreadable),
    ("error unpacking subchart sub-1.0.0.tgz in tiny: unexpected EOF", ChartUnreadable),
    ("error unpacking subchart sub-1.0.0.tgz in tiny: gzip: invalid header", ChartUnreadable),
    ("file '/c.tgz' does not appear to be a gzipped archive; got 'application/octet-stream'", ChartUnreadable),
    ("unable to detect chart at /c/Chart.yaml: open /c/Chart.yaml: no such file or directory", ChartUnreadable),
    ("chart requires kubeVersion: >=1.99.0 which is incompatible with Kubernetes v1.34.4", ChartKubeVersion),
    ("template: c/templates/a.yaml:4:13: executing \"a\" at <.Values.a.b>: nil pointer evaluating interface {}.b",
     ChartValueMissing),
    ("tiny/templates/a.yaml:4:18\n  executing \"a\" at <upper>:\n    invalid value; expected string",
     ChartValueMissing),
    ("executing \"a\" at <.Values.a>: wrong type for value; expected string; got interface {}", ChartValueMissing),
    ("cannot load values.yaml: error unmarshaling JSON: json: cannot unmarshal array", ChartValuesInvalid),
    ("failed to parse -: error unmarshaling JSON: json: cannot unmarshal array", ChartValuesInvalid),
    ("values don't meet the specifications of the schema(s) in the following chart(s)", ChartValuesInvalid),
    ('unable to build kubernetes objects: no matches for kind "Bogus" in version "x/v1"', ChartError),
    ('Deployment.apps "app" is invalid: spec.template.spec.containers[0].image: Required value', ChartError),
    ('Service "app" exists and cannot be imported into the current release: invalid ownership', ChartError),
    ('secrets is forbidden: User "x" cannot list resource "secrets" in API group ""', ClusterRefused),
    ("kubernetes cluster unreachable: the server has asked for the client to provide credentials", ClusterRefused),
    ("conflict occurred while applying object d2/app: Apply failed with 1 conflict", ClusterRefused),
    ('admission webhook "policy.example.com" denied the request: no latest tags', ClusterRefused),
    ('create: failed to create: namespaces "d2" not found', ClusterRefused),
    ("plugin exploded", HelmError),
]  # fmt: skip


@pytest.mark.parametrize(("words", "kind"), WORDS)
@pytest.mark.parametrize("before", ["", HELM_4_WARNING, "W1123 21:36:29.720785    1 warnings.go:70] deprecated\n"])
def test_what_helm_says(words, kind, before):
    error = classify(1, "", f"{before}Error: {words}\n", action="helm upgrade of app")
    assert type(error) is kind
    assert error.what == "helm upgrade of app failed"
    assert error.seen.startswith("Error: ")
    assert error.remedy


def test_success_is_no_error_whatever_it_warned():
    assert classify(0, "", HELM_4_WARNING + "Error: not really", action="x") is None


def test_a_killed_helm_leaves_its_release_pending():
    error = classify(-9, "", "", action="helm upgrade of app")
    assert isinstance(error, HelmPending)
    assert "signal 9" in error.what


def test_refusals_carry_a_status():
    error = classify(1, "", "Error: secrets is forbidden: User", action="x")
    assert isinstance(error, ClusterRefused)
    assert error.status == 403


def test_case_does_not_matter():
    assert isinstance(classify(1, "", "Error: CLUSTER UNREACHABLE", action="x"), ClusterUnreachable)


def test_no_words_and_too_many():
    assert error_text("", "") == "no words"
    assert error_text("out", "") == "out"
    assert len(error_text("", "Error: " + "x" * 5000)) < 1000


def test_secrets_of_the_values_are_not_repeated():
    values = {
        "database": {"password": "hunter2!", "host": "db"},
        "databaseUrl": "postgresql://u:p@db",
        "tokens": ["abcdef"],
        "image": {"tag": "3.0.0"},
        "adminPassword": "x",
    }
    text = "Error: at '/database/password': 'hunter2!' fails; postgresql://u:p@db abcdef 3.0.0 x"
    assert redact(text, values) == "Error: at '/database/password': '***' fails; *** *** 3.0.0 x"


@pytest.mark.parametrize(
    ("text", "major", "minor"),
    [("v4.3.1+gabc\n", 4, 3), ("v3.22.0", 3, 22), (HELM_4_WARNING + "v4.0\n", 4, 0), ("v3.12.0-rc.1", 3, 12)],
)
def test_versions(text, major, minor):
    version = parse_version(text)
    assert (version.major, version.minor) == (major, minor)


@pytest.mark.parametrize("text", ["", "Client: &version.Version{}", "v2.17.0", "v3.2.4", "v5.0.0"])
def test_versions_that_are_not_supported(text):
    with pytest.raises(HelmUnusable):
        parse_version(text)


def test_the_option_that_undoes_a_failed_upgrade_was_renamed():
    three, four = HelmVersion(3, 22, "v3.22.0"), HelmVersion(4, 3, "v4.3.1")
    assert three.upgrade_options(wait=True, rollback_on_failure=True) == ["--wait", "--atomic"]
    assert four.upgrade_options(wait=True, rollback_on_failure=True) == ["--wait", "--rollback-on-failure"]
    assert four.upgrade_options(wait=False, rollback_on_failure=False) == []


def test_history():
    output = """[{"revision":2,"updated":"2026-11-23T21:36:29.720785123+01:00","status":"failed",
    "chart":"erp-1.0.0","app_version":"3.0.0","description":"Upgrade \\"app\\" failed"},
    {"revision":1,"updated":"0001-01-01T00:00:00Z","status":"deployed","chart":"erp-1.0.0"}]"""
    first, second = parse_history(output)
    assert (first.revision, first.status, first.description, first.updated) == (1, "deployed", "", None)
    assert (second.revision, second.chart, second.app_version) == (2, "erp-1.0.0", "3.0.0")
    assert second.updated is not None
    assert second.updated.microsecond == 720785


@pytest.mark.parametrize("output", ["", "{}", "[{}]", "[1]", "Error"])
def test_history_that_cannot_be_read(output):
    if output == "{}":
        assert parse_history(output) == ()
    else:
        with pytest.raises(HelmError):
            parse_history(output)


def test_manifests():
    output = "---\n# Source: a.yaml\nkind: Service\n---\n# nothing\n---\nkind: Deployment\nspec: {replicas: 2}\n"
    service, deployment = parse_manifests(output, chart="erp")
    assert (service.kind, service.source) == ("Service", "a.yaml")
    assert (deployment.kind, deployment.source, deployment.document["spec"]) == ("Deployment", "", {"replicas": 2})


def test_a_list_is_taken_apart():
    output = "---\n# Source: c/templates/a.yaml\nkind: List\nitems: [{kind: Service}, {kind: Secret}]\n"
    assert [(one.kind, one.source) for one in parse_manifests(output, chart="erp")] == [
        ("Service", "c/templates/a.yaml"),
        ("Secret", "c/templates/a.yaml"),
    ]


@pytest.mark.parametrize("output", ["kind: [", "- a", "just text", "apiVersion: v1"])
def test_manifests_that_are_none(output):
    with pytest.raises(ChartError, match="erp"):
        parse_manifests(output, chart="erp")
