"""A release of 1 July 2026 in the ledger, every phase of it, as its steps write it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from include.ledger.entry import NewEntry
from include.plan.loader import load_plan, plan_folder
from include.steps.phase import claim, complete
from include.steps.planned import record_plan
from include.steps.record import record
from include.steps.run import ReleaseRun
from tests.unit.report.postmortem.records import Story, TimedLedger, points, release_run

HOUR = 3600
DAY = 24 * HOUR
DIGEST = "sha256:" + "a" * 64


def planned_run(day: date = date(2026, 7, 1), **changes: Any) -> ReleaseRun:
    """The shipped release on the day whose 12:00 in Berlin is the stories' zero."""
    run = release_run("manual__production")
    return replace(run, release=run.release.model_copy(update={"date": day, **changes}))


class Release(Story):
    """A story whose ledger holds the plan."""

    def __init__(self, run: ReleaseRun | None = None) -> None:
        super().__init__(run or planned_run(), TimedLedger())

    def of(self, phase: str, *, environment: str = "production", by: str = "release-manager") -> ReleaseRun:
        where = load_plan(plan_folder()).environment(environment)
        return replace(self.run, environment=where, phase=phase, run_id=f"3.0.0__{phase}", triggered_by=by)

    def planned(self, seconds: float, run: ReleaseRun | None = None) -> Release:
        self.written.seconds = seconds
        record_plan(run or self.run, self.ledger)
        return self

    def phase(self, seconds: float, run: ReleaseRun, *, ends: float | None = None, repeat: str = "") -> Release:
        self.written.seconds = seconds
        claim(run, self.ledger, run.phase, repeat)
        record_plan(run, self.ledger)
        if ends is not None:
            self.written.seconds = ends
            complete(run, self.ledger, run.phase)
        return self

    def told_of(
        self, seconds: float, run: ReleaseRun, kind: str, payload: Mapping[str, Any], **more: Any
    ) -> Release:
        self.note(seconds, kind, payload, run=run, **more)
        return self

    def ticked(self, seconds: float, run: ReleaseRun, checklist: str, role: str, *, but: str = "") -> Release:
        self.written.seconds = seconds
        items = next(found for name, found in run.environment.checklists.items() if name == checklist)
        texts = [item.text for item in items if item.role == role and item.text != but]
        payload = {"checklist": checklist, "role": role, "points": texts, "comment": "selbst gesehen"}
        key = f"ticked/{run.run_id}/{checklist}/{role}"
        place = (run.release.version, run.environment.name, run.run_id, role)
        self.written.append(NewEntry("checklist.ticked", *place, payload, key=key))
        return self


def as_planned() -> Release:
    """Every phase of the plan, on time."""
    story = Release()
    preparation, rehearsal = story.of("release-preparation"), story.of("staging-deploy", environment="staging")
    story.phase(-7 * DAY - 3 * HOUR, preparation, ends=-7 * DAY - 2 * HOUR)
    for role in ("technical-lead", "security-officer", "business-owner", "release-manager", "on-call-lead"):
        story.ticked(-7 * DAY - 2.5 * HOUR, preparation, "preparation", role)
    story.phase(-3 * DAY - 3 * HOUR, rehearsal)
    story.told_of(-3 * DAY - 2 * HOUR, rehearsal, "deploy.done", {"slot": "green", "revision": 1})
    figures = {"requests": 12000, "p95_seconds": 0.21}
    story.told_of(-3 * DAY - HOUR, rehearsal, "staging.load-measured", {"result": "PASSED", "figures": figures})
    tested = {"user": "test-admin", "cases": {"order": "passed"}, "findings": []}
    story.told_of(-3 * DAY - HOUR / 2, rehearsal, "uat.answered", tested, actor="test-admin")
    story.phase(-DAY - 3 * HOUR, story.of("final-check"), ends=-DAY - 2 * HOUR)
    for role in ("technical-lead", "release-manager", "on-call-lead"):
        story.ticked(-DAY - 2.5 * HOUR, story.of("final-check"), "final-check", role)
    story.phase(-4 * HOUR, story.of("release-day"))
    story.ticked(-4 * HOUR + 60, story.of("release-day"), "standby", "on-call-lead")
    _migrate(story)
    final = replace(rehearsal, run_id="3.0.0__final")
    story.told_of(-1.8 * HOUR, final, "deploy.done", {"slot": "green", "revision": 2})
    story.told_of(-1.4 * HOUR, final, "verify.passed", {"slot": "green", "checks": ["alive: 200 in 8 ms"]})
    _go_live(story)
    story.told(HOUR + 40, "cleanup").told(2 * HOUR, "successful")
    story.note(3 * HOUR - 60, "release.signed-off", {"people": ["tina", "bert"], "fingerprint": DIGEST})
    return story


def _migrate(story: Release) -> None:
    run = story.of("db-migration")
    taken = {"purpose": "safety", "backup": "safety-1", "sha256": "b" * 64, "size": 1_234_567}
    story.told(-3 * HOUR + 30, "deployment-started")
    story.told_of(-3 * HOUR + 60, run, "backup.taken", taken)
    story.told_of(-3 * HOUR + 90, run, "backup.verified", {**taken, "level": "restored", "restore_seconds": 12.4})
    tried = {"steps": ["r1"], "old_version": {"proven": True}, "way_back": {"proven": True}}
    story.told_of(-3 * HOUR + 100, run, "rehearsal.done", tried)
    story.told_of(-3 * HOUR + 120, run, "migration.intended", {"backup": "safety-1"})
    story.told_of(-3 * HOUR + 150, run, "migration.applied", {"seconds": 30})
    story.told_of(-3 * HOUR + 160, run, "migration.verified", {"revisions": ["r1"], "tables": ["public.orders"]})
    story.told(-2 * HOUR, "migration-completed")


def _go_live(story: Release) -> None:
    story.until_cutover()
    story.told(-1800, "slot-deployment-started").told(2, "cutover")
    story.watching()
    findings = [["criteria.error_rate", "HEALTHY", "0.1 %"], ["criteria.p95_seconds", "HEALTHY", "120 ms"]]
    story.ended(
        HOUR, "PASSED", "all criteria held", points=points(story, bad_from=999, until=60), findings=findings
    )
    record(story.ledger, story.run, "watch.passed", {"result": "PASSED"})
    story.note(HOUR + 30, "cleanup.done", {"slot": "blue", "policy": "scale-to-zero"})
    story.note(2 * HOUR, "release.verified", {"slot": "green", "checks": ["alive: 200 in 9 ms"]})
