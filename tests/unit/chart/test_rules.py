"""Every rule about one slot: what it refuses, and that a good chart passes all of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.bluegreen.state import ServicePort, ServiceState
from include.chart.context import SlotContext, target_ports
from include.chart.finding import Finding
from include.chart.images import UNTAGGED, tag_of
from include.chart.manifest import HOOK, Manifest
from include.chart.rules import check
from include.plan.models import ImageRef
from tests.unit.chart.charts import (
    DIGEST,
    ENVIRONMENT,
    Document,
    autoscaler,
    chart,
    container,
    context,
    deployment,
    labels,
    manifest,
    release,
    service,
    thing,
    workload,
)

SELECTED = ENVIRONMENT.traffic.selector_for("green")
HOOKED = {"name": "migrate", "annotations": {HOOK: "pre-install, pre-upgrade"}}


def found(*documents: Document, slot: SlotContext | None = None) -> list[Finding]:
    others = [manifest(one) for one in chart("blue")]
    return check(slot or context(), [manifest(one) for one in documents], others)


def rules(*documents: Document, severity: str = "block", slot: SlotContext | None = None) -> set[str]:
    return {one.rule for one in found(*documents, slot=slot) if one.severity == severity}


def without(document: Document, *path: str) -> Document:
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return document


def test_a_good_chart_has_no_findings() -> None:
    assert found(*chart()) == []


NO_SLOT = deployment()
del NO_SLOT["spec"]["template"]["metadata"]["labels"]["version"]
WRONG_SLOT = deployment()
WRONG_SLOT["spec"]["template"]["metadata"]["labels"]["version"] = "blue"
NO_NAME = deployment()
del NO_NAME["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]

BROKEN: list[tuple[str, str, list[Document]]] = [
    ("deployment-name", "block", [{**deployment(), "metadata": {"name": "erp"}}]),
    ("deployment-name", "block", [thing("ConfigMap", "x")]),
    ("slot-labels", "block", [NO_SLOT]),
    ("slot-labels", "block", [WRONG_SLOT]),
    ("slot-labels", "block", [NO_NAME]),
    ("foreign-pods", "block", [*chart(), workload("StatefulSet", "db-green", labels(), container())]),
    ("foreign-pods", "block", [*chart(), workload("Deployment", "broker-green", SELECTED, container())]),
    ("foreign-pods", "block", [*chart(), workload("Job", "seed-green", SELECTED, container())]),
    ("readiness-probe", "block", [deployment("green", without(container(), "readinessProbe"))]),
    ("readiness-probe", "block", [deployment("green", container(readinessProbe=None), {"name": "proxy"})]),
    ("port-name", "block", [deployment("green", container(ports=[{"name": "web", "containerPort": 8080}]))]),
    ("port-name", "block", [deployment("green", container(ports=[{"containerPort": 8080}]))]),
    ("port-name", "block", [deployment("green", without(container(), "ports"))]),
    ("release-image", "block", [deployment("green", container(image=f"other@{DIGEST[:-1]}0"))]),
    ("replicas-with-autoscaler", "block", [deployment(replicas=3), autoscaler()]),
    ("autoscaler-maximum", "block", [deployment(), autoscaler(largest=2)]),
    ("autoscaler-minimum", "warn", [deployment(), autoscaler(smallest=1)]),
    ("image-tag", "block", [deployment("green", container(image="registry.example.com:5000/erp"))]),
    ("image-tag", "block", [deployment("green", container(image="erp:latest"))]),
    ("image-tag", "block", [deployment("green", container(), {"name": "proxy"})]),
    ("image-tag", "warn", [deployment("green", container(), {"name": "proxy", "image": "envoy:1.30"})]),
    ("hook", "block", [*chart(), thing("Job", "migrate", "batch/v1") | {"metadata": HOOKED}]),
    ("hook", "block", [*chart(), thing("Pod", "migrate") | {"metadata": HOOKED}]),
    ("job", "warn", [*chart(), workload("Job", "seed-green", {"app": "seed"}, container())]),
    ("job", "warn", [*chart(), thing("CronJob", "nightly-green", "batch/v1")]),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "severity", "documents"), BROKEN)
def test_what_is_refused(rule: str, severity: str, documents: list[Document]) -> None:
    assert rule in rules(*documents, severity=severity)
    for one in found(*documents):
        assert one.what, one
        assert one.remedy, one
        assert one.rule == "deployment-name" or (one.object and one.file), one


ALLOWED: list[list[Document]] = [
    [*chart(), workload("StatefulSet", "db-green", {"app": "db", "version": "green"}, container())],
    [deployment(replicas=3)],
    [*chart(), thing("Pod", "smoke", spec={}) | {"metadata": {"name": "smoke", "annotations": {HOOK: "test"}}}],
    [*chart(), thing("ConfigMap", "conf-green") | {"metadata": HOOKED}],
    [deployment("green", {"name": "proxy", "image": f"envoy@{DIGEST}"}, container())],
]


@pytest.mark.parametrize("documents", ALLOWED)
def test_what_is_allowed(documents: list[Document]) -> None:
    assert rules(*documents) == set()


def test_a_wrong_name_does_not_hide_what_else_is_wrong() -> None:
    wrong = {**deployment("green", without(container(), "readinessProbe")), "metadata": {"name": "erp"}}
    assert {"deployment-name", "readiness-probe"} <= rules(wrong)


def test_a_tag_is_enough_and_a_registry_may_stand_before_it() -> None:
    tagged = context(image=ImageRef(repository="erp", tag="3.0.0"))
    for image in ("erp:3.0.0", "registry.example.com/erp:3.0.0"):
        documents = [deployment("green", container(image=image))]
        assert rules(*documents, slot=tagged) == set()
        assert rules(*documents, severity="warn", slot=tagged) == {"image-tag"}
    for image in ("myerp:3.0.0", "erp:3.0.01", "erp:3.0"):
        assert "release-image" in rules(deployment("green", container(image=image)), slot=tagged)


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("erp", UNTAGGED),
        ("erp:", UNTAGGED),
        ("host:5000/erp", UNTAGGED),
        ("host:5000/erp:1", "1"),
        ("erp:latest", "latest"),
        (f"erp@{DIGEST}", ""),
        (f"erp:1@{DIGEST}", ""),
    ],
)
def test_tags(image: str, tag: str) -> None:
    assert tag_of(image) == tag


def test_the_services_say_which_port_has_to_have_a_name() -> None:
    traffic = ENVIRONMENT.traffic
    ports = (ServicePort("http", 80, target="web"), ServicePort("metrics", 90, target="metrics"))
    numbered = ServiceState("preview", {}, ports=(ServicePort("http", 80, target=8080),))
    assert target_ports(traffic, [ServiceState("erp", {}, ports=ports), numbered]) == ("web",)
    assert target_ports(traffic, [numbered]) == ()


KINDS = st.sampled_from(
    ["Deployment", "StatefulSet", "Job", "CronJob", "Pod", "Service", "Ingress", "Secret", "PersistentVolumeClaim",
     "HorizontalPodAutoscaler"]
)  # fmt: skip
KEYS = st.sampled_from(
    ["metadata", "name", "namespace", "labels", "annotations", HOOK, "spec", "selector", "matchLabels", "template",
     "containers", "initContainers", "image", "ports", "replicas", "volumeClaimTemplates", "volumes", "rules",
     "host", "http", "paths", "path", "nodePort", "scaleTargetRef", "kind", "minReplicas", "maxReplicas",
     "jobTemplate", "persistentVolumeClaim", "claimName"]
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([release(), "green", "http", "a/b:c", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)
DOCUMENTS = st.builds(
    lambda kind, rest: {**rest, "kind": kind}, KINDS, st.dictionaries(KEYS, ANYTHING, max_size=5)
)


@settings(deadline=None)
@given(st.lists(DOCUMENTS, max_size=4), st.lists(DOCUMENTS, max_size=4))
def test_no_document_however_malformed_breaks_a_rule(target: list[Document], other: list[Document]) -> None:
    def rendered(documents: list[Document]) -> list[Manifest]:
        return [Manifest("c/templates/x.yaml", "", one) for one in documents]

    for one in check(context(), rendered(target), rendered(other)):
        assert str(one)


@given(st.permutations([*chart(), service("db-green", {"app": "db"})]))
def test_the_order_of_the_objects_plays_no_part(documents: list[Document]) -> None:
    assert found(*documents) == []
