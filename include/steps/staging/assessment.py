"""What a rehearsal has shown, decided from the ledger's entries of its run alone. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from include.ledger.entry import Entry
from include.steps.database.entries import BACKUP_PROVEN, MIGRATION_VERIFIED, TRIED_OUT
from include.steps.record import CUT_OVER, RELEASED
from include.steps.staging.entries import (
    DEPLOYED_ALREADY,
    LOAD_MEASURED,
    SERVED,
    SMOKE_FAILED,
    UAT_CONCLUDED,
    URLS_VERIFIED,
)

Result = Literal["passed", "failed"]


@dataclass(frozen=True)
class Assessment:
    """The rehearsal in short.

    :param lacking: what has failed or was not shown, a clause each; empty for a pass
    :param findings: with severity, the worst first
    :param evidence: part → what it has shown
    """

    lacking: tuple[str, ...]
    findings: tuple[Mapping[str, str], ...]
    evidence: Mapping[str, Any]

    @property
    def result(self) -> Result:
        """What it comes to: a part that was not shown is no pass."""
        return "failed" if self.lacking else "passed"


def assess(entries: Sequence[Entry], failed: Sequence[str] = ()) -> Assessment:
    """Look at every part of a rehearsal.

    :param entries: of its run, oldest first
    :param failed: steps that have failed, by name: what they had shown before is no pass
    """
    newest = _newest(entries)
    lacking = [f"{step} has failed" for step in failed]
    evidence: dict[str, Any] = {}
    for part in _PARTS:
        shown = next((newest[kind] for kind in part.kinds if kind in newest), None)
        if shown is None:
            lacking.append(f"{part.name}: {part.absent}")
            continue
        evidence[part.name] = part.facts(shown)
        if problem := part.problem(shown):
            lacking.append(f"{part.name}: {problem}")
    return Assessment(tuple(lacking), tuple(_findings(newest, lacking)), evidence)


def _newest(entries: Sequence[Entry]) -> dict[str, Mapping[str, Any]]:
    """Kind → what was shown last; what excludes one another is shown by the newer of the two."""
    newest: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        for group in _EITHER:
            if entry.kind in group:
                newest = {kind: told for kind, told in newest.items() if kind not in group}
        newest[entry.kind] = entry.payload
    return newest


def _findings(newest: Mapping[str, Mapping[str, Any]], lacking: Iterable[str]) -> list[Mapping[str, str]]:
    found: list[Mapping[str, str]] = [{"severity": "blocker", "text": text} for text in lacking]
    told = newest.get(UAT_CONCLUDED, {}).get("findings", ())
    # What key users found stands below in their own words.
    found = [one for one in found if not (told and one["text"].startswith("acceptance: "))]
    found += [{"severity": str(one["severity"]), "text": str(one["text"])} for one in told]
    tried = newest.get(TRIED_OUT, {})
    if "up" in tried and not tried["old_version"]["proven"]:
        text = "it is not proven that the old version works on the new schema"
        found.append({"severity": "major", "text": text})
    return found


@dataclass(frozen=True)
class _Part:
    """One thing that a rehearsal shows.

    :param kinds: of the entries that show it; the first one that is there counts
    :param absent: what is said when there is none
    :param problem: what is wrong with what was shown; empty when nothing is
    :param facts: what of it belongs into the evidence
    """

    name: str
    kinds: tuple[str, ...]
    absent: str
    problem: Callable[[Mapping[str, Any]], str]
    facts: Callable[[Mapping[str, Any]], Any]


def _nothing(_: Mapping[str, Any]) -> str:
    return ""


def _only(*names: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda payload: {name: payload[name] for name in names if name in payload}


def _urls(payload: Mapping[str, Any]) -> str:
    return "; ".join(payload["failed"])


def _load(payload: Mapping[str, Any]) -> str:
    return "" if payload["result"] == "PASSED" else f"{payload['result']}: {'; '.join(payload['reasons'])}"


def _uat(payload: Mapping[str, Any]) -> str:
    return "" if payload["result"] == "passed" else f"{payload['result']}: {'; '.join(payload['reasons'])}"


def _problem(payload: Mapping[str, Any]) -> str:
    return str(payload.get("problem", ""))


_EITHER: Final = (frozenset({CUT_OVER, DEPLOYED_ALREADY}), frozenset({RELEASED, SMOKE_FAILED}))
_PARTS: Final = (
    _Part("backup", (BACKUP_PROVEN,), "none was proven", _nothing, _only("backup", "level", "purpose")),
    _Part(
        "migration rehearsal",
        (TRIED_OUT,),
        "it was not tried out on a copy",
        _nothing,
        lambda payload: {
            "id": payload["id"],
            # Where nothing was pending there is no new schema to work on.
            "old version works on the new schema": payload["old_version"]["proven"] if "up" in payload else None,
            "way back": payload["way_back"]["proven"],
        },
    ),
    _Part(
        "migration",
        (MIGRATION_VERIFIED,),
        "staging's schema was not verified",
        _nothing,
        _only("revisions", "fingerprint"),
    ),
    _Part(
        "deployment",
        (CUT_OVER, DEPLOYED_ALREADY),
        "the release did not get staging's traffic",
        _nothing,
        _only("from", "to", "at", "slot", "by"),
    ),
    _Part(
        "traffic",
        (SERVED,),
        "nobody has looked what users get",
        _problem,
        _only("slot", "by", "images", "contents"),
    ),
    _Part("addresses", (URLS_VERIFIED,), "they were not asked", _urls, lambda payload: list(payload["results"])),
    _Part(
        "smoke tests",
        (RELEASED, SMOKE_FAILED),
        "they have not passed",
        _problem,
        lambda payload: list(payload.get("checks", ())),
    ),
    _Part("load test", (LOAD_MEASURED,), "it was not run", _load, _only("result", "reasons", "figures")),
    _Part("acceptance", (UAT_CONCLUDED,), "key users have not tested", _uat, _only("result", "reasons", "silent")),
)
