"""One rendered object of a chart, and tolerant ways to look into it: nobody has validated it yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

HOOK: Final = "helm.sh/hook"
# Where each kind that makes pods keeps their template.
_TEMPLATES: Final[Mapping[str, tuple[str, ...]]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


@dataclass(frozen=True)
class Manifest:
    """An object as helm rendered it.

    :param source: the chart's file it comes from, ``""`` when helm did not say
    :param text: the YAML it was rendered to; the API server is asked about exactly this
    :param document: the same, parsed
    """

    source: str
    text: str
    document: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.document.get("kind", ""))

    @property
    def api_version(self) -> str:
        """Group and version, for example ``apps/v1``."""
        return str(self.document.get("apiVersion", ""))

    @property
    def group(self) -> str:
        """The API group; ``""`` is the core."""
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    @property
    def name(self) -> str:
        """Its name."""
        return str(mapping(self.document, "metadata").get("name", ""))

    @property
    def namespace(self) -> str:
        """The namespace it names; ``""`` leaves that to helm."""
        return str(mapping(self.document, "metadata").get("namespace") or "")

    @property
    def object(self) -> str:
        """Kind and name, as findings and previews name it."""
        return f"{self.kind}/{self.name}"

    @property
    def hooks(self) -> tuple[str, ...]:
        """When helm runs it as a hook; empty for an object of the release itself."""
        text = str(mapping(self.document, "metadata", "annotations").get(HOOK, ""))
        return tuple(part.strip() for part in text.split(",") if part.strip())

    @property
    def is_test(self) -> bool:
        """Whether only ``helm test`` would ever create it."""
        return bool(self.hooks) and set(self.hooks) <= {"test", "test-success", "test-failure"}

    @property
    def template(self) -> Mapping[str, Any] | None:
        """The template of the pods it makes; None when it makes none."""
        path = _TEMPLATES.get(self.kind)
        return None if path is None else mapping(self.document, *path)

    @property
    def pod_labels(self) -> Mapping[str, str]:
        """The labels of the pods it makes."""
        return _texts(mapping(self.template or {}, "metadata", "labels"))

    @property
    def selector(self) -> Mapping[str, str]:
        """The labels by which a workload or a Service finds its pods; empty when it has none of this form."""
        selector = mapping(self.document, "spec", "selector")
        return _texts(selector if self.kind == "Service" else mapping(selector, "matchLabels"))

    @property
    def containers(self) -> tuple[Mapping[str, Any], ...]:
        """The containers of the pods it makes, without the init containers."""
        return sequence(mapping(self.template or {}, "spec"), "containers")

    @property
    def all_containers(self) -> tuple[Mapping[str, Any], ...]:
        """The same with the init containers before them."""
        return (*sequence(mapping(self.template or {}, "spec"), "initContainers"), *self.containers)


def mapping(value: Any, *path: str) -> Mapping[str, Any]:
    """The mapping at ``path``; an empty one when there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any, *path: str) -> tuple[Mapping[str, Any], ...]:
    """The mappings of the list at ``path``; nothing when there is none."""
    *parents, last = path
    items = mapping(value, *parents).get(last)
    if not isinstance(items, Sequence) or isinstance(items, str):
        return ()
    return tuple(item for item in items if isinstance(item, Mapping))


def subset(part: Mapping[str, str], whole: Mapping[str, str]) -> bool:
    """Whether a selector (an empty one selects nothing) matches these labels."""
    return bool(part) and part.items() <= whole.items()


def workloads(manifests: Sequence[Manifest]) -> Iterator[Manifest]:
    """Those that make pods, tests excepted."""
    return (one for one in manifests if one.template is not None and not one.is_test)


def _texts(value: Mapping[str, Any]) -> Mapping[str, str]:
    return {str(key): str(text) for key, text in value.items()}
