"""The watch on the new schema: what fires it, what it does not know, and how it goes on after a death."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.clients.prober import ProbeResult
from include.errors import FailsOnNewSchema
from include.ledger.store import Ledger
from include.steps.database.watch import Seen, watch_schema
from include.steps.record import record
from include.steps.schema_proof import MIGRATED
from tests.unit.steps.database.worlds import a_ledger, a_run

T0 = datetime(2030, 5, 1, 9, tzinfo=UTC)


def probe(*, ok: bool, usable: bool = True) -> ProbeResult:
    return ProbeResult("alive", ok, 200 if ok else 500, None, None, 0.1, "alive: 500", usable)


GOOD, BAD, BROKEN = probe(ok=True), probe(ok=False), probe(ok=False, usable=False)


def test_a_failure_lasts_until_an_answer_and_a_silent_round_changes_nothing() -> None:
    seen = Seen()
    for second, result in enumerate((GOOD, BAD, BROKEN, BAD, GOOD, BAD)):
        seen = seen.after([result], T0 + timedelta(seconds=second))
    assert (seen.rounds, seen.failed, seen.unknown) == (6, 3, 1)
    assert seen.failed_for(T0 + timedelta(seconds=8)) == 3


def migrated() -> Ledger:
    ledger = a_ledger()
    record(ledger, a_run(), MIGRATED, {"fingerprint": "f"}, at=T0)
    return ledger


class World:
    """Answers in turn, the last one for ever; each question takes five seconds."""

    def __init__(self, *answers: ProbeResult, begins: datetime = T0) -> None:
        self.answers = list(answers)
        self.at = begins

    async def ask(self) -> Sequence[ProbeResult]:
        self.at += timedelta(seconds=5)
        return [self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]]

    @property
    def now(self) -> Callable[[], datetime]:
        return lambda: self.at


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(_: float) -> None:
        return None

    monkeypatch.setattr("include.steps.database.watch.asyncio.sleep", at_once)


async def test_it_passes_at_an_absolute_time_and_is_over_then() -> None:
    ledger, world = migrated(), World(GOOD)
    done = await watch_schema(a_run(watch_seconds=60), ledger, ask=world.ask, now=world.now)
    assert (done["watched"], done["rounds"], done["failed"]) == (True, 12, 0)
    again = await watch_schema(a_run(watch_seconds=60), ledger, ask=World(BAD).ask, now=world.now)
    assert again == done


async def test_killed_it_goes_on_with_what_is_left_of_the_time() -> None:
    world = World(GOOD, begins=T0 + timedelta(seconds=50))
    done = await watch_schema(a_run(watch_seconds=60), migrated(), ask=world.ask, now=world.now)
    assert done["rounds"] == 2


async def test_a_failure_that_lasts_fires_it() -> None:
    run = a_run(watch_seconds=3600)
    triggers = run.environment.slo.triggers.model_copy(update={"down_seconds": 20.0})
    slo = run.environment.slo.model_copy(update={"triggers": triggers})
    run = replace(run, environment=run.environment.model_copy(update={"slo": slo}))
    world = World(GOOD, BAD, GOOD, BAD)
    with pytest.raises(FailsOnNewSchema, match=r"fails on the new schema for 20 s.*alive: 500") as fired:
        await watch_schema(run, migrated(), ask=world.ask, now=world.now)
    assert not fired.value.retryable, "the way back is offered at once, not after another watch"


@pytest.mark.parametrize(
    ("answer", "said"), [(BROKEN, "nobody knows how the running version does"), (BAD, "fails on the new schema")]
)
async def test_the_end_of_the_time_alone_is_no_success(answer: ProbeResult, said: str) -> None:
    world = World(answer)
    with pytest.raises(FailsOnNewSchema, match=said):
        await watch_schema(a_run(watch_seconds=60), migrated(), ask=world.ask, now=world.now)


async def test_nothing_is_watched_where_nothing_was_migrated() -> None:
    assert (await watch_schema(a_run(), a_ledger()))["watched"] is False
