"""What releases leave in the ledger, written by the functions that write it, at times the tests decide."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from include.errors import MessageError
from include.ledger.approvals import GO, decision
from include.ledger.chain import GENESIS, sealed
from include.ledger.entry import Entry, NewEntry
from include.ledger.store import Ledger
from include.messages.deliver import deliver
from include.messages.model import Message
from include.plan.loader import load_plan, plan_folder
from include.steps.record import (
    APPROVED,
    CUT_OVER,
    DEPLOYED,
    DRAINED,
    OBSERVED,
    ROLLED_BACK,
    STARTED,
    SWITCHED_BACK,
    VERIFIED,
    WATCH_ENDED,
    WATCH_STARTED,
    record,
)
from include.steps.run import ReleaseRun, open_run
from tests.memory import MemoryLedger

T = datetime(2026, 7, 1, 10, 0, tzinfo=UTC)
"""The cutover: 12:00:00 in Berlin."""

REASON = "error rate 30.0 % (38 of 127 requests), interval 22.6-38.5 %, above 5 %"
SEEN = {"sent": 75, "lost": 0, "lost_before": 0, "sentence": "75 requests across the switch, none lost"}


def at(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


@dataclass
class TimedLedger(MemoryLedger):
    """A ledger whose clock the test sets, in seconds after the cutover."""

    seconds: float = 0.0

    def append(self, new: NewEntry) -> Entry:
        known = len(self.written)
        entry = super().append(replace(new, at=new.at or at(self.seconds)))
        if len(self.written) == known:
            return entry
        previous = self.written[-2].hash if known else GENESIS
        self.written[-1] = sealed(replace(entry, previous=previous, recorded_at=entry.at))
        return self.written[-1]

    def find(self, key: str) -> Entry | None:
        return next((entry for entry in self.written if entry.key == key), None)


def release_run(run_id: str = "manual__2026-07-01T09:30:00+00:00", *, by: str = "release-manager") -> ReleaseRun:
    return open_run(
        load_plan(plan_folder()),
        release="3.0.0",
        environment="production",
        phase="production-blue-green",
        run_id=run_id,
        triggered_by=by,
    )


class Story:
    """One release on its way into the ledger; every method writes at a time given in seconds after the cutover."""

    def __init__(self, run: ReleaseRun | None = None, ledger: TimedLedger | None = None, later: float = 0) -> None:
        self.run = run or release_run()
        self.written = ledger or TimedLedger()
        self.later = later

    @property
    def ledger(self) -> Ledger:
        return cast(Ledger, self.written)

    @property
    def entries(self) -> list[Entry]:
        return list(self.written.written)

    def note(
        self,
        seconds: float,
        kind: str,
        payload: Mapping[str, Any],
        *,
        run: ReleaseRun | None = None,
        actor: str = "stellwerk",
        number: int = 0,
    ) -> Story:
        self.written.seconds = self.later + seconds
        record(self.ledger, run or self.run, kind, payload, actor=actor, number=number)
        return self

    def iso(self, seconds: float) -> str:
        return at(self.later + seconds).isoformat()

    def epoch(self, seconds: float) -> float:
        return at(self.later + seconds).timestamp()

    def until_cutover(self) -> Story:
        self.note(-1800, STARTED, {"from": "blue", "to": "green"})
        for role, user in (("technical-lead", "tina"), ("business-owner", "bert")):
            answered = decision(
                phase=self.run.phase,
                role=role,
                user=user,
                choice=GO,
                comment="sieht gut aus",
                fingerprint=self.run.fingerprint,
                release=self.run.release.version,
                environment=self.run.environment.name,
                run_id=self.run.run_id,
                at=at(self.later - 600),
            )
            self.written.append(answered)
        self.note(-599, APPROVED, {"people": ["bert", "tina"]})
        self.note(-120, DEPLOYED, {"helm_release": "valeo-erp-production-green", "revision": 1})
        self.note(-60, VERIFIED, {"slot": "green"})
        self.note(1, OBSERVED, SEEN)
        facts = {"from": "blue", "to": "green", "automatic_switch_back": True, "at": self.iso(0)}
        return self.note(3, CUT_OVER, {**facts, "observation": SEEN, "sentence": SEEN["sentence"]})

    def watching(self) -> Story:
        environment = self.run.environment.model_dump(mode="json")
        config = {"environment": environment, "source": "blue", "target": "green", "number": 0}
        return self.note(3.5, WATCH_STARTED, {"config": {**config, "cutover_at": self.epoch(0)}})

    def ended(self, seconds: float, result: str, sentence: str = REASON, **more: Any) -> Story:
        outcome = {"result": result, "sentence": sentence, "at": self.epoch(seconds), "number": 0, **more}
        return self.note(seconds + 1.5, WATCH_ENDED, outcome, number=int(outcome["number"]))

    def switched_by_watch(self, seconds: float) -> Story:
        facts = {"by": "watch", "reason": REASON, "at": self.epoch(seconds)}
        return self.note(seconds + 1.6, SWITCHED_BACK, facts)

    def rollback_run(self, run_id: str | None = None, *, by: str = "scheduler") -> ReleaseRun:
        return replace(self.run, phase="rollback", run_id=run_id or f"after__{self.run.run_id}", triggered_by=by)

    def switch_recorded(
        self, seconds: float, back: ReleaseRun, *, by: str, reason: str = REASON, **more: Any
    ) -> Story:
        facts = {"from": "green", "to": "blue", "by": by, "reason": reason, "at": self.iso(seconds)}
        unseen = {"sentence": "no observation because the traffic had been switched back before this step began"}
        facts |= {"release_id": self.run.release_id, "observation": more.get("observation", unseen)}
        return self.note(seconds + 8, SWITCHED_BACK, facts, run=back, actor=by)

    def drained(self, seconds: float, back: ReleaseRun, verdict: str = "DRAINED") -> Story:
        sentence = f"{verdict}: every pod of green was replaced within 6.1 s; nobody is on green"
        facts = {"slot": "green", "policy": "restart", "verdict": verdict, "sentence": sentence}
        return self.note(seconds, DRAINED, facts, run=back)

    def closed(self, seconds: float, back: ReleaseRun, *, switched: float, by: str, reason: str = REASON) -> Story:
        facts = {"release_id": self.run.release_id, "slot": "blue", "switched_at": self.iso(switched)}
        return self.note(seconds, ROLLED_BACK, {**facts, "switched_by": by, "reason": reason}, run=back)

    def told(self, seconds: float, name: str, kind: Any = "slack", *, fails: bool = False) -> Story:
        message = Message(
            key=f"{self.run.release_id}:message:{name}",
            kind=kind,
            release=self.run.release.version,
            environment=self.run.environment.name,
            run_id=self.run.run_id,
            text="text",
            channel="#alerts" if kind == "slack" else "",
            sender="stellwerk@example.com" if kind == "mail" else "",
            recipients=("stakeholders@example.com",) if kind == "mail" else (),
            subject="Rollback" if kind == "mail" else "",
        )

        def transport(_: Message) -> None:
            if fails:
                raise ConnectionRefusedError("connection refused")

        with suppress(MessageError):
            deliver(self.written, message, transport, at(self.later + seconds))
        return self

    def answered(self, seconds: float, kind: str, choice: str, user: str, why: str = "", **more: Any) -> Story:
        """As the steps that a human steers record it: the answer's facts, at its own time."""
        facts = {"choice": choice, "user": user, "at": self.iso(seconds), "why": why, **more}
        return self.note(seconds, kind, facts, actor=user)

    def reported(self, seconds: float, verdict: str, user: str, text: str) -> Story:
        """Under the run of the DAG that took it."""
        form = replace(self.run, phase="user-feedback", run_id=f"manual__feedback-{seconds}", triggered_by=user)
        return self.note(seconds, "feedback.given", {"verdict": verdict, "text": text}, run=form, actor=user)


