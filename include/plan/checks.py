"""Whether the files of a plan fit together: releases with one another, and with the environments they go to.

What is found here keeps the calendar from starting a release. It does not make the release unusable: a run that is
under way, and above all a rollback, must not end because somebody adds a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from include.plan.calendar import spoken
from include.plan.models import Environment, Release
from include.plan.timeline import EnvironmentName

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Conflict:
    """Why a release is not started by itself.

    :param place: in the release's file
    """

    release: str
    place: Place
    why: str


@dataclass(frozen=True)
class Hold:
    """How long a release has an environment for itself: from ``begins`` until just before ``ends``."""

    release: str
    environment: EnvironmentName
    begins: datetime
    ends: datetime
    place: Place
    what: str


def conflicts(
    releases: Mapping[str, Release],
    environments: Mapping[str, Environment],
    now: datetime,
    begun: frozenset[str] | None = None,
) -> tuple[Conflict, ...]:
    """All that does not fit together, by release; a release whose day is over has nothing to fit into.

    :param now: aware
    :param begun: the releases of which a phase has begun: they keep their place against those that have not. None
        when nobody can say: two releases that meet are then told at both
    """
    coming = [release for release in releases.values() if release.at("sign_off") > now]
    found = [conflict for release in coming for conflict in _alone(release, environments)]
    found += _overlaps(coming, environments, begun)
    return tuple(sorted(found, key=lambda one: (one.release, one.place[0])))


def _alone(release: Release, environments: Mapping[str, Environment]) -> Iterator[Conflict]:
    for name, place in (("staging", "staging-deploy"), ("production", "release-day")):
        if name not in environments:
            why = f"there is no environment {name} to go to: environments/{name}.yaml is missing or broken"
            yield Conflict(release.version, ("timeline", place), why)
    if production := environments.get("production"):
        yield from _in_production(release, production)
        for name, environment in environments.items():
            for what, where in _mistaken(environment, production):
                why = (
                    f"{what} of environments/{name}.yaml is {where}: that is production, "
                    "which would be asked and loaded"
                )
                yield Conflict(release.version, ("timeline", "staging-deploy"), why)


def _mistaken(environment: Environment, production: Environment) -> Iterator[tuple[str, str]]:
    """The addresses of another environment that lead to production; none where both are one and the same place."""
    if _place_of(environment) == _place_of(production):
        return
    taken = {_host_of(production.traffic.public_url), _host_of(production.traffic.preview_url)}
    named = {
        "traffic.public_url": environment.traffic.public_url,
        "traffic.preview_url": environment.traffic.preview_url,
    }
    named |= {f"urls.{name}": check.url for name, check in environment.urls.items()}
    yield from ((what, url) for what, url in named.items() if _host_of(url) in taken)


def _place_of(environment: Environment) -> tuple[str, ...]:
    connection = environment.connections.kubernetes
    return connection, environment.namespace, environment.traffic.service


def _host_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def _in_production(release: Release, production: Environment) -> Iterator[Conflict]:
    planned, watch = release.at("clean_up") - release.at("cutover"), timedelta(seconds=production.watch.seconds)
    if watch > planned:
        yield Conflict(
            release.version,
            ("day", "clean_up"),
            f"the watch of production lasts {spoken(watch)}, and clean_up ({release.day.clean_up}) comes "
            f"{spoken(planned)} after the cutover ({release.day.cutover}): set clean_up later, or watch.seconds "
            "in environments/production.yaml shorter",
        )
    messages = production.messages
    known = {messages.status_channel, messages.alerts_channel}
    for index, message in enumerate(release.communication.status):
        if message.channel not in known:
            place = ("communication", "status", index, "channel")
            yield Conflict(
                release.version,
                place,
                f"there is no channel {message.channel!r}: messages of environments/production.yaml has "
                f"{', '.join(sorted(known))}",
            )
    for index, mail in enumerate(release.communication.mails):
        if missing := [name for name in mail.to if name not in messages.audiences]:
            names = ", ".join(sorted(messages.audiences)) or "none"
            yield Conflict(
                release.version,
                ("communication", "mails", index, "to"),
                f"there is no audience {missing[0]!r}: messages.audiences of environments/production.yaml has "
                f"{names}",
            )


def holds(release: Release, environments: Mapping[str, Environment]) -> tuple[Hold, ...]:
    """When a release has which environment for itself.

    A rehearsal that holds it at all does so at least as long as key users may test.
    """
    rehearsal, day = release.phase("staging-deploy"), release.phase("release-day")
    staging = environments.get("staging")
    planned = timedelta(minutes=rehearsal.planned.minutes)
    if planned and staging and staging.uat:
        planned = max(planned, timedelta(seconds=staging.uat.timeout_seconds))
    spans = (
        Hold(
            release.version,
            "staging",
            rehearsal.at,
            rehearsal.at + planned,
            ("timeline", "staging-deploy"),
            "rehearsal",
        ),
        Hold(
            release.version,
            "staging",
            release.at("staging_deploy"),
            release.at("production_deploy"),
            ("day", "staging_deploy"),
            "final test",
        ),
        Hold(release.version, "production", day.at, release.at("sign_off"), ("date",), "release day"),
    )
    return tuple(hold for hold in spans if hold.begins < hold.ends)


def _overlaps(
    releases: Sequence[Release], environments: Mapping[str, Environment], begun: frozenset[str] | None
) -> Iterator[Conflict]:
    # The one that begins first keeps its place, and whoever comes into it is the one to move, unless it has begun.
    every = sorted(
        (hold for release in releases for hold in holds(release, environments)),
        key=lambda hold: (hold.begins, hold.release),
    )
    for environment in ("staging", "production"):
        open_holds: list[Hold] = []
        told: set[Hold] = set()
        for hold in (one for one in every if one.environment == environment):
            open_holds = [one for one in open_holds if hold.begins < one.ends]
            for other in open_holds:
                if other.release == hold.release:
                    continue
                for moves, stays in _to_move(hold, other, begun):
                    if moves not in told:
                        told.add(moves)
                        yield _moved(moves, stays, begun)
            open_holds.append(hold)


def _to_move(later: Hold, first: Hold, begun: frozenset[str] | None) -> Sequence[tuple[Hold, Hold]]:
    """Which of two is the one to move, and which it is in the way of; both where nobody knows what has begun."""
    if begun is None:
        return (first, later), (later, first)
    keeps = later.release in begun and first.release not in begun
    return ((first, later) if keeps else (later, first),)


def _moved(hold: Hold, other: Hold, begun: frozenset[str] | None) -> Conflict:
    remedy = "move one of them"
    if begun is None:
        remedy = "move one of them; one that has begun keeps its place, then move the other"
    elif other.release in begun and hold.release not in begun:
        remedy = f"move {hold.release}: {other.release} has begun and keeps its place"
    return Conflict(
        hold.release,
        hold.place,
        f"its {hold.what} in {hold.environment} begins {hold.begins:%Y-%m-%d %H:%M} UTC, {_side(hold, other)} the "
        f"{other.what} of release {other.release} ({other.begins:%Y-%m-%d %H:%M} to {other.ends:%Y-%m-%d %H:%M} "
        f"UTC): {remedy}",
    )


def _side(hold: Hold, other: Hold) -> str:
    return "within" if hold.begins >= other.begins else "and reaches into"
