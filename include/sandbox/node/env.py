"""Owns a container's environment and command line: references resolved, ``$(NAME)`` expanded; pure.

What the API server holds (ConfigMaps, Secrets) is read before and passed in; None stands for an object that does
not exist.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from include.sandbox.addresses import local_address
from include.sandbox.node.quantities import in_units

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_NOT_A_NAME = re.compile(r"[^A-Z0-9_]")
HEADLESS: Final = ("", "None", None)


class ConfigProblem(Exception):
    """Something the environment refers to is missing (CreateContainerConfigError)."""


@dataclass(frozen=True)
class PodFacts:
    """What the downward API can tell.

    :param pod: the pod as the API server has it
    :param allocatable: what a container may use that has no limit of its own
    """

    pod: Mapping[str, Any]
    pod_ip: str
    host_ip: str
    node_name: str
    allocatable: Mapping[str, str]


@dataclass(frozen=True)
class Sources:
    """ConfigMaps and Secrets by name, text values; None where there is no such object."""

    config_maps: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict, repr=False)


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace ``$(NAME)``; unknown names stay as they are, ``$$`` is a dollar."""

    def one(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return known.get(match[2], match[0])

    return _REFERENCE.sub(one, text)


def wanted(container: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the ConfigMaps and of the Secrets the container's environment refers to."""
    maps, secrets = set(), set()
    for item in container.get("envFrom") or []:
        if reference := item.get("configMapRef"):
            maps.add(reference["name"])
        if reference := item.get("secretRef"):
            secrets.add(reference["name"])
    for item in container.get("env") or []:
        source = item.get("valueFrom") or {}
        if reference := source.get("configMapKeyRef"):
            maps.add(reference["name"])
        if reference := source.get("secretKeyRef"):
            secrets.add(reference["name"])
    return frozenset(maps), frozenset(secrets)


def decode_secret(secret: Mapping[str, Any]) -> dict[str, str]:
    """A Secret's data as text."""
    return {
        key: base64.b64decode(value).decode(errors="surrogateescape")
        for key, value in (secret.get("data") or {}).items()
    }


def environment(
    container: Mapping[str, Any], facts: PodFacts, sources: Sources, base: Mapping[str, str]
) -> dict[str, str]:
    """The container's environment: ``base``, then ``envFrom``, then ``env``, each overriding what came before.

    :raises ConfigProblem: in kubelet's words
    """
    result = dict(base)
    for item in container.get("envFrom") or []:
        result.update(_from_object(item, sources, facts))
    for item in container.get("env") or []:
        value = _value(item, container, facts, sources, result)
        if value is not None:
            result[item["name"]] = value
    return result


def _from_object(item: Mapping[str, Any], sources: Sources, facts: PodFacts) -> dict[str, str]:
    kind = "configMapRef" if "configMapRef" in item else "secretRef"
    reference = item[kind]
    data = _object(kind.removesuffix("Ref"), reference, sources, facts)
    prefix = item.get("prefix") or ""
    return {f"{prefix}{key}": value for key, value in (data or {}).items()}


def _object(
    kind: str, reference: Mapping[str, Any], sources: Sources, facts: PodFacts
) -> Mapping[str, str] | None:
    held = sources.config_maps if kind == "configMap" else sources.secrets
    data = held.get(reference["name"])
    if data is None and not reference.get("optional"):
        raise ConfigProblem(f'{kind.lower()} "{reference["name"]}" not found')
    return data


def _value(
    item: Mapping[str, Any],
    container: Mapping[str, Any],
    facts: PodFacts,
    sources: Sources,
    known: Mapping[str, str],
) -> str | None:
    source = item.get("valueFrom")
    if not source:
        return expand(item.get("value") or "", known)
    if "fieldRef" in source:
        return downward(source["fieldRef"]["fieldPath"], facts)
    if "resourceFieldRef" in source:
        return _resource(source["resourceFieldRef"], container, facts)
    for kind in ("configMap", "secret"):
        if reference := source.get(f"{kind}KeyRef"):
            return _key(kind, reference, sources, facts)
    raise ConfigProblem(f"environment variable {item['name']}: no such source in the sandbox")


def _key(kind: str, reference: Mapping[str, Any], sources: Sources, facts: PodFacts) -> str | None:
    data = _object(kind, reference, sources, facts)
    if data is not None and reference["key"] in data:
        return data[reference["key"]]
    if reference.get("optional"):
        return None
    namespace = facts.pod["metadata"]["namespace"]
    title = "ConfigMap" if kind == "configMap" else "Secret"
    raise ConfigProblem(f"couldn't find key {reference['key']} in {title} {namespace}/{reference['name']}")


def downward(path: str, facts: PodFacts) -> str:
    """The value of a ``fieldRef``.

    :raises ConfigProblem: for a path kubelet does not know either
    """
    metadata = facts.pod["metadata"]
    if match := _SUBSCRIPT.fullmatch(path):
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    simple = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": facts.pod["spec"].get("serviceAccountName", ""),
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
    }
    if path not in simple:
        raise ConfigProblem(f"unsupported fieldPath: {path}")
    return str(simple[path])


def _resource(reference: Mapping[str, Any], container: Mapping[str, Any], facts: PodFacts) -> str:
    name = reference.get("containerName") or container["name"]
    spec = facts.pod["spec"]
    every = [*spec["containers"], *(spec.get("initContainers") or [])]
    target = next((candidate for candidate in every if candidate["name"] == name), None)
    if target is None:
        raise ConfigProblem(f"container {name} not found")
    kind, _, resource = reference["resource"].partition(".")
    given = (target.get("resources") or {}).get(kind) or {}
    fallback = facts.allocatable.get(resource, "0") if kind == "limits" else "0"
    return str(in_units(str(given.get(resource, fallback)), str(reference.get("divisor") or "1")))


def command_line(
    container: Mapping[str, Any], entrypoint: Sequence[str], known: Mapping[str, str]
) -> tuple[str, ...]:
    """What to run: ``command`` replaces the image's entry point, ``args`` follows."""
    command = container.get("command") or list(entrypoint)
    return tuple(expand(part, known) for part in [*command, *(container.get("args") or [])])


def service_links(services: Iterable[Mapping[str, Any]], namespace: str) -> dict[str, str]:
    """The variables kubelet gives every pod for the Services of its namespace, at the addresses that serve them.

    In the sandbox they are the only way to find a Service from inside a pod: it has no cluster DNS.
    """
    result: dict[str, str] = {}
    for service in services:
        spec = service["spec"]
        if service["metadata"]["namespace"] != namespace or spec.get("clusterIP") in HEADLESS:
            continue
        name = _NOT_A_NAME.sub("_", service["metadata"]["name"].upper())
        host = local_address(spec["clusterIP"])
        ports = spec.get("ports") or []
        if not ports:
            continue
        result[f"{name}_SERVICE_HOST"] = host
        result[f"{name}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            protocol, number = port.get("protocol", "TCP"), port["port"]
            if port.get("name"):
                result[f"{name}_SERVICE_PORT_{_NOT_A_NAME.sub('_', port['name'].upper())}"] = str(number)
            url = f"{protocol.lower()}://{host}:{number}"
            prefix = f"{name}_PORT_{number}_{protocol}"
            result.setdefault(f"{name}_PORT", url)
            result |= {prefix: url, f"{prefix}_PROTO": protocol.lower()}
            result |= {f"{prefix}_PORT": str(number), f"{prefix}_ADDR": host}
    return result
