"""What the findings mean in an environment: a pure decision; who accepted what, and why, stays with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from include.errors import MigrationRefused
from include.migration.finding import STRENGTH, Finding, Severity
from include.migration.preflight import BY_NATURE
from include.migration.rulebook import NEVER_ACCEPTED

_SHOWN: Final = 20
_FIXED: Final = BY_NATURE | NEVER_ACCEPTED


@dataclass(frozen=True)
class Acceptance:
    """Somebody takes the responsibility for findings of one rule in one revision.

    :param revision: the revision, or "" for findings that are about none
    :param by: who; an acceptance without a name or a reason is none
    """

    rule: str
    revision: str
    by: str
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Whether it is about this finding."""
        return (finding.rule, finding.revision) == (self.rule, self.revision) and bool(self.by and self.reason)


@dataclass(frozen=True)
class Policy:
    """What an environment makes of findings.

    :param severities: rule → severity here, where it differs from the rule's own
    :param unknown_blocks: whether what could not be judged stops as well
    """

    severities: Mapping[str, Severity] = field(default_factory=dict)
    unknown_blocks: bool = True
    accepted: tuple[Acceptance, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What is to be done about the findings.

    :param blocking: these stop the migration
    :param warned: these are shown to those who decide
    :param accepted: these would have stopped it, and somebody has taken the responsibility
    :param idle: acceptances for which nothing was found: to be removed, lest they hide what comes later
    """

    blocking: tuple[Finding, ...]
    warned: tuple[Finding, ...]
    accepted: tuple[tuple[Finding, Acceptance], ...]
    idle: tuple[Acceptance, ...]

    def error(self) -> MigrationRefused | None:
        """The error that names everything that blocks; None when nothing does."""
        if not self.blocking:
            return None
        number = len(self.blocking)
        shown = "".join(f"\n  {count}. {one}" for count, one in enumerate(self.blocking[:_SHOWN], 1))
        more = f"\n  … and {number - _SHOWN} more" if number > _SHOWN else ""
        return MigrationRefused(
            f"{number} finding{'s' if number > 1 else ''} stop{'' if number > 1 else 's'} the migration",
            seen=f"{shown}{more}\n",
            remedy="mend the revisions, or have each accepted by name; nothing was touched",
        )


def decide(findings: Iterable[Finding], policy: Policy) -> Verdict:
    """Sort findings into those that block, those that are accepted, and those that are only shown."""
    blocking: list[Finding] = []
    warned: list[Finding] = []
    accepted: list[tuple[Finding, Acceptance]] = []
    for finding in dict.fromkeys(findings):
        here = _here(finding, policy)
        if here.severity == "warn" or (here.severity == "unknown" and not policy.unknown_blocks):
            warned.append(here)
        elif acceptance := _acceptance(here, policy):
            accepted.append((here, acceptance))
        else:
            blocking.append(here)
    used = {acceptance for _, acceptance in accepted}
    return Verdict(
        tuple(sorted(blocking, key=lambda one: STRENGTH[one.severity])),
        tuple(warned),
        tuple(accepted),
        tuple(one for one in policy.accepted if one not in used),
    )


def _here(finding: Finding, policy: Policy) -> Finding:
    if finding.rule in _FIXED:
        return finding
    return replace(finding, severity=policy.severities.get(finding.rule, finding.severity))


def _acceptance(finding: Finding, policy: Policy) -> Acceptance | None:
    if finding.rule in _FIXED:
        return None
    return next((one for one in policy.accepted if one.covers(finding)), None)
