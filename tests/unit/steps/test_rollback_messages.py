"""Who is told what of a rollback, what happens when nobody takes it, and what when it is too late."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, LastSwitch
from include.bluegreen.state import ServiceState
from include.errors import (
    DatabaseBusy,
    LedgerUnavailable,
    MessageError,
    MessageGivenUp,
    MessageIncomplete,
    MessageRefused,
    NotEnoughEndpoints,
    RollbackRefused,
    VerificationFailed,
)
from include.ledger import urgent
from include.ledger.store import Ledger
from include.messages.deliver import FAILED, SENT
from include.messages.model import Message, Receipt, Refusal
from include.messages.rollback import DUTIES, GIVE_UP_AFTER
from include.plan.deadlines import MessageDeadlines
from include.plan.loader import load_plan, plan_folder
from include.steps.announce import announce
from include.steps.database.entries import LOSS_CONFIRMED, RESTORE_STATED
from include.steps.page import page
from include.steps.record import BROUGHT_BACK, CUT_OVER, ROLLBACK_VERIFIED, record
from include.steps.rollback import record_switch_back, record_trouble
from include.steps.rollback_messages import MISSED, next_due, not_taken_up, overdue, tell
from include.steps.rollback_story import Desk, story_of
from include.steps.run import ReleaseRun, open_run
from include.steps.schema_course import (
    RESTORE_RESUMED,
    RESTORE_STOPPED,
    RESTORED,
)
from tests.memory import MemoryLedger

HOLDER = "3.0.0@production/manual__1"


def a_run(**deadlines: float) -> ReleaseRun:
    """A run of `rollback` whose environment has these deadlines."""
    run = open_run(
        load_plan(plan_folder()),
        release="3.0.0",
        environment="production",
        phase="rollback",
        run_id="rb1",
        triggered_by="release-manager",
    )
    messages = run.environment.messages.model_copy(
        update={"deadlines": MessageDeadlines(**deadlines), "escalation": ("on-call@valeo.example",)}
    )
    return replace(run, environment=run.environment.model_copy(update={"messages": messages}))


def the_service(direction: Any = "back", *, ago: float = 0.0, holder: str = HOLDER) -> ServiceState:
    moved = LastSwitch(
        "blue" if direction == "back" else "green",
        "watch",
        "error rate 31 %",
        datetime.now(UTC) - timedelta(seconds=ago),
        holder,
        direction,
    )
    return ServiceState("valeo-erp", {}, {RELEASE_ID: holder, LAST_SWITCH: moved.encode()})


@dataclass
class Servers:
    """Slack and a mail server, each of which can be dead, or refuse for good."""

    dead: set[str] = field(default_factory=set)
    refusing: set[str] = field(default_factory=set)
    got: list[Message] = field(default_factory=list)

    @property
    def send(self) -> Mapping[str, Any]:
        return {"slack": self._take, "mail": self._take}

    def _take(self, message: Message) -> None:
        if message.kind in self.dead:
            raise MessageError(f"{message.kind} is dead", seen="connection refused")
        if message.kind in self.refusing:
            raise MessageRefused(f"{message.kind} refuses", seen="channel_not_found", remedy="create the channel")
        self.got.append(message)

    @property
    def names(self) -> list[str]:
        return [message.key.rpartition(":message:")[2] for message in self.got]


def a_desk(
    servers: Servers, service: ServiceState | None, run: ReleaseRun | None = None, ledger: Any = None
) -> Desk:
    memory = cast("Ledger", ledger or MemoryLedger())
    return Desk(run or a_run(), memory, service, servers.send, datetime.now(UTC))


def written(desk: Desk, kind: str) -> list[Mapping[str, Any]]:
    return [entry.payload for entry in cast("Any", desk.ledger).written if entry.kind == kind]


def test_everybody_is_told_once_however_often_it_is_tried() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service())
    for _ in range(2):
        for duty in DUTIES:
            assert tell(desk, duty)
    assert servers.names == ["rollback-alert", "rollback-mail", "post-mortem"]
    assert {message.run_id for message in servers.got} == {"manual__1"}, "they belong to the release"
    assert [one.name for one in servers.got[2].attachments] == ["post-mortem.ics"]
    other_run = replace(desk, run=replace(desk.run, run_id="rb2"))
    assert "had been sent before" in tell(other_run, "alert")
    assert len(servers.got) == 3
    assert written(desk, MISSED) == []


def test_the_early_alert_goes_out_once_and_only_where_the_traffic_is_back() -> None:
    servers = Servers()
    forward = a_desk(servers, the_service("forward"))
    assert "not back" in tell(forward, "alert", early=True)
    assert servers.got == []
    back = replace(forward, service=the_service("back"))
    assert "sent" in tell(back, "alert", early=True)
    assert "had been sent before" in tell(back, "alert")
    assert servers.names == ["rollback-alert"]


def test_the_mail_says_what_was_checked() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service())
    record(cast("Ledger", desk.ledger), desk.run, ROLLBACK_VERIFIED, {"checks": ["/healthz answers 200"]})
    tell(desk, "mail")
    assert "Danach geprüft:\n- /healthz answers 200" in servers.got[0].text


def test_the_alert_says_what_people_have_to_look_at() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service())
    done = {"release_id": HOLDER, "by": "rm", "noticed": ["blue takes the traffic with 1 ready endpoint(s)"]}
    record_switch_back(desk.run, cast("Ledger", desk.ledger), done)
    tell(desk, "alert")
    assert ":warning: blue takes the traffic with 1 ready endpoint(s)" in servers.got[0].text


def test_a_rollback_that_is_not_proven_pages() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service())
    error = VerificationFailed("2 of 3 checks failed", seen="503", remedy="read the log")
    record_trouble(desk.run, cast("Ledger", desk.ledger), "verify_traffic", error)
    tell(desk, "mail")
    assert servers.names == ["human-needed:1", "rollback-mail"]
    assert "was rolled back, but it is not proven: 2 of 3 checks failed" in servers.got[0].text


# -- dead servers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("duty", "dead", "way", "to"),
    [
        ("alert", "slack", "mail", ("on-call@valeo.example",)),
        ("mail", "mail", "slack", "#valeo-erp-alerts"),
        ("post-mortem", "mail", "slack", "#valeo-erp-alerts"),
    ],
)
def test_a_missed_deadline_is_recorded_and_takes_the_other_way(duty: Any, dead: str, way: str, to: Any) -> None:
    servers = Servers({dead})
    desk = a_desk(servers, the_service(ago=4000))
    for _ in range(3):
        with pytest.raises(MessageError, match="dead") as caught:
            tell(desk, duty)
        assert caught.value.retryable
    (missed,) = written(desk, MISSED)
    assert (missed["duty"], missed["delivered"], missed["why"]) == (duty, None, "connection refused")
    (escalated,) = servers.got
    assert escalated.kind == way
    assert to in (escalated.recipients, escalated.channel)
    assert "connection refused" in escalated.text
    assert "error rate 31 %" in escalated.text, "what was to be told is told"
    servers.dead.clear()
    tell(desk, duty)
    assert len(servers.got) == 2
    assert len(written(desk, MISSED)) == 1


@pytest.mark.parametrize(
    ("duty", "refusing", "name"),
    [("alert", "slack", "escalation-rollback-alert"), ("mail", "mail", "escalation-rollback-mail")],
)
def test_what_is_refused_for_good_takes_the_other_way_at_once(duty: Any, refusing: str, name: str) -> None:
    servers = Servers(refusing={refusing})
    desk = a_desk(servers, the_service())
    for _ in range(2):
        with pytest.raises(MessageRefused) as caught:
            tell(desk, duty)
        assert not caught.value.retryable
    assert servers.names == [name]
    assert "channel_not_found" in servers.got[0].text
    assert "verstrichen" not in servers.got[0].text
    assert "verpasst" not in servers.got[0].text
    assert written(desk, MISSED) == []
    assert "do: create the channel" in written(desk, FAILED)[0]["error"]


def test_what_is_refused_and_cannot_be_told_otherwise_either_is_tried_again() -> None:
    servers = Servers(refusing={"slack"}, dead={"mail"})
    desk = a_desk(servers, the_service())
    for ledger in (desk.ledger, None):
        with pytest.raises(MessageError) as caught:
            tell(replace(desk, ledger=ledger), "alert")
        assert caught.value.retryable
    servers.dead.clear()
    with pytest.raises(MessageRefused):
        tell(desk, "alert")
    assert servers.names == ["escalation-rollback-alert"]


def test_a_stakeholder_whom_the_mail_server_puts_off_is_told_later() -> None:
    servers, run, address = Servers(), a_run(), "boss@valeo.example"
    messages = run.environment.messages.model_copy(update={"stakeholders": (address, "all@valeo.example")})
    run = replace(run, environment=run.environment.model_copy(update={"messages": messages}))
    desk = a_desk(servers, the_service(), run)

    def greylist(message: Message) -> Receipt:
        return Receipt(refused={address: Refusal(450, "later")})

    desk = replace(desk, send={**servers.send, "mail": greylist})
    with pytest.raises(MessageIncomplete) as caught:
        tell(desk, "mail")
    assert caught.value.retryable
    tell(replace(desk, send=servers.send), "mail")
    assert [one.recipients for one in servers.got] == [(address,)]
    assert written(desk, MISSED) == []


def test_before_the_deadline_a_dead_server_is_nobodys_alarm() -> None:
    servers = Servers({"mail"})
    desk = a_desk(servers, the_service(ago=60))
    with pytest.raises(MessageError):
        tell(desk, "mail")
    assert (servers.got, written(desk, MISSED), len(written(desk, FAILED))) == ([], [], 1)


def test_both_dead_the_escalation_waits_and_is_dropped_once_the_message_is_out() -> None:
    servers = Servers({"mail", "slack"})
    desk = a_desk(servers, the_service(ago=4000))
    with pytest.raises(MessageError):
        tell(desk, "alert")
    assert len(written(desk, MISSED)) == 1
    servers.dead = {"slack"}
    with pytest.raises(MessageError):
        tell(desk, "alert")
    assert servers.names == ["escalation-rollback-alert"]
    servers.dead = {"mail"}
    with pytest.raises(MessageError):
        tell(desk, "mail")
    servers.dead.clear()
    for duty in DUTIES:
        tell(desk, duty)
    assert sorted(servers.names) == [
        "escalation-rollback-alert",
        "escalation-rollback-mail",
        "post-mortem",
        "rollback-alert",
        "rollback-mail",
    ]


def test_delivered_late_is_recorded_and_no_alarm() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service(ago=4000))
    tell(desk, "mail")
    (missed,) = written(desk, MISSED)
    assert missed["delivered"] is not None
    assert servers.names == ["rollback-mail"]


def test_it_is_given_up_hours_later() -> None:
    desk = a_desk(Servers({"mail"}), the_service(ago=900 + GIVE_UP_AFTER.total_seconds() - 60))
    with pytest.raises(MessageError) as caught:
        tell(desk, "mail")
    assert caught.value.retryable
    desk = a_desk(Servers({"mail"}), the_service(ago=901 + GIVE_UP_AFTER.total_seconds()))
    with pytest.raises(MessageGivenUp) as given_up:
        tell(desk, "mail")
    assert not given_up.value.retryable


def test_without_a_ledger_people_are_told_all_the_same() -> None:
    servers = Servers()
    desk = replace(a_desk(servers, the_service(ago=4000)), ledger=None)
    for duty in DUTIES:
        tell(desk, duty)
    assert servers.names == ["rollback-alert", "rollback-mail", "post-mortem"]
    assert all("kann doppelt ankommen" in message.text for message in servers.got)


def test_a_ledger_that_dies_meanwhile_changes_nothing() -> None:
    class Dying(MemoryLedger):
        def entries(self, **_: Any) -> Any:
            raise LedgerUnavailable("gone")

        def find(self, key: str) -> Any:
            raise LedgerUnavailable("gone")

        def append(self, new: Any) -> Any:
            raise LedgerUnavailable("gone")

    servers = Servers()
    desk = a_desk(servers, the_service(ago=4000), ledger=Dying())
    assert "sent" in tell(desk, "alert")
    assert servers.names == ["rollback-alert"]


def test_a_ledger_that_hangs_delays_the_alert_by_seconds_and_not_by_one_wait_for_each_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released, asked = threading.Event(), []

    class Hung(MemoryLedger):
        def head(self) -> Any:
            asked.append(self)
            released.wait(30)

        entries = find = append = lambda self, *_, **__: self.head()  # type: ignore[assignment]

    monkeypatch.setattr(urgent, "SECONDS", 0.5)
    servers, began = Servers(), time.monotonic()
    desk = a_desk(servers, the_service(), ledger=Hung())
    try:
        assert "sent" in tell(desk, "alert")
        assert time.monotonic() - began < 10
        assert len(asked) == 1
        assert overdue(replace(desk, service=the_service(ago=4000)))
    finally:
        released.set()
    assert servers.names[0] == "rollback-alert"
    assert "kann doppelt ankommen" in servers.got[0].text


# -- what Airflow's deadline calls ---------------------------------------------------------------------------


def test_when_no_worker_got_to_it_everything_overdue_is_sent_and_recorded() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service(ago=1000))
    told = overdue(desk)
    assert servers.names == ["rollback-alert", "rollback-mail"]
    assert told[2].startswith("post-mortem: due ")
    assert [one["duty"] for one in written(desk, MISSED)] == ["alert", "mail"]
    overdue(desk)
    assert len(servers.got) == 2, "a second call finds it done"
    due = next_due(desk)
    assert due is not None
    assert timedelta(0) < due - datetime.now(UTC) <= timedelta(seconds=2600)


def test_what_was_told_in_time_is_not_told_again() -> None:
    servers = Servers()
    run = a_run(alert_seconds=100, mail_seconds=100, post_mortem_seconds=100)
    desk = a_desk(servers, the_service(), run)
    for duty in DUTIES:
        tell(desk, duty)
    later = replace(desk, service=the_service(ago=50))
    assert next_due(later) is not None
    overdue(later)
    assert len(servers.got) == 3
    assert written(desk, MISSED) == []


def test_dead_servers_do_not_stop_the_look_at_the_others() -> None:
    servers = Servers({"mail"})
    desk = a_desk(servers, the_service(ago=4000))
    told = overdue(desk)
    assert servers.names == ["rollback-alert", "escalation-rollback-mail", "escalation-post-mortem"]
    assert "mail is dead" in told[1]
    assert len(written(desk, MISSED)) == 3


# -- refused and blocked -------------------------------------------------------------------------------------


@pytest.mark.parametrize("holder", ["2.9.1@production/x", "3.0.0@staging/x"])
def test_a_refusal_is_answered_in_its_own_words_and_alarms_nobody(holder: str) -> None:
    servers = Servers()
    desk = a_desk(servers, the_service("forward", holder=holder))
    for duty in DUTIES:
        tell(desk, duty)
    (answer,) = servers.got
    assert (answer.channel, answer.urgent) == ("#valeo-erp-status", False)
    assert "abgelehnt" in answer.text
    assert "ausgelöst von release-manager: 3.0.0 holds no traffic of production" in answer.text
    assert overdue(replace(desk, asked_at=datetime.now(UTC) - timedelta(days=1))) == [
        "nothing is owed: the rollback was refused"
    ]


def test_an_option_that_was_refused_is_answered_too() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service("forward"))
    error = RollbackRefused("there is no rollback option teleport")
    record_trouble(desk.run, cast("Ledger", desk.ledger), "eligibility", error)
    tell(desk, "alert")
    assert servers.got[0].channel == "#valeo-erp-status"
    assert "no rollback option teleport" in servers.got[0].text


def test_a_blocked_rollback_pages_in_its_own_words_and_only_there() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service("forward"))
    error = NotEnoughEndpoints("rollback option auto is not possible, and no other is", seen="it was uninstalled")
    for _ in range(2):
        record_trouble(desk.run, cast("Ledger", desk.ledger), "eligibility", error)
    for duty in DUTIES:
        tell(desk, duty)
    (page,) = servers.got
    assert (page.channel, page.urgent) == ("#valeo-erp-alerts", True)
    assert "3.0.0 has NOT been rolled back, nothing was moved: rollback option auto is not possible" in page.text
    assert "Beobachtet: it was uninstalled" in page.text
    assert len(written(desk, "rollback.blocked")) == 1


def test_a_blocked_rollback_that_slack_does_not_take_goes_by_mail() -> None:
    servers = Servers({"slack"})
    desk = replace(a_desk(servers, the_service("forward")), asked_at=datetime.now(UTC) - timedelta(seconds=61))
    with pytest.raises(MessageError):
        tell(desk, "alert")
    (mail,) = servers.got
    assert mail.recipients == ("on-call@valeo.example",)
    assert "has NOT been rolled back" in mail.text


@pytest.mark.parametrize("service", [None, the_service("forward")])
def test_what_nobody_knows_pages(service: ServiceState | None) -> None:
    story = story_of(a_desk(Servers(), service))
    assert story.state == "blocked"
    assert story.trouble is not None
    assert "read the log" in story.trouble.remedy


def test_trouble_that_was_overcome_is_forgotten() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service())
    record_trouble(desk.run, cast("Ledger", desk.ledger), "switch_back", NotEnoughEndpoints("no ready endpoint"))
    for duty in DUTIES:
        tell(desk, duty)
    assert servers.names == ["rollback-alert", "rollback-mail", "post-mortem"]
    assert len(written(desk, SENT)) == 3


def test_a_full_restore_that_waits_for_its_confirmation_calls_the_human_who_gives_it() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service("forward"))
    record(cast("Ledger", desk.ledger), desk.run, RESTORE_STATED, {"digest": "d"})
    tell(desk, "alert")
    assert servers.names == ["human-needed"]
    assert "a full restore needs a human's confirmation of what is lost" in servers.got[0].text
    assert "users are still on slot green" in servers.got[0].text
    again = a_desk(servers, the_service("forward"), replace(desk.run, run_id="rb2"), desk.ledger)
    record(cast("Ledger", desk.ledger), again.run, RESTORE_STATED, {"digest": "d"})
    record(cast("Ledger", desk.ledger), again.run, RESTORE_STOPPED, {})
    tell(again, "alert")
    assert "users are down: the application is stopped since" in servers.got[1].text


def test_a_confirmed_restore_that_runs_asks_nobody_for_what_they_have_said() -> None:
    desk = a_desk(Servers(), the_service("forward"))
    ledger = cast("Ledger", desk.ledger)

    def told() -> str:
        trouble = story_of(desk).trouble
        assert trouble is not None
        return f"{trouble.what}; {trouble.seen}"

    record(ledger, desk.run, RESTORE_STATED, {"digest": "d1"}, number="d1")
    record(ledger, desk.run, LOSS_CONFIRMED, {"digest": "d1", "by": "anna"}, number="d1")
    confirmed = "a full restore is under way, anna has confirmed what is lost"
    assert told() == f"{confirmed}; users are still on slot green"
    record(ledger, desk.run, RESTORE_STOPPED, STOPPED, number=1)
    assert told().startswith(f"{confirmed}; users are down: the application is stopped since")
    record(ledger, desk.run, RESTORE_STATED, {"digest": "d2"}, number="d2")
    assert told().startswith("a full restore needs a human's confirmation of what is lost; users are down")
    record(ledger, desk.run, LOSS_CONFIRMED, {"digest": "d2", "by": "bo"}, number="d2")
    record(ledger, desk.run, RESTORED, RESTORE, number="d2")
    assert told().startswith(
        "a full restore is under way, bo has confirmed what is lost; users are down: the database"
    )


RESTORE: Mapping[str, Any] = {
    "backup": "b1",
    "backup_at": "2030-05-01T08:50:00+00:00",
    "kept": "",
    "by": "anna",
    "minutes": 12.5,
}
STOPPED: Mapping[str, Any] = {"sizes": {"blue": 2, "green": 3}}
NOT_UP = NotEnoughEndpoints("the old version does not come up", seen="ErrImagePull", remedy="mend it")


def test_each_trouble_of_a_full_restore_is_told_once_and_with_what_it_means_to_users() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service("forward"))
    ledger = cast("Ledger", desk.ledger)
    record(ledger, desk.run, RESTORE_STATED, {"digest": "d"})
    tell(desk, "alert")
    record(ledger, desk.run, RESTORE_STOPPED, STOPPED, number=1)
    record_trouble(desk.run, ledger, "restore", DatabaseBusy("sessions do not end"))
    for _ in range(2):
        tell(desk, "alert")
    record(ledger, desk.run, RESTORED, {"backup": "b"}, number="d")
    record_trouble(desk.run, ledger, "bring_back", NOT_UP)
    for _ in range(2):
        tell(replace(desk, asked_at=desk.asked_at - timedelta(days=1)), "alert")
    assert [name.partition(":")[0] for name in servers.names] == ["human-needed"] * 3
    told = [message.text for message in servers.got]
    assert "has NOT been rolled back, nothing was moved: a full restore needs a human's confirmation" in told[0]
    assert "users are down, the application is stopped for a restore of the database: sessions do not" in told[1]
    assert "the database was replaced by its backup and the old version is not back: the old version" in told[2]
    assert not any("nothing was moved" in text for text in told[1:])


def test_trouble_of_a_restore_pages_also_where_the_traffic_was_back_already() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service("back"))
    ledger = cast("Ledger", desk.ledger)
    tell(desk, "alert")
    record(ledger, desk.run, RESTORE_STOPPED, STOPPED, number=1)
    record_trouble(desk.run, ledger, "restore", DatabaseBusy("sessions do not end"))
    tell(desk, "alert")
    tell(desk, "mail")
    assert servers.names[0] == "rollback-alert"
    assert "users are down, the application is stopped" in servers.got[1].text
    assert servers.names[2:] == ["rollback-mail"]
    record(ledger, desk.run, RESTORED, RESTORE, number="d")
    overdue(desk)
    assert len(servers.got) == 3, "that one was overcome"
    record_trouble(desk.run, ledger, "bring_back", NOT_UP)
    overdue(desk)
    assert "the old version is not back: the old version does not come up" in servers.got[3].text
    record(ledger, desk.run, BROUGHT_BACK, {})
    assert story_of(desk).trouble is None


def test_a_no_while_users_are_down_is_no_mere_refusal() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service("forward"))
    record(cast("Ledger", desk.ledger), desk.run, RESTORE_STOPPED, STOPPED, number=1)
    record_trouble(desk.run, cast("Ledger", desk.ledger), "ask_again", RollbackRefused("it is not restored"))
    assert story_of(desk).state == "blocked"
    record(cast("Ledger", desk.ledger), desk.run, RESTORE_RESUMED, STOPPED, number=1)
    assert story_of(desk).state == "refused"


def test_an_application_that_is_not_taken_up_is_told_once_whoever_tells_it_first() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service("forward"))
    ledger = cast("Ledger", desk.ledger)
    record(ledger, desk.run, RESTORE_STOPPED, STOPPED, number=1)
    record_trouble(desk.run, ledger, "resume", NOT_UP)
    for _ in range(2):
        assert page(desk.run, ledger, not_taken_up(desk.run, ledger, "resume", NOT_UP), servers.send)
    tell(desk, "alert")
    [called] = servers.got
    assert "was not taken up: users are down: the old version does not come up" in called.text
    unrecorded = not_taken_up(desk.run, None, "resume", KeyError("name"))
    assert unrecorded.what.endswith("KeyError: 'name'")
    assert unrecorded.remedy == "read the log of resume, then clear it"
    assert unrecorded.key.startswith("resume:")


def test_the_deadline_of_a_trouble_that_comes_late_counts_from_when_it_came() -> None:
    servers = Servers()
    desk = replace(a_desk(servers, the_service("forward")), asked_at=datetime.now(UTC) - timedelta(hours=1))
    record_trouble(desk.run, cast("Ledger", desk.ledger), "restore", DatabaseBusy("sessions do not end"))
    tell(desk, "alert")
    assert len(servers.got) == 1
    assert written(desk, MISSED) == [], "it was told at once"


@pytest.mark.parametrize("kept", ["erp_damaged_20300501_0900_abcdef", ""])
def test_who_is_told_of_a_rollback_is_told_that_the_database_was_restored(kept: str) -> None:
    servers = Servers()
    desk = a_desk(servers, the_service())
    restored = RESTORE | {"kept": kept}
    record(cast("Ledger", desk.ledger), desk.run, RESTORED, restored)
    for duty in ("alert", "mail"):
        tell(desk, cast("Any", duty))
    for message in servers.got:
        assert "aus der Sicherung b1 wiederhergestellt" in message.text
        assert "12.5 Minuten" in message.text
        assert "anna" in message.text
        assert ("erp_damaged_20300501_0900_abcdef" in message.text) == bool(kept)
        assert "nicht verändert" not in message.text


def test_without_a_restore_the_messages_say_that_the_database_was_left_alone() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service())
    for duty in ("alert", "mail"):
        tell(desk, cast("Any", duty))
    assert all("nicht verändert" in message.text for message in servers.got)


def test_an_earlier_run_whose_deadline_comes_now_tells_of_the_restore_of_a_later_one() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service())
    ledger, later = cast("Ledger", desk.ledger), replace(desk.run, run_id="rb2")
    record(ledger, replace(desk.run, run_id="manual__1"), CUT_OVER, {})
    record(ledger, later, RESTORED, RESTORE)
    tell(desk, "alert")
    assert "aus der Sicherung b1 wiederhergestellt" in servers.got[0].text
    record(ledger, replace(desk.run, run_id="manual__2"), CUT_OVER, {})
    again = replace(desk, service=the_service(holder="3.0.0@production/manual__2"))
    tell(again, "alert")
    assert "nicht verändert" in servers.got[1].text, "that was another cutover's"


def test_a_restore_is_told_by_its_own_run_whatever_was_told_before() -> None:
    servers = Servers()
    desk = a_desk(servers, the_service())
    tell(desk, "alert")
    record(cast("Ledger", desk.ledger), desk.run, RESTORED, RESTORE)
    announce(desk.run, "database-restored", desk.ledger, desk.send)
    announce(desk.run, "database-restored", desk.ledger, desk.send)
    assert servers.names == ["rollback-alert", "database-restored"]
    assert servers.got[1].run_id == "rb1"
    assert "was seither eingegeben wurde, fehlt" in servers.got[1].text
