"""One digest for each run: found once, kept whatever the tag does, part of what is approved."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from include.clients.registry import Registry
from include.errors import RegistryUnreachable
from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.plan.models import ImageRef
from include.steps.images import pinned, resolve_image
from include.steps.run import ReleaseRun, open_run
from tests.memory import MemoryLedger

RUN = open_run(
    load_plan(plan_folder()),
    release="3.0.0",
    environment="production",
    phase="production-blue-green",
    run_id="r1",
    triggered_by="rm",
)
FIRST, MOVED = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


class Tags:
    """A registry that says what it is told to."""

    host = "registry.example.com"

    def __init__(self, digest: str) -> None:
        self.now = digest
        self.asked = 0

    async def digest(self, image: ImageRef) -> str:
        self.asked += 1
        return self.now


@pytest.fixture
def ledger() -> Ledger:
    return cast(Ledger, MemoryLedger())


def resolve(run: ReleaseRun, ledger: Ledger, tags: Tags | None) -> tuple[ReleaseRun, tuple[str, ...]]:
    return asyncio.run(resolve_image(run, ledger, cast(Registry, tags)))


def test_the_digest_is_deployed_and_approved(ledger: Ledger) -> None:
    assert pinned(RUN, ledger) == RUN
    bound, facts = resolve(RUN, ledger, Tags(FIRST))
    assert bound.values("green")["image"]["digest"] == FIRST
    assert bound.fingerprint != RUN.fingerprint
    assert facts == (f"image {RUN.release.image.reference} is {FIRST}, and that is what is deployed",)
    assert pinned(RUN, ledger) == bound


def test_a_tag_that_moves_changes_nothing_of_what_was_approved(ledger: Ledger) -> None:
    tags = Tags(FIRST)
    bound, _ = resolve(RUN, ledger, tags)
    tags.now = MOVED
    again, facts = resolve(RUN, ledger, tags)
    assert again == bound == pinned(RUN, ledger)
    assert "has moved" in facts[1]
    assert MOVED in facts[1]


def test_the_next_run_takes_what_the_tag_means_then(ledger: Ledger) -> None:
    resolve(RUN, ledger, Tags(FIRST))
    later, _ = resolve(replace(RUN, run_id="r2"), ledger, Tags(MOVED))
    assert later.release.image.digest == MOVED


def test_an_edited_release_file_is_looked_up_anew(ledger: Ledger) -> None:
    first, _ = resolve(RUN, ledger, Tags(FIRST))
    image = ImageRef(repository=RUN.release.image.repository, tag="3.0.0-b")
    edited = replace(RUN, release=RUN.release.model_copy(update={"image": image}))
    assert pinned(edited, ledger) == edited
    bound, _ = resolve(edited, ledger, Tags(MOVED))
    assert (bound.release.image.tag, bound.release.image.digest) == ("3.0.0-b", MOVED)
    assert pinned(RUN, ledger) == first


def test_nobody_is_asked_for_what_is_known_or_cannot_be_known(ledger: Ledger) -> None:
    image = RUN.release.image.model_copy(update={"digest": FIRST})
    known = replace(RUN, release=RUN.release.model_copy(update={"image": image}))
    tags = Tags(MOVED)
    assert resolve(known, ledger, tags) == (known, ())
    assert pinned(known, ledger) == known
    assert resolve(RUN, ledger, None) == (RUN, ())
    assert tags.asked == 0
    assert not cast(MemoryLedger, ledger).written


def test_a_registry_that_does_not_answer_stops_the_release_before_it_begins(ledger: Ledger) -> None:
    class Silent(Tags):
        async def digest(self, image: ImageRef) -> str:
            raise RegistryUnreachable("no answer")

    with pytest.raises(RegistryUnreachable):
        resolve(RUN, ledger, Silent(FIRST))
    assert not cast(MemoryLedger, ledger).written
