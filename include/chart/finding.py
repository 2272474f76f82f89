"""What is wrong with a chart, an object or an account, said so that somebody can mend it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from include.chart.manifest import Manifest
from include.errors import PreflightFailed

log = logging.getLogger(__name__)

Severity = Literal["block", "warn"]

ACCEPTABLE: Final = frozenset(
    {
        "hook",
        "image-tag",
        "readiness-probe",
        "autoscaler-minimum",
        "shared-volume",
        "shared-service",
        "rule-data",  # a metric that only the new version has
        "previous-version",  # tags that look like versions and count builds
    }
)
"""Rules whose findings are a judgement that an environment's ``chart_accept`` may overrule, with its reason."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it has to be.

    :param rule: name of the rule, for ``chart_accept`` and the table in the runbook
    :param severity: ``block`` stops the release; ``warn`` is shown to those who decide
    :param object: for example ``Deployment/erp``; ``""`` when it is about no object
    :param file: the chart's file, or where else it has to be mended
    """

    rule: str
    severity: Severity
    object: str
    file: str
    what: str
    remedy: str

    def __str__(self) -> str:
        place = ": ".join(filter(None, (self.file, self.object)))
        return f"{f'{place}: ' if place else ''}{self.what}; do: {self.remedy} ({self.rule})"


def block(rule: str, manifest: Manifest, what: str, remedy: str) -> Finding:
    """A finding about an object that stops the release."""
    return Finding(rule, "block", manifest.object, manifest.source, what, remedy)


def warn(rule: str, manifest: Manifest, what: str, remedy: str) -> Finding:
    """A finding about an object that those who decide have to know."""
    return Finding(rule, "warn", manifest.object, manifest.source, what, remedy)


def accepted(findings: Iterable[Finding], reasons: Mapping[str, str]) -> tuple[Finding, ...]:
    """The findings, those that the environment accepts as warnings with its reason; blocking ones first.

    :param reasons: rule or object (``Job/erp-migrate``) to the reason, as ``chart_accept`` holds them
    """
    found: list[Finding] = []
    used: set[str] = set()
    for one in dict.fromkeys(findings):
        key = next((key for key in (one.rule, one.object) if key in reasons), None)
        if key is None or one.rule not in ACCEPTABLE:
            found.append(one)
            continue
        used.add(key)
        found.append(replace(one, severity="warn", what=f"{one.what}; accepted: {reasons[key]}"))
    found += [_idle(key) for key in reasons if key not in used]
    return tuple(sorted(found, key=lambda one: one.severity))


def refuse_blocking(findings: Sequence[Finding]) -> None:
    """Log every finding.

    :raises PreflightFailed: with every finding that blocks
    """
    for one in findings:
        log.log(logging.ERROR if one.severity == "block" else logging.WARNING, "%s", one)
    if error := failed(findings):
        raise error


def failed(findings: Sequence[Finding]) -> PreflightFailed | None:
    """The error that names every blocking finding; None when nothing blocks."""
    blocking = [one for one in findings if one.severity == "block"]
    if not blocking:
        return None
    number = len(blocking)
    return PreflightFailed(
        f"preflight found {number} thing{'s' if number > 1 else ''} that cannot be released like this",
        seen="".join(f"\n  {count}. {one}" for count, one in enumerate(blocking, 1)) + "\n",
        remedy="mend all of them, then clear this task; nothing was written to the cluster",
    )


def _idle(key: str) -> Finding:
    return Finding(
        "chart-accept",
        "warn",
        "",
        "",
        f"chart_accept names {key!r}, and nothing that may be accepted was found for it",
        "remove it, so that it does not hide what comes later",
    )
