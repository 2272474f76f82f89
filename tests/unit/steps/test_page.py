"""One matter is one alert; a dead Slack costs seconds and is recorded."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

import pytest

from include.errors import MessageError
from include.ledger import urgent
from include.ledger.store import Ledger
from include.messages.deliver import FAILED, SENT
from include.messages.model import Message
from include.steps import page as paging
from include.steps.page import Matter, matters, page, within
from include.watch.config import WatchOutcome
from tests.memory import MemoryLedger
from tests.unit.steps.watching import CUTOVER, begun, cut_over_ledger, release_run

RUN = release_run()
MATTER = Matter("watch:metrics:0:1:2", "no metrics", "Prometheus is down", "bring it back")


def _outcome(*pages: Any, after: float = 60.0) -> WatchOutcome:
    return WatchOutcome(result="NOTICE", sentence="no data", at=CUTOVER.timestamp() + after, pages=pages)


def test_a_matter_is_told_once_whoever_tells_it() -> None:
    ledger, memory = cut_over_ledger(RUN)
    got: list[Message] = []
    assert page(RUN, ledger, MATTER, {"slack": got.append})
    assert page(RUN, ledger, MATTER, {"slack": got.append})
    assert len(got) == 1
    assert got[0].urgent
    assert "Prometheus is down" in got[0].text
    assert page(RUN, ledger, Matter("another", "x", "y", "z"), {"slack": got.append})
    assert [entry.kind for entry in memory.written].count(SENT) == 2


def test_without_the_ledger_people_are_called_all_the_same() -> None:
    got: list[Message] = []
    assert page(RUN, None, MATTER, {"slack": got.append})
    assert len(got) == 1


def test_a_slack_that_refuses_is_recorded_and_stops_nothing() -> None:
    ledger, memory = cut_over_ledger(RUN)

    def refuse(message: Message) -> None:
        raise MessageError("Slack did not take it")

    assert not page(RUN, ledger, MATTER, {"slack": refuse})
    assert memory.written[-1].kind == FAILED


def test_a_slack_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, memory = cut_over_ledger(RUN)
    for_ever = threading.Event()
    monkeypatch.setattr(paging, "PAGE_SECONDS", 0.05)
    assert not page(RUN, ledger, MATTER, {"slack": lambda message: for_ever.wait(60)})
    for_ever.set()
    assert memory.written[-1].kind == FAILED
    assert "no answer" in str(memory.written[-1].payload) or "within" in str(memory.written[-1].payload)


def test_a_ledger_that_hangs_takes_no_more_than_its_part_of_a_pages_time(monkeypatch: pytest.MonkeyPatch) -> None:
    released, asked = threading.Event(), threading.Event()

    class Hung(MemoryLedger):
        def head(self) -> Any:
            asked.set()
            released.wait(30)

    got: list[Message] = []
    monkeypatch.setattr(urgent, "SECONDS", 0.2)
    began = time.monotonic()
    try:
        assert page(RUN, cast(Ledger, Hung()), MATTER, {"slack": got.append})
    finally:
        released.set()
    assert time.monotonic() - began < 6, "all the time that a page has"
    assert asked.is_set()
    assert "kann doppelt ankommen" in got[0].text


def test_a_transports_own_error_is_handed_on() -> None:
    def broken(message: Message) -> None:
        raise OSError("refused")

    with pytest.raises(OSError, match="refused"):
        within(5.0, broken)(cast(Message, object()))


def test_a_window_that_is_held_is_one_matter_however_often_the_task_is_tried() -> None:
    ledger, _ = cut_over_ledger(RUN)
    config = begun(RUN, cast(Ledger, ledger))
    first, again = (matters(config, _outcome("held", after=after)) for after in (60, 90_000))
    assert first == again
    longer = config.extended(600, now=CUTOVER.timestamp())
    assert matters(longer, _outcome("held"))[0].key != first[0].key


def test_what_comes_back_after_a_while_is_another_matter_and_each_reason_is_one() -> None:
    ledger, _ = cut_over_ledger(RUN)
    config = begun(RUN, cast(Ledger, ledger))
    soon, later = (matters(config, _outcome("metrics", "criterion", after=after)) for after in (60, 6000))
    assert len({matter.key for matter in (*soon, *later)}) == 4
    assert all(matter.seen == "no data" and matter.remedy for matter in soon)
