"""The stand-ins for Slack and mail, as processes, through the hooks of Airflow's real providers."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, message_from_string, policy
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from airflow.models import Connection
from airflow.providers.slack.hooks.slack import SlackHook
from airflow.providers.smtp.hooks.smtp import SmtpHook
from icalendar import Calendar
from slack_sdk.errors import SlackApiError

from include.errors import MessageError, MessageIncomplete, MessageRefused, MessageUnanswered
from include.messages import slack
from include.messages.announcement import announcement, completion
from include.messages.appointment import Appointment
from include.messages.deliver import Delivery, deliver
from include.messages.model import Message
from include.plan.communication import Language, MailEvent
from include.plan.loader import load_plan, plan_folder
from include.sandbox.inbox import Fault, Kind, Mode, set_fault
from include.sandbox.processes import Process, free_port, wait_until
from include.steps.announce import occasion_of
from include.steps.run import open_run
from stellwerk.notifiers.transport import send_mail, send_slack
from tests.memory import MemoryLedger

TOKEN = "xoxb-contract"
ALERT = Message(
    "key-1", "slack", "3.0.1", "production", "run", "Rollback: <b> & Grüße\n", channel="#valeo-erp-alerts"
)
MAIL = Message(
    key="key-2",
    kind="mail",
    release="3.0.1",
    environment="production",
    run_id="run",
    text="Guten Tag,\n\nzurück auf 3.0.0 <b>\n",
    sender="release@valeo-erp.example",
    recipients=("all@valeo-erp.example", "support@valeo-erp.example"),
    subject="Rollback von 3.0.1: Grüße",
)


@dataclass(frozen=True)
class Sinks:
    """Two running stand-ins."""

    inbox: Path
    slack_port: int
    smtp_port: int
    processes: dict[Kind, Process]

    def texts(self, kind: Kind) -> list[str]:
        return [file.read_text() for file in sorted((self.inbox / kind).iterdir())]

    def fail(self, kind: Kind, fault: Fault | None) -> None:
        set_fault(self.inbox, kind, fault)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def started(folder: Path) -> Iterator[Sinks]:
    inbox, token = folder / "inbox", folder / "token"
    token.write_text(TOKEN)
    ports: dict[Kind, int] = {"slack": free_port(), "mail": free_port()}
    modules: dict[Kind, list[str]] = {
        "slack": ["include.sandbox.slack", "--token-file", str(token)],
        "mail": ["include.sandbox.smtp"],
    }
    processes: dict[Kind, Process] = {}
    try:
        for kind, module in modules.items():
            argv = [sys.executable, "-m", *module, "--port", str(ports[kind]), "--inbox", str(inbox)]
            processes[kind] = Process(kind, argv, cwd=Path.cwd(), log=folder / f"{kind}.log")
            processes[kind].start()
        for kind, process in processes.items():
            port = ports[kind]
            wait_until(partial(_listens, port), deadline_seconds=30, what=kind, process=process)
        yield Sinks(inbox, ports["slack"], ports["mail"], processes)
    finally:
        for process in processes.values():
            process.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sinks]:
    with started(tmp_path_factory.mktemp("sinks")) as sinks:
        yield sinks


@pytest.fixture
def sinks(running: Sinks, monkeypatch: pytest.MonkeyPatch) -> Sinks:
    """Empty inboxes, no faults, and the connections to them."""
    for kind in running.processes:
        running.fail(kind, None)
        for file in (running.inbox / kind).iterdir():
            file.unlink()
    connect(running, monkeypatch)
    return running


def connect(running: Sinks, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connections as airflow_settings.yaml describes them."""
    posts = Connection(
        conn_id="slack",
        conn_type="slack",
        password=TOKEN,
        extra=json.dumps({"base_url": f"http://127.0.0.1:{running.slack_port}/api/", "timeout": 2}),
    )
    smtp = Connection(
        conn_id="smtp",
        conn_type="smtp",
        host="127.0.0.1",
        port=running.smtp_port,
        extra=json.dumps(
            {"from_email": MAIL.sender, "disable_ssl": True, "disable_tls": True, "timeout": 2, "retry_limit": 0}
        ),
    )
    for connection in (posts, smtp):
        monkeypatch.setenv(f"AIRFLOW_CONN_{connection.conn_id.upper()}", connection.as_json())


