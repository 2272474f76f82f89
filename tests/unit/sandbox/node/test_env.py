"""A container's environment and command line."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from include.sandbox.node.env import (
    ConfigProblem,
    PodFacts,
    Sources,
    command_line,
    decode_secret,
    environment,
    expand,
    service_links,
    wanted,
)

POD: dict[str, Any] = {
    "metadata": {
        "name": "web-1",
        "namespace": "production",
        "uid": "u-1",
        "labels": {"version": "blue"},
        "annotations": {"a.io/b": "note"},
    },
    "spec": {
        "serviceAccountName": "web",
        "containers": [
            {"name": "web", "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "50m"}}},
            {"name": "side"},
        ],
    },
}
FACTS = PodFacts(POD, "10.244.1.2", "10.244.0.1", "node-1", {"cpu": "2", "memory": "4Gi"})
SOURCES = Sources(
    config_maps={"settings": {"mode": "fast", "COLOUR": "red"}, "gone": None},
    secrets={"hidden": {"password": "p4ss"}, "lost": None},
)


def env(*items: dict[str, Any], base: dict[str, str] | None = None, **container: Any) -> dict[str, str]:
    return environment({"name": "web", "env": list(items), **container}, FACTS, SOURCES, base or {})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("x$(A)$(B)y", "x12y"),
        ("$(MISSING)", "$(MISSING)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $", "$A ${A} $"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, result: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == result


def test_later_variables_see_earlier_ones_and_the_base() -> None:
    result = env({"name": "A", "value": "$(HOST)"}, {"name": "B", "value": "$(A):1"}, base={"HOST": "127.0.0.1"})
    assert result["B"] == "127.0.0.1:1"


def test_env_overrides_env_from_overrides_the_base() -> None:
    from_map = [{"configMapRef": {"name": "settings"}}]
    result = env({"name": "mode", "value": "slow"}, base={"COLOUR": "blue", "X": "1"}, envFrom=from_map)
    assert result == {"COLOUR": "red", "X": "1", "mode": "slow"}


def test_env_from_takes_a_prefix_and_secrets() -> None:
    result = env(envFrom=[{"secretRef": {"name": "hidden"}, "prefix": "DB_"}])
    assert result == {"DB_password": "p4ss"}


def value_from(kind: str, **reference: Any) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {kind: reference}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "production"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['version']", "blue"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['a.io/b']", "note"),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "web"),
        ("status.podIP", "10.244.1.2"),
        ("status.hostIP", "10.244.0.1"),
    ],
)
def test_the_downward_api(path: str, value: str) -> None:
    assert env(value_from("fieldRef", fieldPath=path))["X"] == value


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.memory", "1Mi", "64"),
        ("requests.cpu", "1m", "50"),
        ("limits.cpu", "1", "2"),  # no limit: what the node has
        ("requests.memory", "1", "0"),
    ],
)
def test_resources_of_the_container(resource: str, divisor: str, value: str) -> None:
    assert env(value_from("resourceFieldRef", resource=resource, divisor=divisor))["X"] == value


def test_resources_of_another_container_and_of_none() -> None:
    reference = {"resource": "limits.memory", "divisor": "1Gi"}
    assert env(value_from("resourceFieldRef", containerName="side", **reference))["X"] == "4"
    with pytest.raises(ConfigProblem, match="container nobody not found"):
        env(value_from("resourceFieldRef", containerName="nobody", **reference))


def test_keys_of_config_maps_and_secrets() -> None:
    assert env(value_from("configMapKeyRef", name="settings", key="mode"))["X"] == "fast"
    assert env(value_from("secretKeyRef", name="hidden", key="password"))["X"] == "p4ss"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (value_from("configMapKeyRef", name="gone", key="k"), 'configmap "gone" not found'),
        (value_from("secretKeyRef", name="lost", key="k"), 'secret "lost" not found'),
        (
            value_from("configMapKeyRef", name="settings", key="k"),
            "couldn't find key k in ConfigMap production/settings",
        ),
        (value_from("secretKeyRef", name="hidden", key="k"), "couldn't find key k in Secret production/hidden"),
        (value_from("fieldRef", fieldPath="spec.wrong"), "unsupported fieldPath"),
    ],
)
def test_what_is_missing_is_said_in_kubelets_words(item: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigProblem, match=message):
        env(item)


def test_what_is_optional_may_be_missing() -> None:
    assert env(value_from("configMapKeyRef", name="gone", key="k", optional=True)) == {}
    assert env(value_from("secretKeyRef", name="hidden", key="k", optional=True)) == {}
    assert env(envFrom=[{"secretRef": {"name": "lost", "optional": True}}]) == {}


def test_a_missing_object_in_env_from_is_named() -> None:
    with pytest.raises(ConfigProblem, match='configmap "gone" not found'):
        env(envFrom=[{"configMapRef": {"name": "gone"}}])


def test_wanted_names_everything_that_has_to_be_read() -> None:
    container = {
        "envFrom": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "b"}}],
        "env": [value_from("configMapKeyRef", name="c", key="k"), value_from("secretKeyRef", name="d", key="k")],
    }
    assert wanted(container) == (frozenset("ac"), frozenset("bd"))
    assert wanted({}) == (frozenset(), frozenset())


def test_secrets_are_never_shown_when_printed() -> None:
    assert "p4ss" not in repr(SOURCES)


def test_secrets_are_decoded() -> None:
    assert decode_secret({"data": {"k": base64.b64encode("ü".encode()).decode()}}) == {"k": "ü"}


def test_command_replaces_the_entry_point_and_args_follow() -> None:
    entry = ["/app/run"]
    assert command_line({"args": ["--mode", "$(M)"]}, entry, {"M": "x"}) == ("/app/run", "--mode", "x")
    assert command_line({"command": ["sh"], "args": ["-c"]}, entry, {}) == ("sh", "-c")
    assert command_line({}, entry, {}) == ("/app/run",)


def test_services_are_found_by_their_variables() -> None:
    service = {
        "metadata": {"name": "my-db", "namespace": "production"},
        "spec": {"clusterIP": "10.96.3.4", "ports": [{"name": "sql", "port": 5432}]},
    }
    headless = {"metadata": {"name": "h", "namespace": "production"}, "spec": {"clusterIP": "None"}}
    other = {**service, "metadata": {"name": "far", "namespace": "elsewhere"}}
    links = service_links([service, headless, other], "production")
    assert links["MY_DB_SERVICE_HOST"] == "127.96.3.4"
    assert links["MY_DB_SERVICE_PORT"] == links["MY_DB_SERVICE_PORT_SQL"] == "5432"
    assert links["MY_DB_PORT_5432_TCP_ADDR"] == "127.96.3.4"
    assert not any(name.startswith(("H_", "FAR_")) for name in links)
