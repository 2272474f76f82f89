"""Whether a slot runs the version that a release says it replaces, as far as its images tell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

from include.bluegreen.candidate import is_of, names_version, tag_of
from include.plan.texts import VERSION

Judgement = Literal["previous", "own", "other", "unknown"]
"""The version that the release replaces, the release's own, another one, or nobody can tell."""

_VERSIONED: Final = re.compile(rf"(?:.*[^0-9.])?(?P<version>{VERSION.pattern})")


def application_tag(images: Iterable[str], repository: str) -> str:
    """The tag under which a slot runs the application; "" when its image has none, or comes from elsewhere.

    :param images: of all containers of a pod
    :param repository: the application's image without tag and digest
    """
    tags = {tag_of(image) for image in images if is_of(image, repository)}
    return tags.pop() if len(tags) == 1 else ""


def judged(tag: str, *, version: str, previous: str) -> Judgement:
    """What a tag says of the version that runs. Pure.

    A tag that is no version of the plan's form (a commit, a build number) says nothing, nor does one that only
    adds to the version (``2.9.0-rc.1``, ``2.9.0-20260101``): it may be it or not.

    :param tag: "" when it is not known
    :param version: the release's
    :param previous: the version that the release replaces
    """
    if names_version(tag, previous):
        return "previous"
    if names_version(tag, version):
        return "own"
    found = _VERSIONED.fullmatch(tag)
    known = (_numbers(previous), _numbers(version))
    return "unknown" if found is None or _numbers(found["version"]) in known else "other"


def _numbers(version: str) -> str:
    return version.partition("-")[0]
