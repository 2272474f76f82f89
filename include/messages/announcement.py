"""The mails about a release to everybody it concerns: announced days before, reported the day after."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from include.errors import PlanError
from include.messages.limits import LONGEST_NAME, MOST_LINES, listed, shortened
from include.messages.model import Message
from include.messages.occasion import Occasion, facts_of, mail, told
from include.messages.rehearsal import RehearsalOutcome
from include.plan.communication import KnownIssue, Link, MailEvent, MailPlan
from include.plan.models import Release

_ANNOUNCEMENT: Final = "announcement:"
_NAME: Final = re.compile(r"(\d{4}-\d\d-\d\d):(open|passed|failed):(\d+)")

Audiences = Mapping[str, tuple[str, ...]]
"""Addresses by the name of the audience."""

Rehearsed = Literal["open", "passed", "failed"]
"""What people are told of the rehearsal; ``open``: it has not come to an end."""


@dataclass(frozen=True)
class Announced:
    """What an announcement has told; its name says so.

    :param number: of the announcements of its release, from 1
    """

    day: date
    rehearsed: Rehearsed
    number: int = 1

    @property
    def name(self) -> str:
        """It makes the key: what is told anew is another message, and is sent once as well."""
        return f"{_ANNOUNCEMENT}{self.day.isoformat()}:{self.rehearsed}:{self.number}"

    @classmethod
    def read(cls, occasion: Occasion, key: str) -> Announced | None:
        """What the message with this key has told; None when it is no announcement of this release."""
        prefix = occasion.release_key(_ANNOUNCEMENT)
        found = _NAME.fullmatch(key.removeprefix(prefix)) if key.startswith(prefix) else None
        return cls(date.fromisoformat(found[1]), found[2], int(found[3])) if found else None  # type: ignore[arg-type]

    def followed_by(self, day: date, rehearsed: Rehearsed) -> Announced:
        """What is to be told now: the same, where nothing has changed."""
        if (day, rehearsed) == (self.day, self.rehearsed):
            return self
        return Announced(day, rehearsed, self.number + 1)


def announcement(
    occasion: Occasion,
    release: Release,
    audiences: Audiences,
    rehearsal: RehearsalOutcome | None,
    *,
    told: Announced | None = None,
) -> Message | None:
    """The mail of T-3: what comes when; None where the plan has no such mail.

    It goes out once, and again when its date or what came of the rehearsal has changed.

    :param rehearsal: None where it has not come to an end
    :param told: what people were told last, None if they were not
    :raises PlanError: the plan names an audience that nobody knows
    """
    plan = _planned(release, "announcement")
    if plan is None:
        return None
    rehearsed = rehearsal.result if rehearsal else "open"
    tells = told.followed_by(release.date, rehearsed) if told else Announced(release.date, rehearsed)
    facts = {
        **_news(occasion, release),
        "date": release.date,
        "moved_from": told.day if told and told.day != release.date else None,
        "other_result": told is not None and told.rehearsed != rehearsed,
        "begins": release.phase("release-day").at,
        "cutover": release.at("cutover"),
        "ends": release.at("sign_off"),
        "timezone": release.timezone,
        "downtime_minutes": release.downtime_minutes,
        "rehearsal": _rehearsed(rehearsal) if rehearsal else None,
    }
    return _to_audiences(occasion, plan, audiences, tells.name, facts)


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
    """Findings only by number: who found what, in their own words, is in the evidence and not for everybody."""
    found = Counter(shortened(one.severity, LONGEST_NAME) for one in outcome.findings)
    links = [one for one in outcome.links if _reachable(one.url)]
    return {
        "result": outcome.result,
        "found": list(found.items())[:MOST_LINES],
        "fingerprint": shortened(outcome.fingerprint, LONGEST_NAME),
        "links": [{"title": shortened(one.title), "url": shortened(one.url)} for one in links[:MOST_LINES]],
    }


def _reachable(url: str) -> bool:
    """Whether somebody else than its author may be able to open it."""
    try:
        parsed = urlsplit(url)
        host = parsed.hostname or ""
    except ValueError:
        return False
    own = host == "localhost" or host.startswith("127.") or host in ("::1", "")
    return parsed.scheme in ("http", "https") and not own
