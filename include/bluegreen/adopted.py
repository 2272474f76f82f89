"""The annotation by which an installation from before Stellwerk is one of the slots, and its guarded patches.

While the traffic Service bears :data:`ADOPTED`, that slot *is* the old Deployment (docs/adr/0008). No patch here
moves traffic: the selector is narrowed only where the narrower one matches exactly the same pods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from include.bluegreen.decisions import fenced
from include.bluegreen.fence import RELEASE_ID, annotation_path, annotation_text, escaped, release_id
from include.bluegreen.state import ServiceState
from include.errors import AdoptionRefused
from include.plan.legacy import Labels, Legacy
from include.plan.models import Traffic

ADOPTED: Final = "stellwerk.io/adopted"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
HELM_RELEASE: Final = "meta.helm.sh/release-name"
_HELM_PREFIX: Final = "meta.helm.sh/"

Patch = list[dict[str, Any]]


def adopted(service: ServiceState | None) -> Legacy | None:
    """The installation that one of the slots is, as the traffic Service says; None for two slots of Stellwerk's.

    :raises AdoptionRefused: the annotation cannot be read: which Deployment is the slot is then unknown
    """
    text = service.annotations.get(ADOPTED) if service else None
    if text is None:
        return None
    try:
        return Legacy.model_validate_json(text)
    except ValidationError as error:
        raise AdoptionRefused(
            f"the annotation {ADOPTED} of the traffic Service cannot be read",
            expected="what Stellwerk wrote when it adopted the installation (the ledger's adoption.done has it)",
            seen=text[:200],
            remedy="write it again from the ledger; nothing is done to the slots until it can be read",
        ) from error


def foreseen(service: ServiceState, traffic: Traffic) -> ServiceState:
    """The traffic Service as it will be once ``traffic.legacy`` is adopted; as it is when it has been already."""
    legacy = traffic.legacy
    if legacy is None or ADOPTED in service.annotations:
        return service
    return replace(service, selector=legacy.selector)


def ownership(service: ServiceState) -> tuple[dict[str, str], dict[str, str]]:
    """The labels and annotations by which Helm knows the Service as its own."""
    labels = {key: value for key, value in service.labels.items() if key == MANAGED_BY and value == "Helm"}
    return labels, {key: value for key, value in service.annotations.items() if key.startswith(_HELM_PREFIX)}


def takeover_patch(service: ServiceState, legacy: Legacy, holder: str) -> Patch:
    """The compare-and-swap that makes ``legacy`` a slot and takes the Service out of Helm's hands.

    It is one patch: there is no moment at which the Service is Helm's no more and not yet marked as adopted. The
    selector is part of it only the first time: later the traffic may be on the other slot. Empty when all is done.

    :param holder: the release id that is to hold the Service
    """
    labels, annotations = ownership(service)
    text = service.annotations.get(ADOPTED)
    if text and release_id(service) == holder and not labels and not annotations:
        return []
    wanted = {RELEASE_ID: holder, ADOPTED: text or annotation_text(legacy.model_dump(mode="json"))}
    patch = [_test("/spec/selector", dict(service.selector))]
    if not service.annotations:
        # Without the parent map nothing can be added below it; the test keeps one that appeared meanwhile.
        patch += [_test("/metadata/annotations", None), _add("/metadata/annotations", wanted)]
    else:
        for key, value in wanted.items():
            patch += [_test(annotation_path(key), service.annotations.get(key)), _add(annotation_path(key), value)]
    for path, value in _paths(labels, annotations):
        patch += [_test(path, value), _remove(path)]
    return patch if text else patch + _reselect(service, legacy.selector)


def undo_patch(service: ServiceState, legacy: Legacy, holder: str, selector: Labels) -> Patch:
    """The compare-and-swap that gives the Service back as it was, held by nobody.

    :param selector: the former one, or the present one where the former would match other pods as well
    :raises ReleaseFenced: another release holds the Service
    """
    if release_id(service) != holder:
        raise fenced(service.name, release_id(service), holder).error()
    patch = [_test("/spec/selector", dict(service.selector))]
    for key in (RELEASE_ID, ADOPTED):
        patch += [_test(annotation_path(key), service.annotations.get(key)), _remove(annotation_path(key))]
    labels = legacy.former.labels
    if labels and not service.labels:
        patch += [_test("/metadata/labels", None), _add("/metadata/labels", dict(labels))]
        labels = {}
    patch += [_add(path, value) for path, value in _paths(labels, legacy.former.annotations)]
    return patch + _reselect(service, selector)


def finish_patch(service: ServiceState) -> Patch:
    """The compare-and-swap that ends the adoption: from then on both slots are Stellwerk's own."""
    path = annotation_path(ADOPTED)
    return [_test(path, service.annotations[ADOPTED]), _remove(path)]


def _paths(labels: Labels, annotations: Labels) -> list[tuple[str, str]]:
    return [
        *((f"/metadata/labels/{escaped(key)}", value) for key, value in sorted(labels.items())),
        *((annotation_path(key), value) for key, value in sorted(annotations.items())),
    ]


def _reselect(service: ServiceState, selector: Mapping[str, str]) -> Patch:
    if dict(selector) == dict(service.selector):
        return []
    return [{"op": "replace", "path": "/spec/selector", "value": dict(selector)}]


def _test(path: str, value: Any) -> dict[str, Any]:
    return {"op": "test", "path": path, "value": value}


def _add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def _remove(path: str) -> dict[str, Any]:
    return {"op": "remove", "path": path}
