from __future__ import annotations

from datetime import UTC, datetime

import pytest

from include.bluegreen.capacity import usable_endpoints
from include.clients.kubernetes import parse

POD = {
    "metadata": {"name": "app-1", "uid": "u1", "labels": {"version": "green"}},
    "spec": {"containers": [{"name": "app", "image": "app:3.0.0"}, {"name": "sidecar", "image": "proxy:1"}]},
    "status": {
        "phase": "Running",
        "podIP": "10.244.0.5",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {"name": "sidecar", "restartCount": 9, "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            {
                "name": "app",
                "restartCount": 1,
                "imageID": "app@sha256:1",
                "state": {"running": {"startedAt": "2030-01-01T12:00:00Z"}},
                "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
            },
        ],
    },
}


def with_status(**status):
    return {**POD, "status": {**POD["status"], **status}}


def test_service():
    service = parse.service(
        {
            "metadata": {"name": "app", "resourceVersion": "12", "annotations": {"a": "b"}},
            "spec": {
                "selector": {"version": "blue"},
                "ports": [{"name": "http", "port": 80, "nodePort": 30080}, {"port": 81}],
            },
        }
    )
    assert (service.name, service.resource_version) == ("app", "12")
    assert (service.selector, service.annotations) == ({"version": "blue"}, {"a": "b"})
    assert [(port.name, port.port, port.node_port) for port in service.ports] == [
        ("http", 80, 30080),
        ("", 81, None),
    ]


def test_service_without_selector_and_annotations():
    service = parse.service({"metadata": {"name": "app", "annotations": None}, "spec": {}})
    assert (service.selector, service.annotations, service.ports) == ({}, {}, ())


def endpoint_slice(*endpoints, ports=({"name": "http", "port": 8080},)):
    return {"endpoints": list(endpoints), "ports": list(ports) if ports is not None else None}


def endpoint(name="p1", ready=True, **conditions):
    target = {"kind": "Pod", "name": name, "uid": f"uid-{name}"}
    return {"addresses": ["10.244.0.1"], "conditions": {"ready": ready, **conditions}, "targetRef": target}


def test_endpoints_of_one_slice():
    found = parse.endpoints([endpoint_slice(endpoint("p1"), endpoint("p2", ready=False, terminating=True))])
    assert [(e.pod, e.pod_uid, e.ready, e.terminating, e.ports) for e in found] == [
        ("p1", "uid-p1", True, False, {"http": 8080}),
        ("p2", "uid-p2", False, True, {"http": 8080}),
    ]


def test_a_condition_that_is_not_given_counts_as_true():
    (found,) = parse.endpoints([endpoint_slice(endpoint(ready=None))])
    assert found.ready


def test_a_ready_pod_without_the_named_port_takes_no_connection():
    found = parse.endpoints([endpoint_slice(endpoint(), ports=None)])
    assert found[0].ready
    assert usable_endpoints(found, "http") == 0


def test_a_pod_of_both_address_families_is_one_endpoint():
    both = [endpoint_slice(endpoint()), endpoint_slice(endpoint())]
    assert usable_endpoints(parse.endpoints(both), "http") == 1


def test_slices_that_disagree_count_as_not_ready():
    (found,) = parse.endpoints([endpoint_slice(endpoint()), endpoint_slice(endpoint(ready=False))])
    assert not found.ready


def test_no_slices():
    assert parse.endpoints([]) == ()
    assert parse.endpoints([{"endpoints": None, "ports": None}]) == ()


def test_pod_tells_of_its_first_container():
    pod = parse.pod(POD)
    assert (pod.name, pod.uid, pod.phase, pod.ready, pod.deleting) == ("app-1", "u1", "Running", True, False)
    assert (pod.image, pod.image_id, pod.restarts) == ("app:3.0.0", "app@sha256:1", 1)
    assert (pod.waiting_reason, pod.terminated_reason) == (None, "OOMKilled")
    assert pod.started_at == datetime(2030, 1, 1, 12, tzinfo=UTC)
    assert pod.ip == "10.244.0.5"


