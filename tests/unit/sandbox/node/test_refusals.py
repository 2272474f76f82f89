"""What the node cannot do is refused, what has no effect is said."""

from __future__ import annotations

from typing import Any

import pytest

from include.sandbox.node.refusals import TOKEN_PATH, not_enforced, refusals

TOKEN = {
    "name": "kube-api-access-x7f2k",
    "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}]},
}


def pod(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {}, "spec": {"containers": [{"name": "web", **(container or {})}], **spec}}


def test_an_ordinary_pod_is_not_refused() -> None:
    container = {
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"port": 8080}},
        "livenessProbe": {"tcpSocket": {"port": 8080}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "volumeMounts": [{"name": TOKEN["name"], "mountPath": TOKEN_PATH}],
        "resources": {"requests": {"cpu": "50m"}, "limits": {"memory": "64Mi"}},
        "securityContext": {"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}, "privileged": False},
    }
    assert refusals(pod(container, volumes=[TOKEN], initContainers=[{"name": "first"}])) == ()


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"hostPID": True}, "hostPID"),
        ({"hostIPC": True}, "hostIPC"),
        ({"shareProcessNamespace": True}, "shareProcessNamespace"),
        ({"runtimeClassName": "gvisor"}, "runtime classes"),
        ({"hostAliases": [{"ip": "10.0.0.1"}]}, "hostAliases"),
        ({"ephemeralContainers": [{"name": "d"}]}, "ephemeral containers"),
        ({"volumes": [{"name": "data", "emptyDir": {}}]}, "volume data (emptyDir)"),
        ({"volumes": [{"name": "c", "configMap": {"name": "x"}}]}, "volume c (configMap)"),
        ({"volumes": [{"name": "kube-api-access-1", "hostPath": {"path": "/"}}]}, "hostPath"),
        ({"securityContext": {"sysctls": [{"name": "a", "value": "b"}]}}, "sysctls"),
        ({"os": {"name": "windows"}}, "another operating system"),
        ({"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]}, "sidecar proxy"),
        ({"resourceClaims": [{"name": "gpu"}]}, "resource claims"),
    ],
)
def test_a_pod_that_needs_more_is_refused(spec: dict[str, Any], word: str) -> None:
    (found,) = refusals(pod(**spec))
    assert word in found


@pytest.mark.parametrize(
    ("container", "word"),
    [
        ({"securityContext": {"privileged": True}}, "privileged"),
        ({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}, "NET_ADMIN"),
        ({"securityContext": {"procMount": "Unmasked"}}, "procMount"),
        ({"tty": True}, "tty"),
        ({"stdin": True}, "stdin"),
        ({"ports": [{"containerPort": 80, "hostPort": 80}]}, "hostPort 80"),
        ({"resources": {"limits": {"nvidia.com/gpu": "1"}}}, "nvidia.com/gpu"),
        ({"livenessProbe": {"exec": {"command": ["true"]}}}, "livenessProbe by exec"),
        ({"readinessProbe": {"grpc": {"port": 1}}}, "readinessProbe by gRPC"),
        ({"lifecycle": {"preStop": {"exec": {"command": ["true"]}}}}, "preStop by exec"),
        ({"lifecycle": {"postStart": {"httpGet": {"port": 1}}}}, "postStart"),
        ({"volumeDevices": [{"name": "d"}]}, "block devices"),
    ],
)
def test_a_container_that_needs_more_is_refused_by_name(container: dict[str, Any], word: str) -> None:
    (found,) = refusals(pod(container))
    assert found.startswith("container web: ")
    assert word in found


def test_every_refusal_is_listed() -> None:
    assert len(refusals(pod({"tty": True, "stdin": True}, hostNetwork=True))) == 3


def test_the_token_at_another_place_is_refused() -> None:
    mounts = [{"name": TOKEN["name"], "mountPath": "/token"}]
    (found,) = refusals(pod({"volumeMounts": mounts}, volumes=[TOKEN]))
    assert "/token" in found


def test_restrictions_without_effect_are_said() -> None:
    container = {
        "securityContext": {"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}},
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
    }
    assert set(not_enforced(pod(container, securityContext={"fsGroup": 1}))) == {
        "securityContext.runAsNonRoot",
        "securityContext.capabilities.drop",
        "securityContext.fsGroup",
        "cpu limit",
    }
    assert not_enforced(pod()) == ()
