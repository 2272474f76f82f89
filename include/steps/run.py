"""One run of one phase of a release: what is released where, under which identity, with which fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from include.bluegreen.lease import Terms, lease_seconds
from include.gate.parts import covered_parts
from include.ledger.entry import Entry
from include.plan.fingerprint import FingerprintInputs, chart_digest, content_of, fingerprint
from include.plan.kept import Kept
from include.plan.legacy import Legacy
from include.plan.loader import Plan
from include.plan.models import Environment, Release
from include.plan.slots import SLOTS, Slot
from include.plan.values import slot_values
from include.version import VERSION

ROUNDS = 2
"""How often a gate can ask a role in one go; the environment is held for as long."""


@dataclass(frozen=True)
class ReleaseRun:
    """A release on its way to an environment.

    :param chart: folder of the Helm chart
    :param phase: the DAG's id, for example ``production-blue-green``
    :param run_id: Airflow's id of the run
    :param triggered_by: the user who started the run; None for a run the scheduler started
    :param override_reason: why the environment may be taken from a release that holds it; empty: it may not
    :param born: what tells this run from one that was deleted and begun anew under its id
    :param covers: what an approval covers besides the plan, by name, for example what is to be migrated
    """

    release: Release
    environment: Environment
    chart: Path
    phase: str
    run_id: str
    triggered_by: str | None
    override_reason: str = ""
    born: str = ""
    covers: Mapping[str, str] = field(default_factory=dict)

    @property
    def release_id(self) -> str:
        """What fences the traffic Service: unique for each run, readable for humans."""
        return f"{self.release.version}@{self.environment.name}/{self.run_id}"

    @property
    def lease_terms(self) -> Terms:
        """Under what this run holds its environment."""
        return lease_terms(self.environment, self.release_id, self.triggered_by)

    @cached_property
    def fingerprint(self) -> str:
        """Digest over all that an approval covers (DESIGN, vocabulary)."""
        return fingerprint(self._covered)

    @cached_property
    def parts(self) -> dict[str, str]:
        """All that an approval covers, part by part in words."""
        return covered_parts(content_of(self._covered))

    @cached_property
    def _covered(self) -> FingerprintInputs:
        environment = self.environment
        deciders = {user for users in environment.gate.roles.values() for user in users}
        return FingerprintInputs(
            image=self.release.image,
            image_digest=self.release.image.digest,
            chart_digest=chart_digest(self.chart),
            values={slot: self.values(slot) for slot in SLOTS},
            slo=environment.slo,
            watch_seconds=environment.watch.seconds,
            roles=environment.gate.roles,
            stellwerk_version=VERSION,
            covers=dict(self.covers),
            settings={"previous": self.release.previous, **_settings(environment)},
            accounts={who: account for who, account in environment.accounts.items() if who in deciders},
        )

    def values(self, slot: Slot) -> dict[str, Any]:
        """Return the Helm values of one slot."""
        return slot_values(self.release, self.environment, slot)

    def adopting(self, legacy: Legacy | None) -> ReleaseRun:
        """Return this run in an environment one of whose slots is the adopted installation ``legacy``."""
        return replace(self, environment=self.environment.adopting(legacy))

    def describe(self) -> str:
        """Return the line every task's log starts with."""
        who = self.triggered_by or "the scheduler"
        return (
            f"{self.phase}: release {self.release.version} (after {self.release.previous}) to "
            f"{self.environment.name}, namespace {self.environment.namespace}, run {self.run_id} started by {who}"
        )


_DECIDED: Final[dict[str, Any]] = {
    **dict.fromkeys(("namespace", "helm_release", "traffic", "replicas", "deploy_timeout_seconds"), True),
    **dict.fromkeys(("smoke", "watch", "prober", "drain", "cleanup", "chart_accept"), True),
    "connections": {"kubernetes", "prometheus", "registry"},
}
"""What of an environment says how a release is done and judged, besides what a fingerprint names itself."""


def _settings(environment: Environment) -> dict[str, Any]:
    # An adopted installation is bound on the way: the same plan has one fingerprint with and without it.
    return environment.adopting(None).model_dump(mode="json", include=_DECIDED)


def lease_name(environment: Environment) -> str:
    """Name of the Lease that says which release holds an environment."""
    return f"stellwerk-{environment.application}-{environment.name}"


def lease_terms(environment: Environment, release_id: str, started_by: str | None) -> Terms:
    """Under what a release holds an environment."""
    return Terms(
        name=lease_name(environment),
        release_id=release_id,
        started_by=started_by or "the scheduler",
        duration_seconds=lease_seconds(ROUNDS * environment.gate.timeout_seconds),
    )


def open_run(
    plan: Plan,
    *,
    release: str,
    environment: str,
    phase: str,
    run_id: str,
    triggered_by: str | None,
    override_reason: str = "",
    kept: Kept | None = None,
) -> ReleaseRun:
    """Bind a run's parameters to the plan.

    :param kept: what stands in for the files that cannot be read; nothing is deployed then, and no chart needed
    :raises PlanError: unknown release, unknown environment, or an environment without a chart
    """
    if kept is None:
        target, version = plan.environment(environment), plan.release(release)
        chart = plan.chart(target)
    else:
        target = plan.environments.get(environment, kept.environment)
        version = plan.releases.get(release, kept.release)
        chart = plan.folder / target.chart
    return ReleaseRun(
        release=version,
        environment=target,
        chart=chart,
        phase=phase,
        run_id=run_id,
        triggered_by=triggered_by,
        override_reason=override_reason.strip(),
    )


def release_id_of(entry: Entry) -> str:
    """The release id of the run that wrote an entry, as :attr:`ReleaseRun.release_id` has it."""
    return f"{entry.release}@{entry.environment}/{entry.run_id}"


def parse_release_id(release_id: str) -> tuple[str, str, str] | None:
    """Split a release id into version, environment and run id; None when Stellwerk did not write it."""
    version, at, rest = release_id.partition("@")
    environment, slash, run_id = rest.partition("/")
    return (version, environment, run_id) if at and slash and version and environment and run_id else None
