"""How requests to the Kubernetes API are built: pure functions from names to :class:`Request`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal
from urllib.parse import quote

from include.bluegreen.lease import LeaseState

JSON_PATCH: Final = "application/json-patch+json"
JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
# With its parameter, else the API client makes JSON of the body: the server is to read the YAML itself.
APPLY_PATCH: Final = "application/apply-patch+yaml; charset=utf-8"
YAML: Final = "application/yaml"
# One answer with every group, version and kind (Kubernetes 1.26 and later).
DISCOVERY: Final = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")
)

FIELD_MANAGER: Final = "stellwerk"
RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"

# Names, labels and annotations of objects, without their content.
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

Kind = Literal[
    "services",
    "pods",
    "events",
    "secrets",
    "endpointslices",
    "deployments",
    "replicasets",
    "horizontalpodautoscalers",
    "leases",
]

_GROUPS: Final[Mapping[Kind, str]] = {
    "services": "/api/v1",
    "pods": "/api/v1",
    "events": "/api/v1",
    "secrets": "/api/v1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
    "deployments": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "horizontalpodautoscalers": "/apis/autoscaling/v2",
    "leases": "/apis/coordination.k8s.io/v1",
}


@dataclass(frozen=True)
class Request:
    """One request.

    :param what: what it asks for, as the errors name it (``"Service valeo-erp in production"``)
    :param body: sent as JSON; a text as it is
    :param accept: in which form the answer is wanted
    :param relayed: the answer comes from a pod through the API server, so its status is the pod's
    """

    method: Literal["GET", "PATCH", "POST", "PUT", "DELETE"]
    path: str
    what: str
    query: tuple[tuple[str, str], ...] = ()
    body: Sequence[Any] | Mapping[str, Any] | str | None = None
    content_type: str | None = None
    accept: str = "application/json"
    relayed: bool = False


def collection(kind: Kind, namespace: str) -> str:
    """Path of all objects of ``kind`` in a namespace."""
    return f"{_GROUPS[kind]}/namespaces/{_segment(namespace)}/{kind}"


def read(kind: Kind, namespace: str, name: str) -> Request:
    """One object."""
    return Request("GET", f"{collection(kind, namespace)}/{_segment(name)}", _what(kind, namespace, name))


def select(
    kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None, fields: Mapping[str, str] | None = None
) -> Request:
    """All objects whose labels and fields are as given."""
    query = []
    if labels:
        query.append(("labelSelector", _selector(labels)))
    if fields:
        query.append(("fieldSelector", _selector(fields)))
    return Request("GET", collection(kind, namespace), f"{kind} in {namespace}", tuple(query))


def json_patch(kind: Kind, namespace: str, name: str, operations: Sequence[Mapping[str, Any]]) -> Request:
    """Change an object only if the patch's ``test`` operations hold."""
    return _patch(kind, namespace, name, list(operations), JSON_PATCH)


def merge_patch(
    kind: Kind, namespace: str, name: str, change: Mapping[str, Any], *, subresource: Literal["", "scale"] = ""
) -> Request:
    """Set the given fields, whatever they were."""
    return _patch(kind, namespace, name, change, MERGE_PATCH, subresource)


def create(kind: Kind, namespace: str, item: Mapping[str, Any]) -> Request:
    """Make an object that must not exist yet."""
    what = _what(kind, namespace, str(item["metadata"]["name"]))
    return Request("POST", collection(kind, namespace), what, (("fieldManager", FIELD_MANAGER),), item, JSON)


def replace(kind: Kind, namespace: str, name: str, item: Mapping[str, Any]) -> Request:
    """Put an object in the place of the one that was observed.

    ``item`` has to carry that one's resource version *and* its uid: with the version alone the API server makes a
    deleted object anew (FACTS, Lease as a lock).
    """
    path = f"{collection(kind, namespace)}/{_segment(name)}"
    return Request("PUT", path, _what(kind, namespace, name), (("fieldManager", FIELD_MANAGER),), item, JSON)


def delete(kind: Kind, namespace: str, name: str) -> Request:
    """Delete an object, and in the background what it owns."""
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
    path = f"{collection(kind, namespace)}/{_segment(name)}"
    return Request("DELETE", path, _what(kind, namespace, name), (), body, JSON)


def delete_observed(kind: Kind, namespace: str, name: str, *, uid: str, resource_version: str) -> Request:
    """Delete the very object that was observed, as long as nobody has changed it."""
    path = f"{collection(kind, namespace)}/{_segment(name)}"
    preconditions = {"uid": uid, "resourceVersion": resource_version}
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
    return Request("DELETE", path, _what(kind, namespace, name), (), body, JSON)


