"""The two slots share nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.chart.finding import Finding
from include.chart.rules import PAIR_RULES
from include.chart.slots import TwoSlots
from include.plan.slots import Slot
from tests.unit.chart.charts import (
    ENVIRONMENT,
    Document,
    chart,
    container,
    labels,
    manifest,
    release,
    service,
    thing,
    workload,
)

PerSlot = Callable[[Slot], Document]


def findings(target: list[Document], other: list[Document]) -> list[Finding]:
    slots = TwoSlots(ENVIRONMENT, [manifest(one) for one in target], [manifest(one) for one in other])
    return [finding for rule in PAIR_RULES for finding in rule(slots)]


def of_both(make: PerSlot) -> list[Finding]:
    """What is found in a chart that has this object in both slots."""
    return findings([*chart("green"), make("green")], [*chart("blue"), make("blue")])


def ingress(name: str, host: str, path: str = "/") -> Document:
    rule = {"host": host, "http": {"paths": [{"path": path}]}}
    return thing("Ingress", name, "networking.k8s.io/v1", spec={"rules": [rule]})


def stateful(name: str, claim: str = "data") -> Document:
    templates = [{"metadata": {"name": claim}}]
    return workload("StatefulSet", name, {"app": name}, container(), volumeClaimTemplates=templates)


def mounting(slot: Slot) -> Document:
    one = workload("Deployment", f"worker-{slot}", {"app": f"worker-{slot}"}, container())
    one["spec"]["template"]["spec"]["volumes"] = [{"persistentVolumeClaim": {"claimName": "uploads"}}]
    return one


def selecting(selector: dict[str, str]) -> PerSlot:
    def make(slot: Slot) -> Document:
        one = workload("Deployment", f"worker-{slot}", {**selector, "slot": slot}, container())
        one["spec"]["selector"] = {"matchLabels": selector}
        return one

    return make


def test_slots_that_are_apart() -> None:
    assert findings(chart("green"), chart("blue")) == []
    assert of_both(lambda slot: stateful(f"db-{slot}")) == []
    assert of_both(lambda slot: ingress(f"erp-{slot}", f"{slot}.example.com")) == []
    assert of_both(lambda slot: service(f"x-{slot}", labels(slot), nodePort=30000 + len(slot))) == []


@pytest.mark.parametrize(
    ("rule", "severity", "make"),
    [
        ("slots-share-object", "block", lambda _: thing("ConfigMap", "shared")),
        ("slots-share-object", "block", lambda _: thing("ClusterRole", "erp", "rbac.authorization.k8s.io/v1")),
        ("slots-share-object", "block", lambda _: thing("PersistentVolumeClaim", "data")),
        ("slots-share-object", "block", lambda _: stateful("db")),
        ("slots-share-claim", "block", lambda _: stateful("db")),
        ("shared-volume", "warn", mounting),
        ("slots-share-route", "block", lambda slot: ingress(f"erp-{slot}", "erp.example.com")),
        ("slots-share-route", "block", lambda slot: thing("Ingress", slot, spec={"rules": [{}]})),
        ("slots-share-port", "block", lambda slot: service(f"x-{slot}", labels(slot), nodePort=30080)),
        ("traffic-service", "block", lambda _: service("valeo-erp")),
        ("traffic-service", "block", lambda _: service("valeo-erp-preview")),
        ("slots-share-pods", "block", selecting({"app": "worker"})),
        ("shared-service", "warn", lambda slot: service(f"x-{slot}", {"app.kubernetes.io/name": "valeo-erp"})),
    ],
)
def test_what_both_slots_would_own(rule: str, severity: str, make: PerSlot) -> None:
    found = {one.rule: one for one in of_both(make)}
    assert rule in found
    assert found[rule].severity == severity
    assert found[rule].remedy


def test_the_same_name_in_another_group_or_namespace_is_another_object() -> None:
    elsewhere: dict[str, Any] = {"metadata": {"name": "shared", "namespace": "elsewhere"}}
    assert findings([thing("Ingress", "a", "x/v1")], [thing("Ingress", "a", "y/v1")]) == []
    assert findings([thing("ConfigMap", "shared") | elsewhere], [thing("ConfigMap", "shared")]) == []
    here: dict[str, Any] = {"metadata": {"name": "shared", "namespace": ENVIRONMENT.namespace}}
    assert findings([thing("ConfigMap", "shared") | here], [thing("ConfigMap", "shared")]) != []
    assert findings([thing("Ingress", "a", "x/v1")], [thing("Ingress", "a", "x/v2")]) != [], (
        "versions are one object"
    )


def test_a_claim_of_one_slot_that_the_other_ones_statefulset_would_take() -> None:
    claim = thing("PersistentVolumeClaim", "data-db-blue-0")
    (only,) = findings([claim], [stateful("db-blue")])
    assert only.rule == "slots-share-claim"
    assert findings([thing("PersistentVolumeClaim", "data-db-blue-x")], [stateful("db-blue")]) == []


def test_an_ingress_of_one_slot_does_not_lead_users_around_the_traffic_service() -> None:
    (only,) = findings([ingress("erp", "erp.valeo.example.com")], [])
    assert only.rule == "route-around-traffic"


def test_a_traffic_service_in_the_other_slot_is_found_too() -> None:
    (only,) = findings([], [service("valeo-erp")])
    assert only.rule == "traffic-service"


@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")))
def test_exactly_the_common_objects_are_found(ours: set[str], theirs: set[str]) -> None:
    found = findings([thing("ConfigMap", name) for name in ours], [thing("ConfigMap", name) for name in theirs])
    assert {one.object for one in found} == {f"ConfigMap/{name}" for name in ours & theirs}


def test_the_slots_of_the_tests_are_named_as_the_plan_says() -> None:
    assert release("blue") != release("green")
