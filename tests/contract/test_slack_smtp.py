"""The stand-ins for Slack and mail, as processes, through the hooks of Airflow's real providers."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email import message_from_bytes, message_from_string, policy
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from airflow.models import Connection
from airflow.providers.slack.hooks.slack import SlackHook
from airflow.providers.smtp.hooks.smtp import SmtpHook
from icalendar import Calendar
from slack_sdk.errors import SlackApiError

from include.errors import MessageError
from include.messages.appointment import Appointment
from include.messages.model import Message
from include.sandbox.inbox import Fault, Kind, set_fault
from include.sandbox.processes import Process, free_port, wait_until
from stellwerk.notifiers.transport import send_mail, send_slack

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
    slack = Connection(
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
    for connection in (slack, smtp):
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


@pytest.mark.parametrize(
    "fault", [Fault("error"), Fault("busy"), Fault("refuse", "account_inactive"), Fault("drop")]
)
def test_a_failing_slack_is_a_message_error(sinks: Sinks, fault: Fault) -> None:
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


@pytest.mark.parametrize("fault", [Fault("error"), Fault("busy"), Fault("refuse"), Fault("drop"), Fault("hang")])
def test_a_failing_mail_server_is_a_message_error(sinks: Sinks, fault: Fault) -> None:
    sinks.fail("mail", fault)
    with pytest.raises(MessageError) as caught:
        send_mail("smtp", MAIL)
    assert caught.value.retryable
    assert sinks.texts("mail") == []


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
