"""Rules about what acts while helm installs: both slots share one database, and one of them serves users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from include.chart.context import SlotContext
from include.chart.finding import Finding, block, warn
from include.chart.manifest import Manifest

# Kinds that lie still even as hooks.
_PASSIVE: Final = frozenset(
    {"ConfigMap", "Secret", "ServiceAccount", "Role", "RoleBinding", "PersistentVolumeClaim", "NetworkPolicy"}
)


def acting_hooks(context: SlotContext, manifests: Sequence[Manifest]) -> Iterator[Finding]:
    """No hook acts on what both slots share; the database is migrated by a phase of its own, with a backup."""
    for one in manifests:
        if one.is_test:
            continue
        if one.hooks and one.kind not in _PASSIVE:
            yield block(
                "hook",
                one,
                f"helm would run it as {', '.join(one.hooks)}: it acts on the database that users work with",
                "switch it off in the values (db-migration does its work), or accept it by name and reason in "
                "the environment's chart_accept",
            )
        elif one.kind in ("Job", "CronJob", "Pod") and not one.hooks:
            yield warn(
                "job",
                one,
                "it runs as soon as the slot is deployed, while the other slot (with its own) serves users",
                "make sure that it changes nothing the other slot needs, and may run in both",
            )
