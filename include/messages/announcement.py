"""The mails about a release to everybody it concerns: announced days before, reported the day after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final

from include.errors import PlanError
from include.messages.limits import MOST_LINES, listed, shortened
from include.messages.model import Message
from include.messages.occasion import Occasion, facts_of, mail, told
from include.messages.rehearsal import RehearsalOutcome
from include.plan.communication import KnownIssue, Link, MailEvent, MailPlan
from include.plan.models import Release

_ANNOUNCEMENT: Final = "announcement:"
_DATE_LENGTH: Final = len("2099-12-31")

Audiences = Mapping[str, tuple[str, ...]]
"""Addresses by the name of the audience."""


def announcement(
    occasion: Occasion,
    release: Release,
    audiences: Audiences,
    rehearsal: RehearsalOutcome | None,
    *,
    announced: date | None = None,
) -> Message | None:
    """The mail of T-3: what comes when; None where the plan has no such mail.

    It goes out once for each date, and again where a rehearsal has failed meanwhile.

    :param rehearsal: None where nothing is known of one: nothing is said of it then
    :param announced: the date that people were told before, None if they were not
    :raises PlanError: the plan names an audience that nobody knows
    """
    plan = _planned(release, "announcement")
    if plan is None:
        return None
    facts = {
        **_news(occasion, release),
        "date": release.date,
        "moved_from": announced if announced != release.date else None,
        "begins": release.phase("release-day").at,
        "cutover": release.at("cutover"),
        "ends": release.at("sign_off"),
        "timezone": release.timezone,
        "downtime_minutes": release.downtime_minutes,
        "rehearsal": _rehearsed(rehearsal) if rehearsal else None,
    }
    name = f"{_ANNOUNCEMENT}{release.date.isoformat()}"
    if rehearsal and rehearsal.result == "failed":
        name += ":rehearsal-failed"
    return _to_audiences(occasion, plan, audiences, name, facts)


def announced_date(occasion: Occasion, key: str) -> date | None:
    """The date that the message with this key has announced; None when it is no announcement of this release."""
    prefix = occasion.release_key(_ANNOUNCEMENT)
    if not key.startswith(prefix):
        return None
    return date.fromisoformat(key.removeprefix(prefix)[:_DATE_LENGTH])


def completion(
    occasion: Occasion, release: Release, audiences: Audiences, verified_at: datetime
) -> Message | None:
    """The mail of T+1: it is there; None where the plan has no such mail.

    :param verified_at: when the release was proven
    :raises PlanError: the plan names an audience that nobody knows
    """
    plan = _planned(release, "completion")
    if plan is None:
        return None
    facts = {**_news(occasion, release), "verified_at": verified_at}
    return _to_audiences(occasion, plan, audiences, "completion", facts)


def _planned(release: Release, event: MailEvent) -> MailPlan | None:
    return next((one for one in release.communication.mails if one.event == event), None)


def _to_audiences(
    occasion: Occasion, plan: MailPlan, audiences: Audiences, name: str, facts: Mapping[str, Any]
) -> Message:
    """One mail to all; whoever is in two audiences gets it once."""
    if missing := [audience for audience in plan.to if audience not in audiences]:
        raise PlanError(
            f"there is no audience {missing[0]}",
            expected=f"one of messages.audiences: {', '.join(sorted(audiences)) or 'none'}",
            seen=f"communication.mails of release {occasion.version}: {', '.join(plan.to)}",
            remedy=f"add it to messages.audiences of environments/{occasion.environment}.yaml",
        )
    recipients = tuple(dict.fromkeys(address for audience in plan.to for address in audiences[audience]))
    message = mail(occasion, name, recipients, f"{plan.event}.mail.j2", facts)
    shown = tuple(dict.fromkeys(_shown(audience, audiences[audience]) for audience in plan.to))
    return replace(message, key=occasion.release_key(name), shown_to=shown, urgent=False)


def _shown(audience: str, addresses: tuple[str, ...]) -> str:
    """What the mail says it goes to: people do not read each other's addresses."""
    if len(addresses) == 1:
        return addresses[0]
    name = shortened("".join(one if one.isalnum() or one in "-_ " else "-" for one in audience), 60)
    return f"{name}:;"


def _news(occasion: Occasion, release: Release) -> dict[str, Any]:
    features, more_features = listed(release.features)
    issues = release.known_issues
    return {
        **facts_of(occasion),
        "title": shortened(release.title or f"{occasion.application} {release.version}", 100),
        "features": features,
        "more_features": more_features,
        "known_issues": [_issue(one) for one in issues[:MOST_LINES]],
        "more_known_issues": max(0, len(issues) - MOST_LINES),
        "documentation": [_place(one) for one in release.documentation[:MOST_LINES]],
        "support": told(occasion.support),
    }


def _issue(issue: KnownIssue) -> dict[str, str]:
    return {
        "title": shortened(issue.title),
        "workaround": shortened(issue.workaround),
        "url": shortened(issue.url or ""),
    }


def _place(link: Link) -> dict[str, str]:
    return {"title": shortened(link.title), "url": shortened(link.url)}


def _rehearsed(outcome: RehearsalOutcome) -> dict[str, Any]:
    findings, links = outcome.findings, outcome.links
    return {
        "result": outcome.result,
        "findings": [
            {"severity": shortened(one.severity), "text": shortened(one.text)} for one in findings[:MOST_LINES]
        ],
        "more_findings": max(0, len(findings) - MOST_LINES),
        "links": [{"title": shortened(one.title), "url": shortened(one.url)} for one in links[:MOST_LINES]],
    }
