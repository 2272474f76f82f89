"""Small manifests of a chart that may be released, to be broken one by one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import yaml

from include.chart.context import SlotContext
from include.chart.manifest import Manifest
from include.plan.loader import load_plan, plan_folder
from include.plan.models import ImageRef
from include.plan.slots import Slot

DIGEST = "sha256:" + "0123456789abcdef" * 4
IMAGE = ImageRef(repository="registry.example.com/erp", tag="3.0.0", digest=DIGEST)
ENVIRONMENT = load_plan(plan_folder()).environment("production")

Document = dict[str, Any]


def context(slot: Slot = "green", image: ImageRef = IMAGE, **environment: Any) -> SlotContext:
    return SlotContext(ENVIRONMENT.model_copy(update=environment), slot, image)


def manifest(document: Mapping[str, Any], source: str = "erp/templates/x.yaml") -> Manifest:
    return Manifest(source, yaml.safe_dump(copy.deepcopy(dict(document))), document)


def release(slot: Slot = "green") -> str:
    return ENVIRONMENT.slot_release(slot)


def labels(slot: Slot = "green") -> dict[str, str]:
    return {**ENVIRONMENT.traffic.selector_for(slot), "app.kubernetes.io/instance": release(slot)}


def container(**more: Any) -> Document:
    return {
        "name": "erp",
        "image": f"{IMAGE.repository}@{DIGEST}",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}},
        **more,
    }


def workload(kind: str, name: str, pod_labels: Mapping[str, str], *containers: Document, **spec: Any) -> Document:
    template = {"metadata": {"labels": dict(pod_labels)}, "spec": {"containers": list(containers)}}
    return {
        "apiVersion": "batch/v1" if kind in ("Job", "CronJob") else "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": dict(pod_labels)}, "template": template, **spec},
    }


def deployment(slot: Slot = "green", *containers: Document, **spec: Any) -> Document:
    return workload("Deployment", release(slot), labels(slot), *(containers or (container(),)), **spec)


def autoscaler(slot: Slot = "green", smallest: int = 3, largest: int = 8) -> Document:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": release(slot)}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": release(slot)},
        "spec": {"scaleTargetRef": target, "minReplicas": smallest, "maxReplicas": largest},
    }


def thing(kind: str, name: str, api_version: str = "v1", **more: Any) -> Document:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **more}


def service(name: str, selector: Mapping[str, str] | None = None, **port: Any) -> Document:
    spec = {"selector": dict(selector or {}), "ports": [{"name": "http", "port": 80, **port}]}
    return thing("Service", name, spec=spec)


def chart(slot: Slot = "green") -> list[Document]:
    """Deployment, autoscaler, the slot's own Service and configuration: nothing to find."""
    return [
        deployment(slot),
        autoscaler(slot),
        service(release(slot), labels(slot)),
        thing("ConfigMap", release(slot), data={"SLOT": slot}),
    ]