def lease(state: LeaseState) -> dict[str, Any]:
    """A Lease as the API takes it."""
    metadata: dict[str, Any] = {"name": state.name, "annotations": dict(state.annotations)}
    if state.resource_version:
        metadata |= {"resourceVersion": state.resource_version, "uid": state.uid}
    spec = {
        "holderIdentity": state.holder,
        "leaseDurationSeconds": state.duration_seconds,
        "acquireTime": _micro_time(state.acquired_at),
        "renewTime": _micro_time(state.renewed_at),
        "leaseTransitions": state.transitions,
    }
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def restart(at: datetime) -> dict[str, Any]:
    """The change that makes a Deployment replace its pods one by one; the same ``at`` again changes nothing."""
    return {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: at.isoformat()}}}}}


def pod_get(namespace: str, pod: str, port: int | None, path: str) -> Request:
    """GET ``path`` from a pod, relayed by the API server; without a port its first one is asked."""
    target = _segment(pod) if port is None else f"{_segment(pod)}:{port}"
    return Request(
        "GET",
        f"{collection('pods', namespace)}/{target}/proxy/{path.lstrip('/')}",
        f"{path} of pod {pod}",
        relayed=True,
    )


def pod_log(
    namespace: str,
    pod: str,
    *,
    lines: int,
    previous: bool,
    container: str | None = None,
    since: datetime | None = None,
    limit_bytes: int = 65536,
) -> Request:
    """The end of a container's log; ``previous`` is that of the container before the last restart.

    :param since: leave out what was written before
    :param limit_bytes: the server ends its answer there: of the lines asked for the oldest are sent
    """
    query = [("tailLines", str(lines)), ("limitBytes", str(limit_bytes))]
    if previous:
        query.append(("previous", "true"))
    if container:
        query.append(("container", container))
    if since:
        query.append(("sinceTime", since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")))
    return Request(
        "GET", f"{collection('pods', namespace)}/{_segment(pod)}/log", f"log of pod {pod}", tuple(query)
    )


def discovery(root: Literal["/api", "/apis"]) -> Request:
    """Everything that the core (``/api``) or the named groups (``/apis``) serve."""
    return Request("GET", root, f"API discovery of {root}", accept=DISCOVERY)


def may(attributes: Mapping[str, str]) -> Request:
    """Whether the account may do something; the server keeps nothing of the question."""
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": dict(attributes)},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return Request("POST", path, "the account's own rights", body=body, content_type="application/json")


def dry_run(path: str, manifest: str, what: str, *, create: bool = False) -> Request:
    """What the server would say to an object if Helm applied it (or created it); nothing is written.

    :param path: of the object; of its collection when it is to be created
    :param manifest: YAML as rendered
    """
    query = [("dryRun", "All"), ("fieldManager", "helm"), ("fieldValidation", "Strict")]
    if create:
        return Request("POST", path, what, tuple(query), manifest, YAML)
    return Request("PATCH", path, what, (*query, ("force", "true")), manifest, APPLY_PATCH)


def version() -> Request:
    """The API server's version."""
    return Request("GET", "/version", "version of the API server")


def disown(managed_fields: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The JSON patch that gives up Stellwerk's ownership of fields, or an empty one when it owns none.

    Helm 4 applies server-side: a field somebody else owns with another value makes its next upgrade fail. What
    Stellwerk sets for the time of a release (sizes) must therefore not stay its own.
    """
    operations: list[dict[str, Any]] = []
    # From the end, so that the indexes before stay true; the test makes a changed list a refusal.
    for index in reversed(range(len(managed_fields))):
        if managed_fields[index].get("manager") == FIELD_MANAGER:
            path = f"/metadata/managedFields/{index}"
            operations.append({"op": "test", "path": f"{path}/manager", "value": FIELD_MANAGER})
            operations.append({"op": "remove", "path": path})
    return operations


def _patch(
    kind: Kind,
    namespace: str,
    name: str,
    body: Sequence[Any] | Mapping[str, Any],
    content_type: str,
    subresource: str = "",
) -> Request:
    path = f"{collection(kind, namespace)}/{_segment(name)}"
    return Request(
        "PATCH",
        f"{path}/{subresource}" if subresource else path,
        _what(kind, namespace, name),
        (("fieldManager", FIELD_MANAGER),),
        body,
        content_type,
    )


def _what(kind: Kind, namespace: str, name: str) -> str:
    singular = {
        "services": "Service",
        "pods": "Pod",
        "secrets": "Secret",
        "deployments": "Deployment",
        "horizontalpodautoscalers": "HorizontalPodAutoscaler",
        "leases": "Lease",
    }
    return f"{singular.get(kind, kind)} {name} in {namespace}"


def _selector(pairs: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(pairs.items()))


def _segment(text: str) -> str:
    return quote(text, safe="")


def _micro_time(moment: datetime | None) -> str | None:
    """A ``MicroTime``: the API server refuses one without its six digits of a second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment else None
