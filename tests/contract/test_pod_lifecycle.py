"""Pods start, fail, are restarted and end as on any node."""

from __future__ import annotations

import time

import pytest

from tests.contract.conftest import NodeUrl
from tests.contract.support import (
    IMAGE,
    MISSING_IMAGE,
    Document,
    Kubectl,
    container,
    container_status,
    deployment,
    fetch,
    http_probe,
    load,
    pod,
    service,
    waiting_reason,
)


def only(kubectl: Kubectl, name: str) -> Document:
    (found,) = kubectl.pods(name)
    return found


def test_a_crashing_container_is_restarted_with_growing_pauses(kubectl: Kubectl) -> None:
    kubectl.apply(deployment("crashing", container(env={"FAIL": "7"}), replicas=1))
    kubectl.until(lambda: waiting_reason(only(kubectl, "crashing")) == "CrashLoopBackOff", "it is backed off")
    kubectl.until(
        lambda: container_status(only(kubectl, "crashing"))["restartCount"] >= 2, "it was restarted twice"
    )
    found = only(kubectl, "crashing")
    status = container_status(found)
    assert found["status"]["phase"] == "Running"
    assert status["lastState"]["terminated"]["exitCode"] == 7
    assert status["lastState"]["terminated"]["reason"] == "Error"
    kubectl.until(
        lambda: waiting_reason(only(kubectl, "crashing")) == "CrashLoopBackOff", "it is backed off again"
    )
    message = container_status(only(kubectl, "crashing"))["state"]["waiting"]["message"]
    assert "back-off 20s restarting failed container=app" in message
    reasons = {event["reason"] for event in kubectl.events(found["metadata"]["name"])}
    assert {"Scheduled", "Pulled", "Created", "Started", "BackOff"} <= reasons
    kubectl("delete", "deployment", "crashing")


def test_a_missing_image_is_named(kubectl: Kubectl) -> None:
    kubectl.apply(deployment("imageless", container(image=MISSING_IMAGE), replicas=1))
    seen: set[str] = set()

    def both() -> bool:
        seen.add(waiting_reason(only(kubectl, "imageless")))
        return {"ErrImagePull", "ImagePullBackOff"} <= seen

    kubectl.until(both, "ErrImagePull and ImagePullBackOff are seen")
    found = only(kubectl, "imageless")
    assert found["status"]["phase"] == "Pending"
    messages = " ".join(event["message"] for event in kubectl.events(found["metadata"]["name"]))
    assert MISSING_IMAGE in messages
    kubectl("set", "image", "deployment/imageless", f"app={IMAGE}")
    kubectl("rollout", "status", "deployment/imageless", "--timeout=60s")
    kubectl.until(
        lambda: only(kubectl, "imageless")["spec"]["containers"][0]["image"] == IMAGE, "the pod is replaced"
    )
    assert container_status(only(kubectl, "imageless"))["imageID"]


def test_a_missing_image_that_may_not_be_pulled(kubectl: Kubectl) -> None:
    kubectl.apply(pod("unpulled", container(image=MISSING_IMAGE, imagePullPolicy="Never")))
    kubectl.until(lambda: waiting_reason(only(kubectl, "unpulled")) == "ErrImageNeverPull", "it is refused")


def test_an_invalid_image_name(kubectl: Kubectl) -> None:
    kubectl.apply(pod("invalid", container(image="Contract App:1")))
    kubectl.until(lambda: waiting_reason(only(kubectl, "invalid")) == "InvalidImageName", "it is refused")


@pytest.mark.parametrize(
    ("policy", "code", "phase", "reason"),
    [
        ("Never", "0", "Succeeded", "Completed"),
        ("Never", "4", "Failed", "Error"),
        ("OnFailure", "0", "Succeeded", "Completed"),
    ],
)
def test_restart_policies(kubectl: Kubectl, policy: str, code: str, phase: str, reason: str) -> None:
    name = f"once-{policy.lower()}-{code}"
    kubectl.apply(pod(name, container(args=["say", "done", code]), restartPolicy=policy))
    kubectl.until(lambda: only(kubectl, name)["status"]["phase"] == phase, f"the pod is {phase}")
    status = container_status(only(kubectl, name))
    assert status["state"]["terminated"]["exitCode"] == int(code)
    assert status["state"]["terminated"]["reason"] == reason
    assert status["restartCount"] == 0
    assert kubectl("logs", name).strip() == "done"


