"""At its time each mail is sent once, by whichever look; what fails keeps no other from being sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from include.errors import LedgerUnavailable, MessageBusy, MessageError, StellwerkError
from include.ledger.entry import NewEntry
from include.ledger.store import Ledger
from include.messages.model import Message
from include.plan.loader import Plan, load_plan, plan_folder
from include.plan.models import Release
from include.plan.timeline import PhasePlan
from include.steps import due_mails
from include.steps.due_mails import LATE, PATIENCE, Told, send_due
from include.steps.mails import planned_at
from include.steps.page import page
from include.steps.phase import PHASE_STARTED
from include.steps.record import RELEASED
from tests.memory import DyingLedger, MemoryLedger

PLAN = load_plan(plan_folder())
RELEASE = PLAN.releases["3.0.0"]
AT, AFTER = (cast(datetime, planned_at(RELEASE, event)) for event in ("announcement", "completion"))


class World:
    """A plan, what happened to its release, and a mail server that can be out."""

    def __init__(self, *releases: Release) -> None:
        self.plan: Plan = replace(PLAN, releases={one.version: one for one in releases or (RELEASE,)})
        self.memory = MemoryLedger()
        self.got: list[Message] = []
        self.error: Exception | None = None

    def happened(self, kind: str, environment: str, release: str = "3.0.0", **facts: Any) -> None:
        self.memory.append(NewEntry(kind, release, environment, "run", "stellwerk", facts))

    def rehearses(self, release: str = "3.0.0") -> World:
        self.happened(PHASE_STARTED, "staging", release, phase="staging-deploy", attempt=1)
        return self

    def look(self, now: datetime) -> Told:
        return send_due(self.plan, cast(Ledger, self.memory), {"mail": self._take}, "look", now)

    def pages(self, told: Told) -> list[Message]:
        """What people are called with because of a look."""
        sent: list[Message] = []
        for news in told.calls:
            page(news.run, cast(Ledger, self.memory), news.matter, {"slack": sent.append})
        return sent

    def _take(self, message: Message) -> None:
        if self.error:
            raise self.error
        self.got.append(message)


def test_the_announcement_goes_out_at_its_time_whatever_the_rehearsal_does() -> None:
    world = World().rehearses()
    assert world.look(AT - timedelta(minutes=1)) == Told((), ())
    assert world.got == []
    for minutes in (0, 5, 10):
        assert world.look(AT + timedelta(minutes=minutes)).failed == ()
    (mail,) = world.got
    assert mail.subject.startswith("[valeo-erp] VALEO-NeuroERP 3.0 kommt am")
    assert "noch geprobt" in mail.text


def test_what_nobody_has_begun_is_not_announced() -> None:
    world = World()
    world.happened(PHASE_STARTED, "production", phase="release-preparation", attempt=1)
    world.look(AT)
    assert world.got == []


def test_a_release_that_was_moved_after_its_announcement_is_announced_anew_at_once() -> None:
    world = World().rehearses()
    world.look(AT)
    later = RELEASE.model_copy(update={"date": RELEASE.date + timedelta(days=7)})
    world.plan = replace(PLAN, releases={"3.0.0": later})
    for _ in range(2):
        world.look(AT + timedelta(minutes=5))
    assert len(world.got) == 2
    assert "Der Termin hat sich geändert" in world.got[1].text


def test_the_completion_goes_out_at_its_time_where_the_release_is_live_and_not_days_later() -> None:
    world = World()
    world.look(AFTER)
    world.happened(RELEASED, "production")
    world.look(AFTER - timedelta(minutes=1))
    assert world.got == []
    world.look(AFTER + LATE + timedelta(minutes=1))
    assert world.got == []
    for _ in range(2):
        world.look(AFTER + timedelta(hours=2))
    assert [mail.key for mail in world.got] == ["3.0.0@production:message:completion"]


def test_a_mail_server_that_is_out_is_told_and_asked_less_and_less_often() -> None:
    world = World().rehearses()
    world.error = MessageError("the mail server did not take it")
    looks = [world.look(AT + timedelta(minutes=5 * number)) for number in range(72)]
    assert "announcement of 3.0.0" in looks[0].failed[0]
    tried = sum(bool(one.failed) for one in looks)
    assert 5 < tried < 20
    assert len(world.memory.written) == 1 + tried
    world.error = None
    world.look(AT + timedelta(hours=7))
    assert len(world.got) == 1


def test_a_mail_that_is_not_out_for_an_hour_calls_people_once_a_day_and_never_again_when_it_is_out() -> None:
    world = World().rehearses()
    world.error = MessageError("the mail server did not take it", seen="451 try later", remedy="bring it back")
    start = RELEASE.at("sign_off") - timedelta(days=2)
    pages: list[tuple[timedelta, Message]] = []
    for minutes in range(0, 30 * 60, 5):
        now = start + timedelta(minutes=minutes)
        pages += [(now - start, message) for message in world.pages(world.look(now))]
    assert [after >= PATIENCE for after, _ in pages] == [True] * len(pages)
    assert pages[0][0] < 2 * PATIENCE
    assert len({message.key for _, message in pages}) == len(pages) <= 3, "once a day"
    first = pages[0][1]
    assert (first.release, first.channel, first.urgent) == ("3.0.0", "#valeo-erp-alerts", True)
    for words in ("announcement of 3.0.0 has not reached", "451 try later", "bring it back", "by other means"):
        assert words in first.text
    world.error = None
    assert world.look(start + timedelta(hours=31)).calls == ()
    assert len(world.got) == 1


def test_a_mail_server_that_is_back_within_the_hour_calls_nobody() -> None:
    world = World().rehearses()
    world.error = MessageError("the mail server did not take it")
    for minutes in range(0, 60, 5):
        assert world.look(AT + timedelta(minutes=minutes)).calls == ()


def test_the_completion_that_nobody_takes_calls_people_too() -> None:
    world = World()
    world.happened(RELEASED, "production")
    world.error = MessageError("the mail server did not take it")
    world.look(AFTER)
    (called,) = world.look(AFTER + 2 * PATIENCE).calls
    assert called.matter.key == f"mail:completion:{AFTER.date()}"


@pytest.mark.parametrize("error", [MessageBusy("another process is at it"), LedgerUnavailable("no answer")])
def test_what_another_process_sends_or_only_the_ledger_knows_calls_nobody(
    error: StellwerkError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Any:
        raise error

    world = World().rehearses()
    monkeypatch.setattr(due_mails, "deliver", fail)
    told = world.look(AT + 2 * PATIENCE)
    assert (len(told.failed), told.calls) == (1, ())


@pytest.fixture
def crowded(tmp_path: Path) -> World:
    """Another release was put into the plan; its rehearsal begins while the one that has begun has staging."""
    for name in ("environments", "charts"):
        (tmp_path / name).symlink_to(plan_folder() / name)
    (tmp_path / "releases").mkdir()
    for version in ("3.0.0", "3.0.1"):
        shipped = plan_folder() / "releases" / "3.0.0.yaml"
        (tmp_path / "releases" / f"{version}.yaml").write_text(shipped.read_text())
    own = RELEASE.timeline.model_copy(update={"staging_deploy": PhasePlan(at="T-4 08:00")})
    day = RELEASE.date + timedelta(days=1)
    world = World(RELEASE, RELEASE.model_copy(update={"version": "3.0.1", "date": day, "timeline": own}))
    world.plan = replace(world.plan, folder=tmp_path)
    return world.rehearses()


def test_a_release_that_has_begun_is_announced_whatever_is_planned_into_its_place(crowded: World) -> None:
    assert crowded.look(AT).failed == ()
    assert [mail.release for mail in crowded.got] == ["3.0.0"]


def test_what_the_calendar_does_not_go_on_with_is_said_to_be_due_and_not_out(crowded: World) -> None:
    crowded.rehearses("3.0.1")
    told = crowded.look(AT)
    assert crowded.got == []
    assert told.calls == ()
    (called,) = crowded.look(AT + PATIENCE).calls
    assert "3.0.0.yaml" in called.matter.what + called.matter.seen
    (failed,) = told.failed
    assert failed.startswith("announcement of 3.0.0: ")
    assert "3.0.0.yaml" in failed


def test_people_are_not_called_for_what_is_not_due_yet(crowded: World) -> None:
    crowded.look(AT)
    moved = RELEASE.model_copy(update={"date": RELEASE.date + timedelta(days=1)})
    crowded.plan = replace(crowded.plan, releases={**crowded.plan.releases, "3.0.0": moved})
    crowded.rehearses("3.0.1")
    for minutes in (5, 59):
        assert crowded.look(AT + timedelta(minutes=minutes)).calls == ()


def test_what_was_announced_while_it_fitted_is_said_no_more_about(crowded: World) -> None:
    crowded.look(AT)
    crowded.rehearses("3.0.1")
    assert crowded.look(AT + timedelta(minutes=5)).failed == ()


def test_one_release_that_cannot_be_announced_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due_mails, "conflicts_of", lambda *_: {})
    nobody = RELEASE.communication.mails[0].model_copy(update={"to": ("nobody",)})
    wrong = RELEASE.model_copy(
        update={
            "version": "3.0.1",
            "date": date(2099, 1, 16),
            "communication": RELEASE.communication.model_copy(update={"mails": (nobody,)}),
        }
    )
    world = World(wrong, RELEASE).rehearses().rehearses("3.0.1")
    told = world.look(cast(datetime, planned_at(wrong, "announcement")))
    assert [mail.release for mail in world.got] == ["3.0.0"]
    assert "there is no audience nobody" in told.failed[0]


def test_what_was_sent_is_not_known_without_the_ledger() -> None:
    with pytest.raises(LedgerUnavailable):
        send_due(PLAN, cast(Ledger, DyingLedger()), {}, "look", AT)