def points(
    story: Story,
    *,
    bad_from: float = 5,
    until: float = 9,
    missing: tuple[float, float] = (0, 0),
) -> list[dict[str, Any]]:
    """Buckets of a second: 40 requests each, 12 of them failed from ``bad_from`` on, none while ``missing``."""
    found = []
    for second in range(int(until)):
        gone, bad = missing[0] <= second < missing[1], second >= bad_from
        found.append(
            {
                "at": story.epoch(second),
                "seconds": 1.0,
                "requests": 0.0 if gone else 40.0,
                "errors": 12.0 if bad and not gone else 0.0,
                "p95_seconds": None if gone else (0.9 if bad else 0.12),
                "state": "UNKNOWN" if gone else ("ROLLBACK" if second >= bad_from + 3 else "HEALTHY"),
                "probe_ok": None if gone else not bad,
            }
        )
    return found


def automatic(
    run: ReleaseRun | None = None, *, series: bool = True, ledger: TimedLedger | None = None, later: float = 0
) -> Story:
    """The fault begins 5 s after the cutover, is found at 8.2 s, the traffic is back at 8.3 s."""
    story = Story(run, ledger, later).until_cutover().watching()
    recorded = {"points": points(story)} if series else {}
    story.ended(8.5, "ROLLED_BACK", detected_at=story.epoch(8.2), switched_at=story.epoch(8.3), **recorded)
    story.switched_by_watch(8.3)
    back = story.rollback_run()
    story.switch_recorded(8.3, back, by="watch")
    story.told(14, "rollback-alert").drained(20, back).told(25, "rollback-mail", "mail")
    return story.closed(24, back, switched=8.3, by="watch").told(40, "post-mortem", "mail")


def by_hand(user: str = "rita", reason: str = "customers call: orders vanish") -> Story:
    """Nobody and nothing noticed; rita starts DAG rollback 90 s after the cutover, the traffic is back at 95 s."""
    story = Story().until_cutover().watching()
    back = story.rollback_run(f"manual__{story.iso(90)}", by=user)
    seen = {**SEEN, "lost": 3, "lost_before": 1, "sentence": "3 OF 75 REQUESTS LOST across the switch"}
    by = f"rollback ({user})"
    story.ended(
        96, "ROLLED_BACK_BY_HAND", f"rolled back by hand ({by}): {reason}", points=points(story, bad_from=99)
    )
    story.switch_recorded(95, back, by=by, reason=reason, observation=seen)
    story.note(110, "rollback.verified", {"slot": "blue", "checks": ["alive: 200 in 12 ms"]}, run=back)
    return story.drained(112, back).closed(113, back, switched=95, by=by, reason=reason)


def ordered(user: str = "otto", why: str = "the CEO cannot log in") -> Story:
    """A user reports a problem at 30 s; otto tells the watch at 60 s to roll back, the traffic is back at 62 s."""
    story = Story().until_cutover().watching().reported(30, "problem", "kira", "the login fails")
    story.answered(60, "watch.rollback-ordered", "Roll back now", user, why, number=0)
    sentence = f"ordered by {user}: {why}"
    facts = {"from": "green", "to": "blue", "by": f"watch ({user})", "reason": sentence}
    story.answered(62, SWITCHED_BACK, "Roll back now", user, why, **facts)
    times = {"detected_at": story.epoch(60), "switched_at": story.epoch(62)}
    return story.ended(62, "ROLLED_BACK", sentence, **times)