def test_init_containers_run_in_order_before_the_others(kubectl: Kubectl) -> None:
    inits = [
        {"name": name, "image": IMAGE, "args": ["say", name, code], "imagePullPolicy": "IfNotPresent"}
        for name, code in (("first", "0"), ("second", "0"))
    ]
    kubectl.apply(pod("prepared", container(args=["say", "main"]), initContainers=inits, restartPolicy="Never"))
    kubectl.until(lambda: only(kubectl, "prepared")["status"]["phase"] == "Succeeded", "the pod is done")
    found = only(kubectl, "prepared")
    ends = [one["state"]["terminated"]["finishedAt"] for one in found["status"]["initContainerStatuses"]]
    assert ends == sorted(ends)
    assert container_status(found)["state"]["terminated"]["startedAt"] >= ends[-1]
    assert kubectl("logs", "prepared", "-c", "second").strip() == "second"


def test_a_failed_init_container_keeps_the_pod_from_starting(kubectl: Kubectl) -> None:
    init = {"name": "broken", "image": IMAGE, "args": ["say", "no", "9"], "imagePullPolicy": "IfNotPresent"}
    kubectl.apply(pod("unprepared", initContainers=[init], restartPolicy="Never"))
    kubectl.until(lambda: only(kubectl, "unprepared")["status"]["phase"] == "Failed", "the pod failed")
    found = only(kubectl, "unprepared")
    assert found["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 9
    assert container_status(found)["state"]["waiting"]["reason"] == "PodInitializing"


def test_environment_from_values_fields_config_maps_and_secrets(kubectl: Kubectl, node_url: NodeUrl) -> None:
    kubectl("create", "configmap", "settings", "--from-literal=COLOUR=green", "--from-literal=SIZE=3")
    kubectl("create", "secret", "generic", "keys", "--from-literal=PASSWORD=open sesame")
    env = [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "POD_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "COLOUR"}}},
        {"name": "MAYBE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "NONE", "optional": True}}},
        {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "PASSWORD"}}},
        {"name": "PLAIN", "value": "plain"},
        {"name": "COMPOSED", "value": "$(PLAIN)-$(ONE)-$$(ONE)"},
    ]
    whole = [{"configMapRef": {"name": "settings"}}, {"prefix": "S_", "secretRef": {"name": "keys"}}]
    one = container(envFrom=whole, readinessProbe=http_probe("/readyz"))
    one["env"] = env
    kubectl.apply(pod("surrounded", one), service("surrounded", {"app": "surrounded"}))
    kubectl("wait", "--for=condition=Ready", "pod/surrounded", "--timeout=60s")
    kubectl.until(lambda: fetch(node_url("surrounded")), "it answers")
    seen = fetch(node_url("surrounded"))["environment"]
    expected = {
        "POD_NAME": "surrounded",
        "NAMESPACE": kubectl.namespace,
        "POD_ADDRESS": only(kubectl, "surrounded")["status"]["podIP"],
        "LABEL": "surrounded",
        "ONE": "green",
        "WORD": "open sesame",
        "COMPOSED": "plain-green-$(ONE)",
        "COLOUR": "green",
        "SIZE": "3",
        "S_PASSWORD": "open sesame",
        "VERSION": "1",
        "HOSTNAME": "surrounded",
    }
    assert {name: seen.get(name) for name in expected} == expected
    assert "MAYBE" not in seen
    assert seen["KUBERNETES_SERVICE_HOST"]
    assert "KUBECONFIG" not in seen, "nothing of the machine's own environment gets in"


def test_a_missing_config_map_keeps_the_container_waiting_until_it_exists(kubectl: Kubectl) -> None:
    missing = container(args=["say", "hello"], envFrom=[{"configMapRef": {"name": "later"}}])
    kubectl.apply(pod("patient", missing, restartPolicy="Never"))
    kubectl.until(lambda: waiting_reason(only(kubectl, "patient")) == "CreateContainerConfigError", "it waits")
    assert "later" in container_status(only(kubectl, "patient"))["state"]["waiting"]["message"]
    kubectl("create", "configmap", "later", "--from-literal=A=1")
    kubectl.until(lambda: only(kubectl, "patient")["status"]["phase"] == "Succeeded", "it runs", seconds=90)