# -- Slack ---------------------------------------------------------------------------------------------------


def test_the_slack_hook_connects(sinks: Sinks) -> None:
    accepted, told = SlackHook(slack_conn_id="slack").test_connection()  # type: ignore[no-untyped-call]
    assert accepted, told
    assert '"team": "sandbox"' in told


def test_the_slack_hook_posts_and_finds_channels(sinks: Sinks) -> None:
    hook = SlackHook(slack_conn_id="slack")
    answer = hook.call("chat.postMessage", json={"channel": "#valeo-erp-status", "text": "Deployment started"})
    assert answer["ok"]
    assert hook.get_channel_id("valeo-erp-status") == answer["channel"]
    assert hook.client.chat_postMessage(channel=str(answer["channel"]), text="by id")["ok"]
    assert [text.splitlines()[0] for text in sinks.texts("slack")] == ["Channel: #valeo-erp-status"] * 2
    with pytest.raises(LookupError):
        hook.get_channel_id("nowhere")


async def test_the_slack_hook_posts_asynchronously(sinks: Sinks) -> None:
    hook = SlackHook(slack_conn_id="slack")
    answer = await hook.async_call("chat.postMessage", json={"channel": "#valeo-erp-status", "text": "async"})
    assert answer["ok"]
    assert len(sinks.texts("slack")) == 1


def test_stellwerks_slack_message_arrives_as_composed(sinks: Sinks) -> None:
    send_slack("slack", ALERT)
    (text,) = sinks.texts("slack")
    assert text.startswith("Channel: #valeo-erp-alerts\n")
    assert text.endswith("\n\nRollback: <b> & Grüße\n")


def test_a_wrong_token_or_channel_is_slacks_named_error(sinks: Sinks, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SlackApiError, match="channel_not_found"):
        SlackHook(slack_conn_id="slack").call("chat.postMessage", json={"channel": "#nowhere", "text": "x"})
    extra = json.dumps({"base_url": f"http://127.0.0.1:{sinks.slack_port}/api/"})
    wrong = Connection(conn_id="slack", conn_type="slack", password="xoxb-wrong", extra=extra)
    monkeypatch.setenv("AIRFLOW_CONN_SLACK", wrong.as_json())
    with pytest.raises(MessageError, match="invalid_auth") as caught:
        send_slack("slack", ALERT)
    assert "xoxb" not in str(caught.value)
    assert sinks.texts("slack") == []


@contextmanager
def healed_after(sinks: Sinks, kind: Kind, seconds: float) -> Iterator[None]:
    """The stand-in's fault ends by itself meanwhile."""
    healing = threading.Timer(seconds, sinks.fail, (kind, None))
    healing.start()
    try:
        yield
    finally:
        healing.cancel()
        healing.join()


def test_slacks_retry_after_is_honoured(sinks: Sinks) -> None:
    sinks.fail("slack", Fault("busy", retry_after=2))
    began = time.monotonic()
    with healed_after(sinks, "slack", 0.5):
        receipt = send_slack("slack", ALERT)
    assert 2 <= time.monotonic() - began < 20
    assert (receipt.tries, len(sinks.texts("slack"))) == (2, 1)


def test_a_retry_after_beyond_all_bounds_is_the_tasks_to_wait_for(sinks: Sinks) -> None:
    sinks.fail("slack", Fault("busy", retry_after=3600))
    began = time.monotonic()
    with pytest.raises(MessageError, match="HTTP 429, to be asked again after 3600 s") as caught:
        send_slack("slack", ALERT)
    assert time.monotonic() - began < 20
    assert caught.value.retryable


def test_a_slack_that_fails_is_asked_again(sinks: Sinks) -> None:
    sinks.fail("slack", Fault("error"))
    with healed_after(sinks, "slack", 0.5):
        assert send_slack("slack", ALERT).tries == 2
    assert len(sinks.texts("slack")) == 1


