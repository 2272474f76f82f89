"""What those who decide about a migration are shown, and what exactly their Go is bound to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from include.errors import ApprovalMissing
from include.gate.form import Frame, framed
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.markdown import literal
from include.steps.database.entries import SURVEYED, TRIED_OUT
from include.steps.database.look import facts, rehearsal_digest
from include.steps.database.site import database_plan
from include.steps.database.watched import not_seen_well
from include.steps.gate import Question
from include.steps.record import require
from include.steps.run import ReleaseRun

GATE = "the migration's gate"


def decided_by(run: ReleaseRun) -> ReleaseRun:
    """The run with the gate of its migration: the roles that decide about it."""
    gate = run.environment.gate.only(database_plan(run).gate_roles)
    return replace(run, environment=run.environment.model_copy(update={"gate": gate}))


def decided_about(run: ReleaseRun, ledger: Ledger) -> ReleaseRun:
    """The run as its migration is decided about: the roles for it, and a fingerprint over survey and rehearsal.

    Whoever asks and whoever acts binds the run by this, so that a Go for one rehearsal is none for another.

    :raises TrafficError: the run has no survey or no rehearsal
    :raises ApprovalMissing: the rehearsal is of another survey than the run's newest, of another old version, or
        was done in another way than the plan asks for by now
    """
    plan = database_plan(run)
    surveyed = require(ledger, run, SURVEYED, before=GATE).payload
    tried = require(ledger, run, TRIED_OUT, before=GATE).payload
    if tried["survey"] != surveyed["digest"]:
        raise ApprovalMissing(
            "the rehearsal is of another migration than the one that was surveyed last",
            expected=f"a rehearsal of survey {surveyed['digest'][:12]}",
            seen=f"one of {tried['survey'][:12]}",
            remedy="clear the rehearsal",
        )
    if tried["previous"] != run.release.previous:
        raise ApprovalMissing(
            "the rehearsal was done with another old version than the one that the release replaces",
            expected=run.release.previous,
            seen=str(tried["previous"]),
            remedy="clear the rehearsal",
        )
    if tried["plan"] != (now := rehearsal_digest(plan)):
        raise ApprovalMissing(
            "the rehearsal was done in another way than the plan asks for by now",
            expected=f"tests of the old version and way back as in the plan, {now}",
            seen=str(tried["plan"]),
            remedy="clear the rehearsal",
        )
    covers = {
        "survey": str(surveyed["digest"]),
        "policy": str(surveyed["policy"]),
        "backup": f"{tried['backup']} {tried['backup_sha256']}",
        "rehearsal": str(tried["id"]),
        "schema": str(tried["fingerprint"]),
        "old version": f"{tried['previous']} {'works' if tried['old_version']['proven'] else 'not proven'}",
        "way back": "proven" if tried["way_back"]["proven"] else "none",
        "watch": f"{plan.watch_seconds:g}",
    }
    return replace(decided_by(run), covers=covers)


def question(run: ReleaseRun, role: str, ledger: Ledger, frame: Frame) -> Question:
    """Compose the question of one role, from the ledger alone.

    :param run: as :func:`decided_about` binds it
    """
    surveyed = require(ledger, run, SURVEYED, before=GATE)
    tried = require(ledger, run, TRIED_OUT, before=GATE)
    release, environment = run.release, run.environment
    plan = database_plan(run)
    rows = [
        f"lock and statement timeout: {plan.limits.lock_seconds:g} s, {plan.limits.statement_seconds:g} s",
        f"watch afterwards: {plan.watch_seconds:g} s",
        f"rehearsal: `{tried.payload['id']}`",
        f"fingerprint: `{run.fingerprint[:16]}`",
        f"started by: {literal(run.triggered_by or 'the scheduler')}",
    ]
    head = (
        f"The database of **{environment.name}** is migrated for **{release.version}** (now {release.previous})."
    )
    subject = f"Migrate {environment.name} for {release.version}: Go or No-Go as {role}?"
    left = tuple(f"warning: {sentence}" for sentence in not_seen_well(run, ledger))
    found = (*left, *facts(surveyed), *evidence(tried))
    return Question(subject, framed(head, rows, found, frame, role))


def evidence(tried: Entry) -> tuple[str, ...]:
    """What a rehearsal has shown, a sentence each."""
    told = tried.payload
    lines = [_timing(told, way) for way in ("up", "down", "again") if way in told]
    suite = "; ".join(told["old_version"]["sentences"])
    if told["old_version"]["proven"]:
        lines.append(f"the old version works on the new schema: {suite}")
    else:
        lines.append(f"warning: it is not proven that the old version works on the new schema: {suite}")
    way_back = told["way_back"]
    if way_back["proven"]:
        lines += ["the way back leads to the old schema", *(f"going back loses {one}" for one in _lost(told))]
    else:
        lines.append(f"warning: going back means restoring the backup: {way_back['why']}")
    lines += [f"warning: {name} is written anew, and locked meanwhile" for name in told.get("rewritten", ())]
    lines += [f"warning: {sentence}" for sentence in told.get("rows", ())]
    lines.append(f"backup {told['backup']}, restored in {told['restore_seconds']:g} s, {told['bytes']} bytes")
    return tuple(lines)


def _lost(told: Mapping[str, Any]) -> list[str]:
    return list(told["way_back"].get("loses", ()))


def _timing(told: Mapping[str, Any], way: str) -> str:
    seconds = sum(told[way]["timings"].values())
    waited = f", waited for {', '.join(told[way]['blockers'])}" if told[way]["blockers"] else ""
    return f"rehearsed {way} in {seconds:.1f} s{waited}"