def test_pod_that_waits_for_its_image():
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    pod = parse.pod(with_status(containerStatuses=[{"name": "app", "restartCount": 0, "state": waiting}]))
    assert (pod.waiting_reason, pod.waiting_message, pod.started_at) == ("ErrImagePull", "not found", None)


def test_pod_held_up_by_an_init_container():
    pod = parse.pod(
        with_status(
            initContainerStatuses=[
                {"name": "migrate", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}},
                {"name": "second", "state": {"waiting": {"reason": "PodInitializing"}}},
            ],
            containerStatuses=[{"name": "app", "state": {"waiting": {"reason": "PodInitializing"}}}],
        )
    )
    assert pod.waiting_reason == "CrashLoopBackOff"


def test_pod_whose_container_ended_without_a_reason():
    ended = {"terminated": {"exitCode": 3}}
    pod = parse.pod(with_status(containerStatuses=[{"name": "app", "restartCount": 2, "state": ended}]))
    assert pod.terminated_reason == "exit code 3"


def test_pod_that_is_only_just_accepted():
    pod = parse.pod({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [{"name": "a", "image": "i"}]}})
    assert (pod.phase, pod.ready, pod.image, pod.restarts) == ("", False, "i", 0)


def test_pod_that_is_being_deleted():
    metadata = {**POD["metadata"], "deletionTimestamp": "2030-01-01T12:00:00Z"}
    assert parse.pod({**POD, "metadata": metadata}).deleting


def test_deployment_before_its_controller_has_looked():
    deployment = parse.deployment({"metadata": {"name": "app", "generation": 2}, "spec": {"replicas": 3}})
    assert (deployment.replicas, deployment.ready, deployment.updated) == (3, 0, 0)
    assert (deployment.generation, deployment.observed_generation) == (2, 0)


@pytest.mark.parametrize(
    ("status", "outdated"),
    [
        ({"replicas": 3, "updatedReplicas": 1}, 2),
        ({"replicas": 3}, 3),
        ({"replicas": 1, "updatedReplicas": 1}, 0),
        ({"replicas": 1, "updatedReplicas": 2}, 0),
        ({}, 0),
    ],
)
def test_pods_of_an_earlier_template_are_counted(status, outdated):
    assert parse.deployment({"metadata": {"name": "app"}, "status": status}).outdated == outdated


def test_deployment_scaled_to_zero():
    assert parse.deployment({"metadata": {"name": "app"}, "spec": {"replicas": 0}}).replicas == 0


def test_hpa():
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "app"}, "minReplicas": 3, "maxReplicas": 10}
    hpa = parse.hpa({"metadata": {"name": "app-hpa"}, "spec": spec})
    assert (hpa.name, hpa.target, hpa.min_replicas, hpa.max_replicas) == ("app-hpa", "app", 3, 10)


def test_events_of_old_and_new_reporters():
    old = parse.event({"type": "Warning", "reason": "Failed", "count": 3, "lastTimestamp": "2030-01-01T12:00:00Z"})
    new = parse.event({"reason": "Scheduled", "eventTime": "2030-01-01T12:00:00.123456Z", "series": None})
    assert (old.count, old.last_seen) == (3, datetime(2030, 1, 1, 12, tzinfo=UTC))
    assert new.count == 1
    assert new.last_seen is not None
    assert new.last_seen.microsecond == 123456


def _replicaset(revision, template):
    return {
        "metadata": {
            "annotations": {"deployment.kubernetes.io/revision": revision},
            "labels": {"pod-template-hash": template},
        }
    }


def test_the_newest_template_is_that_of_the_highest_revision():
    found = [_replicaset("9", "nine"), _replicaset("10", "ten"), _replicaset("2", "two"), {"metadata": {}}]
    assert parse.newest_template(found) == "ten"
    assert parse.newest_template([]) is None
    assert parse.newest_template([{"metadata": {}}]) is None
