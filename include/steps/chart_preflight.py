"""Everything about a chart, its objects and the account that can be found out before anything is written."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from include.bluegreen.state import ServiceState
from include.chart.context import SlotContext, target_ports
from include.chart.finding import Finding, block
from include.chart.manifest import Manifest, mapping
from include.chart.rules import check
from include.clients.helm import Capabilities, Helm
from include.clients.helm.classify import redact
from include.clients.kubernetes import Cluster
from include.clients.kubernetes.discovery import Api
from include.clients.kubernetes.inspection import Inspector
from include.clients.kubernetes.permissions import Right, rights
from include.errors import ChartError, ClusterRefused, HelmPending
from include.plan.slots import Slot, other
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

# Enough to be quick, few enough for a server's fair queue.
_AT_ONCE: Final = 8
_FILE: Final = re.compile(r"[\w.-]+/(?:templates|charts)/[\w./-]+")
_RIGHTS_FILE: Final = "deploy/rbac.yaml"

Question = TypeVar("Question")


@dataclass(frozen=True)
class ChartCheck:
    """What was found, and the objects of the slot that the release goes to (none when it does not render)."""

    findings: tuple[Finding, ...]
    manifests: tuple[Manifest, ...]


async def check_chart(
    run: ReleaseRun, cluster: Cluster, helm: Helm, target: Slot, services: Sequence[ServiceState]
) -> ChartCheck:
    """Find everything at once: rules, what helm says, what the API server says, which rights are missing.

    :param services: the traffic and the preview Service, as far as they exist
    :raises ClusterUnreachable: no answer
    """
    inspector = cluster.inspector()
    api = await inspector.api()
    capabilities = Capabilities(await cluster.server_version(), api.versions)
    found: list[Finding] = []
    manifests = await _rendered(run, helm, target, capabilities, found)
    others = await _rendered(run, helm, other(target), capabilities, found)
    if manifests:
        traffic = run.environment.traffic
        context = SlotContext(run.environment, target, run.release.image, target_ports(traffic, services))
        found += check(context, manifests, others)
        found += await _helm_refusal(run, helm, target)
        found += await refusals(inspector, api, manifests, run.values(target))
    found += await missing_rights(inspector, api, manifests, run.environment.namespace)
    return ChartCheck(tuple(dict.fromkeys(found)), manifests)


async def lacking_rights(run: ReleaseRun, cluster: Cluster) -> list[Finding]:
    """The verbs that every release needs and this account lacks, for when not even looking was allowed."""
    return await missing_rights(cluster.inspector(), Api({}), (), run.environment.namespace)


async def missing_rights(
    inspector: Inspector, api: Api, manifests: Iterable[Manifest], namespace: str
) -> list[Finding]:
    """The verbs that the account lacks for a release of these objects, each named with what it is for."""

    async def ask(right: Right) -> Finding | None:
        if await inspector.may(right.group, right.resource, right.verb, namespace=right.namespace):
            return None
        resource = f"{right.resource}.{right.group}" if right.group else right.resource
        place = f"in namespace {right.namespace}" if right.namespace else "in the whole cluster"
        return Finding(
            "permission",
            "block",
            "",
            _RIGHTS_FILE,
            f"the account lacks the verb {right.verb} on {resource} {place}: a release {right.why}",
            f"kubectl apply -f {_RIGHTS_FILE}, or grant it to the account of the Kubernetes connection",
        )

    return await _all(ask, rights(api, manifests, namespace))


async def _rendered(
    run: ReleaseRun, helm: Helm, slot: Slot, capabilities: Capabilities, found: list[Finding]
) -> tuple[Manifest, ...]:
    name = run.environment.slot_release(slot)
    try:
        return await helm.template(name, run.chart, run.values(slot), capabilities=capabilities)
    except ChartError as error:
        if not any(one.rule == "render" for one in found):
            found.append(_unrendered(error, slot))
        return ()


def _unrendered(error: ChartError, slot: Slot) -> Finding:
    file = _FILE.search(error.seen)
    what = f"it does not render for slot {slot} ({type(error).__name__}): {error.seen or error.what}"
    return Finding("render", "block", "", file[0] if file else "Chart.yaml", what, error.remedy or "correct it")


async def _helm_refusal(run: ReleaseRun, helm: Helm, slot: Slot) -> list[Finding]:
    """What only helm's own dry run sees: kinds unknown to the cluster, objects that others own."""
    name = run.environment.slot_release(slot)
    try:
        await helm.dry_run(name, run.chart, run.values(slot))
    except HelmPending as error:
        # The deployment recovers the Helm release before it installs; until then helm refuses to look.
        return [Finding("helm-pending", "warn", name, "", f"helm could not try it: {error.seen}", "nothing")]
    except (ChartError, ClusterRefused) as error:
        if isinstance(error, ClusterRefused) and error.status == 403 and "cannot" in error.seen:
            return []  # the rights are asked for one by one
        file = _FILE.search(error.seen)
        return [Finding("helm-dry-run", "block", name, file[0] if file else "", error.seen, error.remedy)]
    return []


async def refusals(
    inspector: Inspector, api: Api, manifests: Sequence[Manifest], values: Mapping[str, Any]
) -> list[Finding]:
    """What the API server itself would refuse: wrong types, bad ports, unknown fields, quotas, policies.

    :param values: what the objects were rendered from; the secrets among them are not repeated
    """

    async def ask(manifest: Manifest) -> Finding | None:
        resource = api.find(manifest.api_version, manifest.kind)
        if resource is None:
            return block(
                "unknown-kind",
                manifest,
                f"the cluster does not know {manifest.kind} of {manifest.api_version}",
                "install its CustomResourceDefinition before the release, or correct apiVersion and kind",
            )
        if not manifest.name and not manifest.hooks:
            return block("api-refuses", manifest, "it has no name", "set metadata.name")
        words = await inspector.refusal(manifest, resource)
        if words is None:
            return None
        what = f"the API server refuses it: {redact(words, _confidential(manifest, values))}"
        return block("api-refuses", manifest, what, "correct the template or the values it is rendered from")

    return await _all(ask, [one for one in manifests if not one.is_test])


def _confidential(manifest: Manifest, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """What must not be repeated from the server's words: secret values, and all that a Secret holds."""
    if manifest.kind != "Secret":
        return values
    held = (mapping(manifest.document, place) for place in ("data", "stringData"))
    return {"values": values, "secret": [str(text) for part in held for text in part.values()]}


async def _all(
    ask: Callable[[Question], Awaitable[Finding | None]], questions: Sequence[Question]
) -> list[Finding]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(question: Question) -> Finding | None:
        async with gate:
            return await ask(question)

    answers = await asyncio.gather(*(one(question) for question in questions))
    return [answer for answer in answers if answer is not None]
