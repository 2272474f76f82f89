"""The load test of a rehearsal: run, kept, judged."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from include.clients.kubernetes import Cluster
from include.errors import LoadNotMeasured, LoadTooSlow, PlanError, RehearsalError
from include.ledger.store import Ledger
from include.load.figures import FILES, Figures, read
from include.load.place import workplace
from include.load.process import measure
from include.load.verdict import LoadVerdict, judge
from include.plan.staging import LoadTest
from include.report.folder import Folder
from include.report.load_plot import svg
from include.slo.samples import Snapshot
from include.steps.lease import hold, renewing
from include.steps.record import all_recorded, record
from include.steps.run import ReleaseRun
from include.steps.staging.arrival import counts, went_elsewhere
from include.steps.staging.artefacts import Artefact, folder_of, keep
from include.steps.staging.entries import LOAD_MEASURED
from include.steps.staging.serving import look, must_serve
from include.steps.staging.smoke import must_have_passed

log = logging.getLogger(__name__)


def load_of(run: ReleaseRun) -> LoadTest:
    """The load test that the plan has for the run's environment.

    :raises PlanError: none, or the environment is not staging
    """
    environment = run.environment
    if environment.load is None or environment.name != "staging":
        raise PlanError(
            f"there is no load test for {environment.name}",
            expected="staging, with a section `load`",
            remedy="add it to environments/staging.yaml; no load is ever put on production",
        )
    return environment.load


async def load_test(run: ReleaseRun, cluster: Cluster, ledger: Ledger, reports: Folder) -> dict[str, Any]:
    """Put the plan's load on the environment's public URL, keep what was measured, and judge it.

    The environment is held meanwhile: nobody else may deploy into the measurement.

    :param reports: the folder of all reports
    :return: the recorded facts: ``result``, ``reasons``, ``figures``, ``artefacts``
    :raises TrafficError: the smoke suite has not passed: nothing is loaded that does not even work
    :raises EnvironmentHeld: another release has the environment
    :raises EvidenceError: users do not get what this run has deployed
    :raises LoadNotMeasured: nothing is known
    :raises LoadTooSlow: a threshold of the plan is missed
    """
    load_of(run)
    must_have_passed(ledger, run, before="the load test")
    lease = await hold(run, cluster, ledger, take_over=True)
    async with renewing(lease, run.lease_terms, cluster):
        return await _load_test(run, cluster, ledger, reports)


async def _load_test(run: ReleaseRun, cluster: Cluster, ledger: Ledger, reports: Folder) -> dict[str, Any]:
    plan = load_of(run)
    slot = (await must_serve(run, cluster, ledger, what="the load test"))["slot"]
    attempt = len(all_recorded(ledger, run, LOAD_MEASURED)) + 1
    with workplace() as folder:
        before = await counts(run, cluster, slot)
        await measure(plan, run.environment.traffic.public_url, folder)
        figures = read(folder, plan.seconds)
        verdict = judge(figures, plan.thresholds, plan.titles)
        elsewhere = await _elsewhere(run, cluster, ledger, figures, before)
        if elsewhere:
            verdict = LoadVerdict("UNKNOWN", (*elsewhere, *verdict.reasons))
        artefacts = _keep(run, folder, figures, reports, attempt)
    facts = {
        "result": verdict.result,
        "reasons": list(verdict.reasons),
        "figures": figures.facts() if figures else None,
        "thresholds": plan.thresholds.model_dump(mode="json"),
        "users": plan.users,
        "seconds": plan.seconds,
        "artefacts": [one.facts() for one in artefacts],
    }
    record(ledger, run, LOAD_MEASURED, facts, number=attempt)
    log.info("%s; %s", verdict.sentence, figures.facts() if figures else "no figures")
    if verdict.result != "PASSED":
        raise _error(run, verdict)
    return facts


async def _elsewhere(
    run: ReleaseRun, cluster: Cluster, ledger: Ledger, figures: Figures | None, before: Snapshot
) -> tuple[str, ...]:
    """Why something else may have been measured, a clause each."""
    found = []
    seen = await look(run, cluster, ledger)
    if not seen["ok"]:
        found.append(f"something else was measured: {seen['problem']}")
    if figures is not None:
        after = await counts(run, cluster, before.slot)
        found.append(went_elsewhere(load_of(run), figures, run.environment.traffic, before, after))
    return tuple(one for one in found if one)


def _keep(
    run: ReleaseRun, folder: Path, figures: Figures | None, reports: Folder, attempt: int
) -> tuple[Artefact, ...]:
    plan, where = load_of(run), folder_of(run, reports)
    contents = {name: (folder / name).read_bytes() for name in FILES if (folder / name).is_file()}
    title = f"Load test of {run.release.version} in {run.environment.name}"
    if figures is not None and (picture := svg(figures, plan.thresholds, title=title)):
        contents["load.svg"] = picture.encode()
    # Named by what is in it: an attempt that still runs although another has begun writes over nothing.
    digest = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents.values()))
    place = f"load-{attempt}-{digest.hexdigest()[:8]}"
    return tuple(keep(where, f"{place}/{name}", content) for name, content in contents.items())


def _error(run: ReleaseRun, verdict: LoadVerdict) -> RehearsalError:
    what = f"{run.release.version} under load in {run.environment.name}"
    seen = "; ".join(verdict.reasons)
    if verdict.result == "UNKNOWN":
        return LoadNotMeasured(
            f"{what}: nothing is known",
            expected="enough requests to judge",
            seen=seen,
            remedy="see that staging answers, or raise load.users and load.seconds; then clear this task alone",
        )
    return LoadTooSlow(
        f"{what}: too slow, or with too many errors",
        expected="what load.thresholds of the environment's YAML says",
        seen=seen,
        remedy="make the release faster and rehearse again (a new run with repeat_reason); to measure once more, "
        "or by corrected thresholds, clear this task alone",
    )
