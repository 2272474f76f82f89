"""What the sandbox's node cannot do it refuses aloud; it never pretends."""

from __future__ import annotations

from typing import Any

import pytest

from include.sandbox.cluster import SandboxCluster
from tests.contract.support import Kubectl, container, http_probe, is_ready, pod


@pytest.mark.parametrize(
    ("name", "spec", "more", "word"),
    [
        ("volume", {"volumes": [{"name": "data", "emptyDir": {}}]}, {}, "emptyDir"),
        ("host-network", {"hostNetwork": True}, {}, "hostNetwork"),
        ("privileged", {}, {"securityContext": {"privileged": True}}, "privileged"),
        ("terminal", {}, {"tty": True}, "tty"),
        ("exec-probe", {}, {"livenessProbe": {"exec": {"command": ["true"]}}}, "exec"),
    ],
)
def test_a_pod_that_needs_more_is_refused_by_an_event(
    sandbox: SandboxCluster, kubectl: Kubectl, name: str, spec: dict[str, Any], more: dict[str, Any], word: str
) -> None:
    kubectl.apply(pod(name, container(**more), **spec))
    kubectl.until(
        lambda: any(event["type"] == "Warning" and word in event["message"] for event in kubectl.events(name)),
        f"an Event names {word}",
    )
    (found,) = kubectl.pods(name)
    assert not is_ready(found)
    assert not any("running" in one.get("state", {}) for one in found["status"].get("containerStatuses", []))


@pytest.mark.parametrize(
    "arguments", [("exec", "plain", "--", "true"), ("attach", "plain")], ids=["exec", "attach"]
)
def test_exec_and_attach_are_refused_with_a_sentence(
    sandbox: SandboxCluster, kubectl: Kubectl, arguments: tuple[str, ...]
) -> None:
    kubectl.apply(pod("plain", container(readinessProbe=http_probe("/readyz"))))
    kubectl("wait", "--for=condition=Ready", "pod/plain", "--timeout=60s")
    message = kubectl(*arguments, ok=False)
    assert "sandbox" in message.lower(), message
