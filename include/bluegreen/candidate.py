"""Which stored revision of the old slot's Helm release is the version that a rollback returns to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.bluegreen.eligibility import Candidate
from include.bluegreen.state import DeploymentState, HelmRevision
from include.chart.manifest import Manifest, mapping


@dataclass(frozen=True)
class Sought:
    """What is looked for.

    :param deployment: name of the slot's Deployment (and of its Helm release)
    :param version: the version the release came from
    :param repository: the application's image without tag and digest: a sidecar's tag says nothing of it
    :param shared: names of the Services that belong to no slot
    """

    deployment: str
    version: str
    repository: str
    shared: frozenset[str]


def objection(
    sought: Sought, revision: HelmRevision, manifests: Sequence[Manifest], values: Mapping[str, Any]
) -> str | None:
    """Why a revision that worked is not to be brought back; None when nothing is wrong with it.

    :param manifests: its stored objects
    :param values: that it was made from; an image that is pinned by its digest has its tag only there
    """
    if not manifests:
        return "it holds no object"
    images = images_of(manifests, sought.deployment)
    if not images:
        return f"it has no Deployment {sought.deployment}"
    own = {image for image in images if is_of(image, sought.repository)} or images
    tags = {tag for image in own if (tag := tag_of(image))} or {labelled_tag(values)}
    if not any(names_version(tag, sought.version) for tag in (tags - {""}) or {revision.app_version}):
        return f"it runs {', '.join(sorted(images))}"
    if taken := sorted(one.name for one in manifests if one.kind == "Service" and one.name in sought.shared):
        return f"it would overwrite Service {', '.join(taken)}, which belongs to no slot"
    return None


def images_of(manifests: Sequence[Manifest], deployment: str) -> frozenset[str]:
    """The images that the containers of a Deployment run."""
    return frozenset(
        str(container["image"])
        for one in manifests
        if one.kind == "Deployment" and one.name == deployment
        for container in one.containers
        if container.get("image")
    )


def none_of(release: str, objections: Mapping[int, str]) -> Candidate:
    """The answer when no revision can be brought back.

    :param objections: revision to why not
    """
    if not objections:
        return Candidate(usable=False, reason=f"Helm release {release} has no revision that worked")
    why = "; ".join(f"revision {number}: {text}" for number, text in objections.items())
    return Candidate(usable=False, reason=f"no revision of Helm release {release} can be brought back ({why})")


def brought_back(
    history: Sequence[HelmRevision], candidate: Candidate, deployment: DeploymentState | None, since: datetime
) -> bool:
    """Whether helm has nothing left to do: the candidate was rolled back to already and nobody has touched it.

    :param since: when the slot was left: a rollback of an earlier day says nothing about its configuration
    """
    if deployment is None or set(deployment.images) != candidate.images or not history:
        return False
    newest = max(history, key=lambda one: one.revision)
    rolled_back = newest.description.lower().startswith("rollback to")
    recent = newest.updated is not None and newest.updated >= since
    return newest.status == "deployed" and newest.revision == candidate.revision and rolled_back and recent


def names_version(tag: str, version: str) -> bool:
    """Whether a tag means a version: ``v2.9.0`` and ``release-2.9.0`` do, ``12.9.0`` and ``2.9.0-rc.1`` do not."""
    return re.fullmatch(rf"(.*[^0-9.])?{re.escape(version)}", tag) is not None


def tag_of(image: str) -> str:
    """The tag of an image; "" when it has none."""
    _, colon, tag = image.partition("@")[0].rpartition("/")[2].partition(":")
    return tag if colon else ""


def labelled_tag(values: Mapping[str, Any]) -> str:
    """The tag that a revision was given beside its image's digest; "" when there is none."""
    return str(mapping(values, "image").get("tag") or "")


def is_of(image: str, repository: str) -> bool:
    """Whether an image is one of a repository, whichever registry the chart puts before its name."""
    tag = tag_of(image)
    name = image.partition("@")[0].removesuffix(f":{tag}" if tag else "")
    return name == repository or name.endswith(f"/{repository}")