@pytest.mark.parametrize("code", ["account_inactive", "is_archived", "missing_scope"])
def test_what_slack_refuses_for_good_says_what_to_do(sinks: Sinks, code: str) -> None:
    sinks.fail("slack", Fault("refuse", code))
    with pytest.raises(MessageRefused, match=code) as caught:
        send_slack("slack", ALERT)
    assert not caught.value.retryable
    assert "then clear the task" in caught.value.remedy


def test_a_channel_that_is_not_there_is_refused_once_and_named(sinks: Sinks) -> None:
    with pytest.raises(MessageRefused, match="channel_not_found") as caught:
        send_slack("slack", replace(ALERT, channel="#nowhere"))
    assert "#nowhere" in caught.value.expected
    assert "create the channel" in caught.value.remedy


def test_a_release_is_one_thread_in_its_channel(sinks: Sinks) -> None:
    ledger = MemoryLedger()
    posts = [
        replace(ALERT, key=f"status-{number}", channel="#valeo-erp-status", threaded=True) for number in range(3)
    ]
    for post in (*posts, ALERT):
        deliver(ledger, post, lambda message: send_slack("slack", message), datetime.now(UTC))
    first, *replies = [entry.payload["ts"] for entry in ledger.written]
    texts = sinks.texts("slack")
    assert [f'"thread_ts": "{first}"' in text for text in texts] == [False, True, True, False]
    assert [entry.payload.get("thread") for entry in ledger.written] == [first, first, first, None]
    assert len({first, *replies}) == 4


def test_a_thread_whose_first_post_is_gone_is_followed_by_a_new_one(sinks: Sinks) -> None:
    reply = replace(ALERT, threaded=True, thread="1.000000")
    receipt = send_slack("slack", reply)
    assert receipt.thread == ""
    assert send_slack("slack", replace(reply, thread=receipt.ts)).thread == receipt.ts


@pytest.mark.parametrize("fault", [Fault("error"), Fault("busy"), Fault("drop")])
def test_a_failing_slack_is_a_message_error(sinks: Sinks, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack, "PATIENCE", 0.0)
    sinks.fail("slack", fault)
    with pytest.raises(MessageError) as caught:
        send_slack("slack", ALERT)
    assert caught.value.retryable
    assert sinks.texts("slack") == []
    sinks.fail("slack", None)
    send_slack("slack", ALERT)
    assert len(sinks.texts("slack")) == 1


def test_a_hanging_slack_is_given_up_in_time(sinks: Sinks) -> None:
    sinks.fail("slack", Fault("hang"))
    began = time.monotonic()
    with pytest.raises(MessageError):
        send_slack("slack", ALERT)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("mode", ["mute", "cut"])
def test_what_slack_took_without_an_answer_is_posted_again_after_a_while_alone(sinks: Sinks, mode: Mode) -> None:
    ledger, now = MemoryLedger(), datetime.now(UTC)
    alert = replace(ALERT, urgent=True)

    def post(after: float) -> Delivery:
        return deliver(ledger, alert, lambda one: send_slack("slack", one), now + timedelta(seconds=after))

    sinks.fail("slack", Fault(mode))
    for after in (0, 1, 20):
        with pytest.raises(MessageUnanswered):
            post(after)
    assert len(sinks.texts("slack")) == 1
    sinks.fail("slack", None)
    assert post(31).sent
    assert ["kann doppelt ankommen" in text for text in sinks.texts("slack")] == [False, True]
    assert not post(32).sent


