"""The checklists of an environment for one release: how they stand, and what people tick."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from include.errors import ApprovalMissing
from include.gate.checklist import CHECKED, EVIDENCE, TICKED, Point, points, unsettled
from include.gate.form import Frame, cut, shortened
from include.ledger.entry import Entry, NewEntry
from include.ledger.store import Ledger
from include.markdown import literal
from include.plan.people import ChecklistItem
from include.steps.gate import Question
from include.steps.overtaken import overtaken_by
from include.steps.page import Matter
from include.steps.record import RELEASED, record, recorded
from include.steps.run import ReleaseRun
from include.steps.staging.subject import rehearsal_for

MOST_POINTS = 24

Lists = Mapping[str, tuple[Point, ...]]


def standing_of(run: ReleaseRun, ledger: Ledger, names: Sequence[str]) -> Lists:
    """How every point of the lists stands; a list that the environment does not have has no points."""
    entries = ledger.entries(release=run.release.version, environment=run.environment.name, kinds=EVIDENCE)
    lists = {name: _items(run, name) for name in names}
    rehearsal = rehearsal_for((item for items in lists.values() for item in items), run, ledger)
    planned = run.release.date
    return {
        name: points(items, entries, checklist=name, planned=planned, rehearsal=rehearsal)
        for name, items in lists.items()
    }


def roles_of(lists: Lists) -> tuple[str, ...]:
    """The roles that have yet to tick something, in the order in which the lists name them."""
    open_points = [point for found in lists.values() for point in found if point.standing != "settled"]
    return tuple(dict.fromkeys(point.role for point in open_points if point.role is not None))


def open_for(lists: Lists, role: str) -> tuple[str, ...]:
    """What a role has yet to tick."""
    return tuple(point.text for found in lists.values() for point in unsettled(found, role))


def checklist_question(run: ReleaseRun, role: str, lists: Lists, frame: Frame) -> Question:
    """Compose the question of one role: its own points, and how the others stand."""
    release, environment = run.release, run.environment
    own = open_for(lists, role)
    others = [point for found in lists.values() for point in found if point.text not in own]
    lines = [
        f"**{release.version}** to **{environment.name}**: {', '.join(lists)}.",
        "",
        *(f"- ☐ {literal(text)}" for text in own),
        "",
        *(f"- {literal(line)}" for line in shortened([point.line for point in others], MOST_POINTS)),
        "",
        "Tick what is so, and say in the comment how you know.",
        f"**Waits until {frame.until}.**",
    ]
    subject = f"{release.version} to {environment.name}: {', '.join(lists)}, your points as {role}"
    return Question(subject, "\n".join(cut(line) for line in lines))


def record_ticks(
    ledger: Ledger,
    run: ReleaseRun,
    lists: Lists,
    role: str,
    ticked: Sequence[str],
    user: str,
    comment: str,
    at: datetime,
) -> tuple[Entry, ...]:
    """Write what somebody ticked, an entry for each list."""
    written = []
    for name, found in lists.items():
        mine = [point.text for point in found if point.role == role and point.text in ticked]
        if not mine:
            continue
        payload = {
            "checklist": name,
            "role": role,
            "points": mine,
            "comment": comment,
            "planned": run.release.date.isoformat(),
        }
        key = f"{TICKED}/{run.release_id}/{run.phase}/{name}/{role}/{user}/{at.timestamp():.6f}"
        written.append(ledger.append(_of(run, TICKED, user, payload, key, at)))
    return tuple(written)


def conclude(run: ReleaseRun, ledger: Ledger, names: Sequence[str]) -> dict[str, Any]:
    """Record that every point is settled, and by what.

    :raises ApprovalMissing: naming the points that are not
    """
    lists = standing_of(run, ledger, names)
    if missing := [point for found in lists.values() for point in found if point.standing != "settled"]:
        raise _unsettled(run, lists, missing)
    settled = {name: {point.text: point.why for point in found} for name, found in lists.items()}
    payload = {"lists": settled}
    return dict(record(ledger, run, CHECKED, payload, number="+".join(names)).payload)


def must_be_passable(run: ReleaseRun, ledger: Ledger, lists: Lists, task: str) -> None:
    """Refuse to ask people for points beside which others stay open whatever they say.

    :param task: that is cleared when they are settled
    :raises ApprovalMissing: naming the points that machines have not settled
    """
    missing = [point for found in lists.values() for point in unsettled(found)]
    if not missing:
        return
    release, environment = run.release.version, run.environment.name
    raise ApprovalMissing(
        f"{', '.join(lists)} of {release} in {environment}: nobody is asked for their points"
        f"{'; ' if (calm := _no_hurry(run, ledger)) else ''}{calm}",
        expected="; ".join(point.text for point in missing),
        seen="; ".join(point.line for point in missing),
        remedy="do what leaves the record of each; one that its evidence speaks against, or that will have none, "
        f"is given to a role in environments/{environment}.yaml, so that somebody answers for it; then clear "
        f"{task}, with what comes after it",
    )


def nobody_is_asked(error: ApprovalMissing) -> Matter:
    """What people are called for when a checklist cannot be passed: once for the same points.

    :param error: as :func:`must_be_passable` raises it
    """
    key = hashlib.sha256(str(error.seen).encode()).hexdigest()[:12]
    return Matter(f"checklist:{key}", error.what, error.seen, error.remedy)


def _no_hurry(run: ReleaseRun, ledger: Ledger) -> str:
    """That users are on the proven release, for whoever is called; empty where they are not, or may not be."""
    proven = recorded(ledger, run, RELEASED)
    if proven is None or overtaken_by(run, ledger, proven):
        return ""
    return f"users are on {run.release.version}, and nothing has to be done at once"


def _unsettled(run: ReleaseRun, lists: Lists, missing: Sequence[Point]) -> ApprovalMissing:
    return ApprovalMissing(
        f"{', '.join(lists)}: not every point is settled",
        expected="; ".join(point.text for point in missing),
        seen="; ".join(point.line for point in missing),
        remedy="do what leaves the record, or have the role tick it: clear the first task of this gate, with "
        "what comes after it; a point that its evidence speaks against, or that will have none, is given to a "
        "role in "
        f"environments/{run.environment.name}.yaml, so that somebody answers for it",
    )


def _items(run: ReleaseRun, name: str) -> tuple[ChecklistItem, ...]:
    return next((items for known, items in run.environment.checklists.items() if known == name), ())


def _of(
    run: ReleaseRun, kind: str, actor: str, payload: Mapping[str, Any], key: str | None, at: datetime
) -> NewEntry:
    return NewEntry(kind, run.release.version, run.environment.name, run.run_id, actor, payload, key=key, at=at)
