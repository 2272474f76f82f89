"""Rules about images: what is approved is what runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from include.chart.context import SlotContext
from include.chart.finding import Finding, block, warn
from include.chart.manifest import Manifest, workloads


def pinned_images(context: SlotContext, manifests: Sequence[Manifest]) -> Iterator[Finding]:
    """Every image is pinned by its digest; ``latest`` or no tag at all is refused."""
    for one in workloads(manifests):
        for container in one.all_containers:
            image = container.get("image")
            name = container.get("name")
            if not isinstance(image, str) or not image:
                yield block("image-tag", one, f"container {name} has no image", "set the image of every container")
            elif not (tag := tag_of(image)):
                continue
            elif tag in (UNTAGGED, "latest"):
                yield block(
                    "image-tag",
                    one,
                    f"image {image} of container {name} has no tag that means one version",
                    "name the version, best with its digest (image@sha256:…)",
                )
            else:
                yield warn(
                    "image-tag",
                    one,
                    f"image {image} is not pinned: its tag may mean something else when a pod starts",
                    "set image.digest in the release file, or connections.registry in the environment's",
                )


UNTAGGED = "(none)"


def tag_of(image: str) -> str:
    """The tag that decides what runs: ``""`` for an image with a digest, ``(none)`` for one without a tag."""
    if "@sha256:" in image:
        return ""
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return tag if colon and tag else UNTAGGED