def test_a_slack_that_cannot_be_reached_is_in_no_doubt(sinks: Sinks, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = json.dumps({"base_url": f"http://127.0.0.1:{free_port()}/api/", "timeout": 2})
    nowhere = Connection(conn_id="slack", conn_type="slack", password=TOKEN, extra=extra)
    monkeypatch.setenv("AIRFLOW_CONN_SLACK", nowhere.as_json())
    with pytest.raises(MessageError, match="Connection refused") as caught:
        send_slack("slack", ALERT)
    assert not isinstance(caught.value, MessageUnanswered)


# -- mail ----------------------------------------------------------------------------------------------------


def test_the_smtp_hook_connects(sinks: Sinks) -> None:
    with SmtpHook(smtp_conn_id="smtp") as hook:
        assert hook.test_connection() == (True, "Connection successfully tested")


def test_stellwerks_mail_arrives_as_composed(sinks: Sinks) -> None:
    send_mail("smtp", MAIL)
    (text,) = sinks.texts("mail")
    mail = message_from_string(text, policy=policy.default)
    assert (mail["Subject"], mail["Message-ID"]) == (MAIL.subject, MAIL.message_id)
    assert mail["From"] == MAIL.sender
    assert mail["X-Envelope-To"] == "all@valeo-erp.example, support@valeo-erp.example"
    assert "<p>Guten Tag,</p>\n<p>zurück auf 3.0.0 &lt;b&gt;</p>" in text
    assert '<html xmlns="http://www.w3.org/1999/xhtml" lang="de">' in text
    (file,) = (sinks.inbox / "mail").iterdir()
    assert file.name == "0001-Rollback-von-3.0.1-Grüße.eml"


def test_an_invitation_arrives_as_a_calendar_entry(sinks: Sinks) -> None:
    appointment = Appointment(
        key="key-3",
        summary="Post-Mortem: Grüße",
        description="Grund",
        starts=datetime(2026, 7, 8, 10, tzinfo=ZoneInfo("Europe/Berlin")),
        minutes=60,
        organizer=MAIL.sender,
        attendees=MAIL.recipients,
        noted=datetime(2026, 7, 1, tzinfo=UTC),
    )
    send_mail("smtp", replace(MAIL, attachments=(appointment.attachment(),)))
    (text,) = sinks.texts("mail")
    mail = message_from_bytes(text.encode(), policy=policy.default)
    assert mail["Message-ID"] == MAIL.message_id
    parts = [part for part in mail.walk() if part.get_content_type() == "text/calendar"]
    assert [part.get_filename() for part in parts] == [None, "post-mortem.ics"]
    for part in parts:
        assert part["Content-Type"].params["method"] == "REQUEST"
        (event,) = Calendar.from_ical(part.get_content()).walk("VEVENT")
        assert (event["uid"], event["summary"]) == (appointment.uid, appointment.summary)


@pytest.mark.parametrize(
    ("fault", "for_good"),
    [
        (Fault("error"), True),
        (Fault("busy"), False),
        (Fault("refuse"), True),
        (Fault("drop"), False),
        (Fault("hang"), False),
    ],
)
def test_a_failing_mail_server_is_a_message_error(sinks: Sinks, fault: Fault, for_good: bool) -> None:
    sinks.fail("mail", fault)
    with pytest.raises(MessageError) as caught:
        send_mail("smtp", MAIL)
    assert isinstance(caught.value, MessageRefused) == for_good
    assert caught.value.retryable != for_good
    assert sinks.texts("mail") == []


@pytest.mark.parametrize("mode", ["mute", "cut"])
def test_a_mail_that_was_taken_without_an_answer_is_in_doubt_and_no_other(sinks: Sinks, mode: Mode) -> None:
    sinks.fail("mail", Fault(mode))
    with pytest.raises(MessageUnanswered):
        send_mail("smtp", MAIL)
    assert len(sinks.texts("mail")) == 1
    for before in ("hang", "drop", "busy"):
        sinks.fail("mail", Fault(before))
        with pytest.raises(MessageError) as caught:
            send_mail("smtp", MAIL)
        assert not isinstance(caught.value, MessageUnanswered)
    assert len(sinks.texts("mail")) == 1


def through(message: Message, ledger: MemoryLedger) -> Delivery:
    return deliver(ledger, message, lambda one: send_mail("smtp", one), datetime.now(UTC))


def test_one_recipient_is_refused_and_named_and_the_other_gets_it(sinks: Sinks) -> None:
    first, second = MAIL.recipients
    sinks.fail("mail", Fault("refuse", "no such user", recipient=first))
    ledger = MemoryLedger()
    assert through(MAIL, ledger).refused == {first: "550 5.7.1 no such user"}
    (text,) = sinks.texts("mail")
    assert f"X-Envelope-To: {second}\n" in text
    assert ledger.written[0].payload["recipients"] == [second]
    assert ledger.written[0].payload["refused"] == {first: "550 5.7.1 no such user"}


def test_who_is_put_off_gets_it_later_alone(sinks: Sinks) -> None:
    first, second = MAIL.recipients
    sinks.fail("mail", Fault("busy", "later", recipient=first))
    ledger = MemoryLedger()
    with pytest.raises(MessageIncomplete, match=first):
        through(MAIL, ledger)
    sinks.fail("mail", None)
    assert through(MAIL, ledger).sent
    assert not through(MAIL, ledger).sent
    texts = sinks.texts("mail")
    assert [f"X-Envelope-To: {one}\n" in text for one, text in zip((second, first), texts, strict=True)] == [
        True,
        True,
    ]
    assert len({message_from_string(text)["Message-ID"] for text in texts}) == 1


def test_nobody_left_is_refused_for_good(sinks: Sinks) -> None:
    alone = replace(MAIL, recipients=MAIL.recipients[:1])
    sinks.fail("mail", Fault("refuse", "no such user", recipient=alone.recipients[0]))
    with pytest.raises(MessageRefused, match="no such user") as caught:
        send_mail("smtp", alone)
    assert "correct the addresses" in caught.value.remedy


@pytest.mark.parametrize("event", ["announcement", "completion"])
@pytest.mark.parametrize("language", ["de", "en"])
def test_the_mails_to_everybody_arrive_as_text_and_well_formed_html(
    sinks: Sinks, event: MailEvent, language: Language
) -> None:
    mail = audience_mail(event, language)
    send_mail("smtp", mail)
    (text,) = sinks.texts("mail")
    got = message_from_bytes(text.encode(), policy=policy.default)
    assert isinstance(got, EmailMessage)
    assert (got["Subject"], got["Message-ID"], got["Content-Language"]) == (
        mail.subject,
        mail.message_id,
        language,
    )
    assert got["X-Envelope-To"] == ", ".join(mail.recipients)
    assert got["To"] == ", ".join(mail.shown_to)
    plain, page = (got.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert page is not None
    assert plain.get_content().split() == mail.text.split()
    shown = "".join(ET.fromstring(page.get_content()).itertext())
    assert "Grüße & <b>" in shown
    assert "Handbuch" in shown


def audience_mail(event: MailEvent, language: Language) -> Message:
    plan = load_plan(plan_folder())
    run = open_run(
        plan, release="3.0.0", environment="production", phase="staging-deploy", run_id="r", triggered_by=None
    )
    release = run.release.model_copy(update={"features": ("Grüße & <b>",)})
    occasion, audiences = replace(occasion_of(run, None), language=language), run.environment.messages.audiences
    mail = (
        announcement(occasion, release, audiences, None)
        if event == "announcement"
        else completion(occasion, release, audiences, datetime.now(UTC))
    )
    assert mail is not None
    return mail


# -- the processes -------------------------------------------------------------------------------------------


def test_both_end_on_sigterm_although_clients_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with started(tmp_path) as sinks:
        connect(sinks, monkeypatch)
        sinks.fail("slack", Fault("hang"))
        with (
            socket.create_connection(("127.0.0.1", sinks.slack_port)) as client,
            socket.create_connection(("127.0.0.1", sinks.smtp_port)),
        ):
            client.sendall(b"POST /api/auth.test HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            began = time.monotonic()
            for process in sinks.processes.values():
                process.stop()
            assert time.monotonic() - began < 8
        assert not _listens(sinks.slack_port)
        assert not _listens(sinks.smtp_port)
        with pytest.raises(MessageError):
            send_slack("slack", ALERT)
        with pytest.raises(MessageError):
            send_mail("smtp", MAIL)
