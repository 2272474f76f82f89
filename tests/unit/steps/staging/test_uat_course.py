"""Whatever key users do in whatever order, with killed tasks in between: a pass is never had by chance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from include.errors import NotAccepted
from include.plan.staging import SEVERITIES
from include.steps.staging.acceptance import (
    asked,
    conclude,
    record_silence,
    record_tested,
    reports_of,
)
from include.steps.staging.entries import UAT_CONCLUDED
from include.steps.staging.uat import OUTCOMES, UatReport, read
from tests.unit.steps.staging.rehearsals import USERS, a_ledger, a_run, acceptance

users = st.sampled_from(USERS)
outcomes = st.sampled_from(OUTCOMES)
RUNS = {required: a_run(uat=acceptance(required=required)) for required in ("all", "one")}


class Course(RuleBasedStateMachine):
    """The model: who said what last, and until when each is waited for."""

    @initialize(required=st.sampled_from(sorted(RUNS)))
    def begin(self, required: str) -> None:
        self.run, self.required, self.ledger = RUNS[required], required, a_ledger()
        self.now = datetime(2026, 1, 12, 9, tzinfo=UTC)
        self.said: dict[str, UatReport] = {}
        self.until: dict[str, datetime] = {}

    @rule(minutes=st.integers(1, 600))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(user=users)
    def is_asked(self, user: str) -> None:
        deadline = asked(self.run, self.ledger, user, self.now)
        assert deadline == self.until.setdefault(user, deadline), "a task that is killed gives no more time"

    @rule(user=users, articles=outcomes, order=outcomes, again=st.booleans())
    def answers(self, user: str, articles: str, order: str, again: bool) -> None:
        form = {"case_articles": articles, "case_order": order}
        form |= {"note_articles": "a"} if articles in SEVERITIES else {}
        form |= {"note_order": "b"} if order in SEVERITIES else {}
        report = read(user, form, acceptance().cases)
        if isinstance(report, str):
            return
        self.now += timedelta(seconds=1)
        for _ in range(1 + again):
            record_tested(self.run, self.ledger, report, self.now)
        self.said[user] = report
        self.until.pop(user, None)

    @rule(user=users)
    def is_silent(self, user: str) -> None:
        if user in self.until:
            record_silence(self.run, self.ledger, user, self.until.pop(user))

    @rule()
    def is_concluded(self) -> None:
        reports = list(self.said.values())
        blocked = any(one.severity == "blocker" for report in reports for one in report.findings)
        tried = {case for report in reports for case, said in report.outcomes.items() if said != "not tested"}
        enough = len(reports) == len(USERS) if self.required == "all" else bool(reports)
        passes = enough and not blocked and tried == {"articles", "order"}
        try:
            result = conclude(self.run, self.ledger)["result"]
        except NotAccepted:
            result = self.ledger.entries(kinds=(UAT_CONCLUDED,))[-1].payload["result"]
            assert not passes
        assert result == ("passed" if passes else "failed" if blocked else "unknown")

    @invariant()
    def what_was_said_last_is_what_counts(self) -> None:
        if hasattr(self, "ledger"):
            assert reports_of(self.run, self.ledger) == self.said


TestCourse = Course.TestCase
TestCourse.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
