"""Owns what the sandbox's node cannot do: refused or said aloud, never ignored; pure.

A pod that needs something listed under :func:`refusals` is not started. What only takes rights away from a
container, or caps what it uses, changes nothing about how a release behaves; it is not enforced, and
:func:`not_enforced` says so in an Event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

TOKEN_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_VOLUME: Final = "kube-api-access-"
_KNOWN_RESOURCES: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
_POD_FLAGS: Final = {
    "hostNetwork": "hostNetwork",
    "hostPID": "hostPID",
    "hostIPC": "hostIPC",
    "shareProcessNamespace": "shareProcessNamespace",
    "setHostnameAsFQDN": "setHostnameAsFQDN",
    "runtimeClassName": "runtime classes",
    "hostAliases": "hostAliases",
    "ephemeralContainers": "ephemeral containers",
    "resourceClaims": "resource claims (devices)",
}
_CONTAINER_FLAGS: Final = {
    "tty": "a terminal (tty)",
    "stdin": "standard input (stdin)",
    "volumeDevices": "block devices",
}
_UNENFORCED: Final = (
    "runAsUser",
    "runAsGroup",
    "runAsNonRoot",
    "readOnlyRootFilesystem",
    "allowPrivilegeEscalation",
    "seccompProfile",
    "appArmorProfile",
    "seLinuxOptions",
    "fsGroup",
    "supplementalGroups",
)


def all_containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Init containers, then the others."""
    spec = pod["spec"]
    return [*(spec.get("initContainers") or []), *spec["containers"]]


def is_token_volume(volume: Mapping[str, Any]) -> bool:
    """Whether this is the volume admission adds for the service account's token."""
    return str(volume["name"]).startswith(_TOKEN_VOLUME) and "projected" in volume


def refusals(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """What the pod needs and the sandbox does not have, each in a few words; empty: it can run."""
    return tuple(_of_pod(pod["spec"])) + tuple(
        f"container {container['name']}: {what}"
        for container in all_containers(pod)
        for what in _of_container(container, pod["spec"])
    )


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    for key, what in _POD_FLAGS.items():
        if spec.get(key):
            yield what
    if (spec.get("securityContext") or {}).get("sysctls"):
        yield "sysctls"
    if (spec.get("os") or {}).get("name", "linux") != "linux":
        yield "another operating system than Linux"
    for volume in spec.get("volumes") or []:
        if not is_token_volume(volume):
            kind = next((key for key in volume if key != "name"), "emptyDir")
            yield f"volume {volume['name']} ({kind})"
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy"):
            yield f"sidecar {container['name']} (an init container with a restartPolicy)"


def _of_container(container: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    for key, what in _CONTAINER_FLAGS.items():
        if container.get(key):
            yield what
    yield from _of_security(container.get("securityContext") or {})
    resources = container.get("resources") or {}
    named = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    for name in sorted(set(named) - _KNOWN_RESOURCES):
        yield f"resource {name}"
    if resources.get("claims"):
        yield "resource claims (devices)"
    for port in container.get("ports") or []:
        if port.get("hostPort"):
            yield f"hostPort {port['hostPort']}"
    yield from _of_mounts(container, spec)
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(key)
        if probe and "httpGet" not in probe and "tcpSocket" not in probe:
            yield f"{key} by {'exec' if 'exec' in probe else 'gRPC'} (httpGet and tcpSocket work)"
    yield from _of_hooks(container.get("lifecycle") or {})


def _of_security(security: Mapping[str, Any]) -> Iterator[str]:
    if security.get("privileged"):
        yield "privileged"
    if added := (security.get("capabilities") or {}).get("add"):
        yield f"added capabilities {', '.join(added)}"
    if security.get("procMount", "Default") != "Default":
        yield "procMount"


def _of_mounts(container: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    tokens = {volume["name"] for volume in spec.get("volumes") or [] if is_token_volume(volume)}
    for mount in container.get("volumeMounts") or []:
        if mount["name"] in tokens and mount["mountPath"] != TOKEN_PATH:
            yield f"the service account's token at {mount['mountPath']}"


def _of_hooks(lifecycle: Mapping[str, Any]) -> Iterator[str]:
    if lifecycle.get("postStart"):
        yield "postStart hooks"
    if lifecycle.get("stopSignal"):
        yield "a stop signal of its own"
    stop = lifecycle.get("preStop") or {}
    if stop and not ({"sleep", "httpGet"} & set(stop)):
        yield f"preStop by {next(iter(stop))} (sleep and httpGet work)"


def not_enforced(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """What the pod asks for that only restricts it and has no effect here."""
    spec = pod["spec"]
    found: dict[str, None] = {}
    contexts = [spec.get("securityContext") or {}]
    for container in all_containers(pod):
        contexts.append(container.get("securityContext") or {})
        limits = (container.get("resources") or {}).get("limits") or {}
        found |= {f"{name} limit": None for name in ("cpu", "ephemeral-storage") if name in limits}
    for context in contexts:
        found |= {f"securityContext.{key}": None for key in _UNENFORCED if key in context}
        if (context.get("capabilities") or {}).get("drop"):
            found["securityContext.capabilities.drop"] = None
    return tuple(found)
