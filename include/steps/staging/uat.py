"""What key users' tests mean: answers read, judged against the plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from include.plan.staging import SEVERITIES, Acceptance, Severity, UatCase
from include.watch.steer import comment_of

PASSED: Final = "passed"
NOT_TESTED: Final = "not tested"
OUTCOMES: Final = (NOT_TESTED, PASSED, *SEVERITIES)
"""What the form offers for a case: whether it works, and how bad it is where it does not."""
NONE: Final = "none"
OTHER: Final = "other"
OTHER_SEVERITY: Final = "other_severity"
LONGEST: Final = 1000

Result = Literal["passed", "failed", "unknown"]


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    :param case: of the plan; empty for what none of them is about
    """

    severity: Severity
    text: str
    user: str
    case: str = ""

    @property
    def sentence(self) -> str:
        """For log, ledger and report."""
        about = f"{self.case}: " if self.case else ""
        return f"{about}{self.text} ({self.user})"


@dataclass(frozen=True)
class UatReport:
    """What one key user has tested.

    :param outcomes: case → one of :data:`OUTCOMES`
    """

    user: str
    outcomes: Mapping[str, str]
    findings: tuple[Finding, ...] = ()

    def facts(self) -> dict[str, Any]:
        """As plain JSON, for the ledger."""
        told = [{"severity": one.severity, "text": one.text, "case": one.case} for one in self.findings]
        return {"user": self.user, "cases": dict(self.outcomes), "findings": told}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> UatReport:
        """Read what :meth:`facts` gave."""
        user = str(facts["user"])
        found = (Finding(one["severity"], str(one["text"]), user, str(one["case"])) for one in facts["findings"])
        return cls(user, dict(facts["cases"]), tuple(found))


def field_of(case: UatCase) -> str:
    """The form's field for a case's outcome."""
    return f"case_{case.id}"


def note_of(case: UatCase) -> str:
    """The form's field for what was wrong with it."""
    return f"note_{case.id}"


def read(user: str, form: Mapping[str, Any], cases: Sequence[UatCase]) -> UatReport | str:
    """Read a form as it was sent (the API checks none of it); a sentence says what is missing.

    What is not filled in is not tested: nobody passes a case by overlooking it. What somebody wrote is a finding,
    or is asked about.
    """
    outcomes: dict[str, str] = {}
    findings: list[Finding] = []
    for case in cases:
        outcome = comment_of(form.get(field_of(case))) or NOT_TESTED
        text = comment_of(form.get(note_of(case)))
        if problem := _of_case(outcome, text):
            return f"{case.title}: {problem}"
        outcomes[case.id] = outcome
        if outcome in SEVERITIES:
            findings.append(Finding(outcome, text, user, case.id))
    severity, text = comment_of(form.get(OTHER_SEVERITY)) or NONE, comment_of(form.get(OTHER))
    if problem := _beside(severity, text):
        return problem
    if severity != NONE:
        findings.append(Finding(severity, text, user))  # type: ignore[arg-type]  # one of SEVERITIES, see above
    if not findings and set(outcomes.values()) <= {NOT_TESTED}:
        return "nothing is filled in: say of at least one case whether it works"
    return UatReport(user, outcomes, tuple(findings))


def _of_case(outcome: str, text: str) -> str:
    if outcome not in OUTCOMES:
        return f"{outcome[:40]!r} is none of {', '.join(OUTCOMES)}"
    if outcome in SEVERITIES and not text:
        return f"say what was wrong, a {outcome} finding needs it"
    if outcome not in SEVERITIES and text:
        return f"say how severe it is, or remove the note: it says {outcome}, with {text[:40]!r}"
    return _too_long(text)


def _beside(severity: str, text: str) -> str:
    if severity not in (NONE, *SEVERITIES):
        return f"severity: {severity[:40]!r} is none of {', '.join(SEVERITIES)}"
    if (severity == NONE) != (not text):
        return "a finding beside the cases needs both: what it is, and how severe"
    return _too_long(text)


def _too_long(text: str) -> str:
    return f"at most {LONGEST} characters can be kept, it has {len(text)}" if len(text) > LONGEST else ""


@dataclass(frozen=True)
class Accepted:
    """What all tests together mean.

    :param reasons: why it is no pass, a clause each
    :param findings: of all users, the worst first
    :param silent: key users who did not test
    """

    result: Result
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    silent: tuple[str, ...]


def judge(plan: Acceptance, users: Sequence[str], tests: Mapping[str, UatReport]) -> Accepted:
    """Decide whether the release is accepted.

    A blocking finding of anybody stops it, also of somebody who is no key user any more. What nobody knows is no
    pass: a test that the plan requires and that nobody made, or a case that nobody tried.

    :param users: who is asked
    :param tests: user → what was tested; who is missing did not answer
    """
    counted = [tests[user] for user in users if user in tests]
    findings = sorted(
        (finding for tested in tests.values() for finding in tested.findings),
        key=lambda one: SEVERITIES.index(one.severity),
    )
    silent = tuple(user for user in users if user not in tests)
    blocking = [one for one in findings if one.severity in plan.blocking]
    lacking = _lacking(plan, counted, silent)
    result: Result = "failed" if blocking else "unknown" if lacking else "passed"
    reasons = (*(f"{one.severity}: {one.sentence}" for one in blocking), *lacking)
    return Accepted(result, reasons, tuple(findings), silent)


def _lacking(plan: Acceptance, counted: Sequence[UatReport], silent: Sequence[str]) -> list[str]:
    if plan.required == "none":
        return []
    lacking = []
    if plan.required == "all":
        lacking += [f"{user} has not tested" for user in silent]
    elif not counted:
        lacking.append(f"none of {', '.join(silent)} has tested")
    if counted:
        tried = {
            (tested.user, case)
            for tested in counted
            for case, said in tested.outcomes.items()
            if said != NOT_TESTED
        }
        for case in plan.cases:
            if not any(one == case.id and (not case.users or user in case.users) for user, one in tried):
                who = f", which {' or '.join(case.users)} has to" if case.users else ""
                lacking.append(f"nobody has tried {case.title!r}{who}")
    return lacking