def test_termination_is_asked_for_then_forced(kubectl: Kubectl, node_url: NodeUrl) -> None:
    stubborn = container(env={"DRAIN_SECONDS": "60"}, readinessProbe=http_probe("/readyz"))
    kubectl.apply(
        pod("stubborn", stubborn, terminationGracePeriodSeconds=3), service("stubborn", {"app": "stubborn"})
    )
    kubectl("wait", "--for=condition=Ready", "pod/stubborn", "--timeout=60s")
    kubectl.until(lambda: fetch(node_url("stubborn")), "it answers")
    began = time.monotonic()
    kubectl("delete", "pod", "stubborn")
    assert 2.5 < time.monotonic() - began < 15


def test_a_pre_stop_pause_comes_before_the_signal_and_counts_as_grace(kubectl: Kubectl, node_url: NodeUrl) -> None:
    pausing = container(readinessProbe=http_probe("/readyz"), lifecycle={"preStop": {"sleep": {"seconds": 3}}})
    kubectl.apply(pod("pausing", pausing), service("pausing", {"app": "pausing"}))
    kubectl("wait", "--for=condition=Ready", "pod/pausing", "--timeout=60s")
    kubectl.until(lambda: fetch(node_url("pausing")), "it answers")
    began = time.monotonic()
    kubectl("delete", "pod", "pausing", "--wait=false")
    while time.monotonic() - began < 2:
        assert "draining" not in kubectl("logs", "pausing")
        time.sleep(0.2)
    kubectl("wait", "--for=delete", "pod/pausing", "--timeout=30s")
    assert time.monotonic() - began >= 3


def test_deleting_a_pod_under_load_loses_no_request(kubectl: Kubectl, node_url: NodeUrl) -> None:
    draining = container(env={"DRAIN_SECONDS": "3"}, readinessProbe=http_probe("/readyz"))
    kubectl.apply(deployment("steady", draining, replicas=2), service("steady", {"app": "steady"}))
    kubectl("rollout", "status", "deployment/steady", "--timeout=60s")
    kubectl.until(lambda: len({fetch(node_url("steady"))["pod"] for _ in range(10)}) == 2, "both pods answer")
    first = kubectl.pods("steady")[0]["metadata"]["name"]
    with load(node_url("steady", "/?seconds=0.2")) as fresh, load(node_url("steady"), keep_alive=True) as kept:
        kubectl.until(lambda: fresh.sent > 20, "requests are sent")
        kubectl("delete", "pod", first)
        kubectl("rollout", "status", "deployment/steady", "--timeout=60s")
        kubectl.until(lambda: len(fresh.pods) == 3, "the new pod answers too")
    assert fresh.lost == []
    assert kept.lost == []
    assert fresh.pods[first] > 0


def test_deletion_without_grace_is_immediate(kubectl: Kubectl) -> None:
    slow = container(env={"DRAIN_SECONDS": "60"}, readinessProbe=http_probe("/readyz"))
    kubectl.apply(pod("abrupt", slow, terminationGracePeriodSeconds=60))
    kubectl("wait", "--for=condition=Ready", "pod/abrupt", "--timeout=60s")
    began = time.monotonic()
    kubectl("delete", "pod", "abrupt", "--grace-period=0", "--force")
    kubectl.until(lambda: not kubectl.pods("abrupt"), "the pod is gone")
    assert time.monotonic() - began < 15


def test_jobs_retry_and_finish(kubectl: Kubectl) -> None:
    def job(name: str, code: str, limit: int) -> Document:
        template = {"spec": {"restartPolicy": "Never", "containers": [container(args=["say", "work", code])]}}
        spec = {"backoffLimit": limit, "template": template}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}

    kubectl.apply(job("good", "0", 0), job("bad", "5", 0))
    kubectl("wait", "--for=condition=Complete", "job/good", "--timeout=60s")
    kubectl("wait", "--for=condition=Failed", "job/bad", "--timeout=60s")
    assert kubectl("logs", "job/good").strip() == "work"
