"""What a release will change: short lines for those who decide, the whole as Markdown for the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from include.bluegreen.capacity import required_endpoints
from include.bluegreen.eligibility import RollbackOption
from include.bluegreen.state import HpaState, PodState
from include.chart.manifest import Manifest, mapping, workloads
from include.plan.models import Environment
from include.plan.slots import Slot
from include.report.manifest_diff import ObjectChange, changes

LONGEST_BYTES: Final = 20_000
"""How long a preview may be; what is left out is said."""

_LONGEST_LINE: Final = 160
_DIGEST: Final = 19  # "sha256:" and twelve digits, as the registries' own tools show it


@dataclass(frozen=True)
class Capacity:
    """Sizes: endpoints that serve now, endpoints a cutover needs, bounds of the autoscaler now and then."""

    ready: int
    required: int
    now: tuple[int, int] | None
    then: tuple[int, int] | None


@dataclass(frozen=True)
class Preview:
    """What will be different.

    :param known: whether Helm knows what runs now; without, everything looks new
    :param running: images of the pods that serve now
    :param planned: images of the pods that will
    """

    changes: tuple[ObjectChange, ...]
    known: bool
    running: tuple[str, ...]
    planned: tuple[str, ...]
    capacity: Capacity
    options: tuple[RollbackOption, ...]


@dataclass(frozen=True)
class Observed:
    """What a preview is made from.

    :param active: the slot that serves now
    :param before: its objects as Helm installed them
    :param after: the objects of the slot that the release goes to
    :param pods: of the active slot
    :param hpas: of the namespace
    :param ready: usable endpoints of the traffic Service
    """

    active: Slot
    before: Sequence[Manifest]
    after: Sequence[Manifest]
    pods: Sequence[PodState]
    hpas: Sequence[HpaState]
    ready: int
    options: tuple[RollbackOption, ...]


def preview(environment: Environment, seen: Observed) -> Preview:
    """Compare what runs with what will run."""
    release = environment.slot_release(seen.active)
    now = next(((one.min_replicas, one.max_replicas) for one in seen.hpas if one.target == release), None)
    return Preview(
        changes=changes(environment, seen.before, seen.after),
        known=bool(seen.before),
        running=_sorted(_running(pod) for pod in seen.pods),
        planned=_sorted(
            str(container.get("image", "")) for one in workloads(seen.after) for container in one.all_containers
        ),
        capacity=Capacity(
            seen.ready, required_endpoints(environment.replicas, seen.ready), now, _bounds(seen.after)
        ),
        options=seen.options,
    )


def summary(found: Preview) -> list[str]:
    """Lines for a phone: images, objects, capacity. The way back is told beside them."""
    capacity = found.capacity
    return [
        f"image: {_names(found.running)} → {_names(found.planned)}",
        _objects(found),
        f"capacity: {capacity.ready} ready now, {capacity.required} needed for a cutover, "
        f"autoscaler {_span(capacity.now)} → {_span(capacity.then)}",
    ]


def markdown(found: Preview) -> str:
    """The whole preview, at most :data:`LONGEST_BYTES` of UTF-8."""
    parts = ["## Preview", "", *(f"- {line}" for line in summary(found)), "", "### Images", ""]
    parts += [f"- runs: `{image}`" for image in found.running] + [
        f"- will run: `{image}`" for image in found.planned
    ]
    parts += ["", "### Ways back", ""]
    parts += [
        f"- {option.name}: {'possible' if option.eligible else 'not possible'}, {option.reason}"
        for option in found.options
    ]
    parts += ["", "### Objects", ""]
    if not found.changes:
        parts.append("No object changes.")
    for change in found.changes:
        parts += [
            f"**{change.object}** {change.change} ({change.source or 'no longer in the chart'})",
            "",
            "```diff",
        ]
        parts += [_short(line.replace("```", "'''")) for line in change.diff]
        parts += ["```", ""]
    return _bounded(parts)


def _bounded(lines: Sequence[str]) -> str:
    kept: list[str] = []
    room = LONGEST_BYTES - 100  # for the sentence that says what was cut
    for number, line in enumerate(lines):
        room -= len(line.encode()) + 1
        if room < 0:
            fence = ["```"] if sum(one.startswith("```") for one in kept) % 2 else []
            kept += [*fence, "", f"Cut here: {len(lines) - number} more line(s)."]
            break
        kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def _objects(found: Preview) -> str:
    if not found.known:
        return f"objects: {len(found.changes)}; Helm does not know what runs now, so all of them look new"
    if not found.changes:
        return "objects: none changes"
    names = [
        f"{one.object} " + (f"+{one.counts[0]} -{one.counts[1]}" if one.change == "changed" else one.change)
        for one in found.changes
    ]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"objects: {', '.join(names[:6])}{more}"


def _running(pod: PodState) -> str:
    """The image as it was asked for, with the digest that really runs."""
    _, at, digest = pod.image_id.rpartition("@")
    name = pod.image.partition("@")[0]
    return f"{name}@{digest}" if at else name


def _bounds(manifests: Iterable[Manifest]) -> tuple[int, int] | None:
    for one in manifests:
        if one.kind == "HorizontalPodAutoscaler":
            spec = mapping(one.document, "spec")
            return int(spec.get("minReplicas") or 1), int(spec.get("maxReplicas") or 0)
    return None


def _names(images: Sequence[str]) -> str:
    return ", ".join(_named(image) for image in images) or "none"


def _named(image: str) -> str:
    name, at, digest = image.partition("@")
    short = name.rpartition("/")[2]
    return f"`{short}@{digest[:_DIGEST]}`" if at else f"`{short}` (not pinned)"


def _span(bounds: tuple[int, int] | None) -> str:
    return f"{bounds[0]}-{bounds[1]}" if bounds else "none"


def _short(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if name}))
