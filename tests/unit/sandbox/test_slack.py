from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout, ServerDisconnectedError
from aiohttp.test_utils import TestClient, TestServer

from include.sandbox.inbox import Fault, Inbox, set_fault
from include.sandbox.slack import SlackStandIn, channel_id

AUTHORISED = {"Authorization": "Bearer xoxb-1"}


@pytest.fixture
async def slack(tmp_path: Path) -> AsyncIterator[TestClient[Any, Any]]:
    token = tmp_path / "token"
    token.write_text("xoxb-1\n")
    stand_in = SlackStandIn(Inbox(tmp_path / "inbox", "slack"), token, ["alerts", "status", "releases"])
    async with TestClient(TestServer(stand_in.application())) as client:
        yield client


async def call(slack: TestClient[Any, Any], method: str, **fields: Any) -> dict[str, Any]:
    answer = await slack.post(f"/api/{method}", json=fields, headers=AUTHORISED)
    assert answer.status == 200
    result: dict[str, Any] = await answer.json()
    return result


def texts(tmp_path: Path) -> list[str]:
    return [file.read_text() for file in sorted((tmp_path / "inbox" / "slack").iterdir())]


async def test_a_message_becomes_a_readable_file(slack: TestClient[Any, Any], tmp_path: Path) -> None:
    answer = await call(slack, "chat.postMessage", channel="#alerts", text="Rollback: Grüße\nzweite Zeile")
    assert answer["ok"]
    assert answer["channel"] == channel_id("alerts")
    (file,) = (tmp_path / "inbox" / "slack").iterdir()
    assert file.name == "0001-alerts.txt"
    head, _, text = file.read_text().partition("\n\n")
    assert head.startswith("Channel: #alerts\nDate: ")
    assert f"Ts: {answer['ts']}" in head
    assert text == "Rollback: Grüße\nzweite Zeile\n"


@pytest.mark.parametrize("channel", ["#alerts", "alerts", channel_id("alerts")])
async def test_a_channel_has_a_name_and_an_id(slack: TestClient[Any, Any], channel: str) -> None:
    assert (await call(slack, "chat.postMessage", channel=channel, text="x"))["channel"] == channel_id("alerts")


async def test_form_fields_and_the_query_work_like_json(slack: TestClient[Any, Any], tmp_path: Path) -> None:
    form = {"token": "xoxb-1", "channel": "#alerts", "text": "form"}
    assert (await (await slack.post("/api/chat.postMessage", data=form)).json())["ok"]
    query = {**form, "text": "query"}
    assert (await (await slack.get("/api/chat.postMessage", params=query)).json())["ok"]
    assert [text.splitlines()[-1] for text in texts(tmp_path)] == ["form", "query"]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"channel": "#nowhere", "text": "x"}, "channel_not_found"),
        ({"text": "x"}, "channel_not_found"),
        ({"channel": "#alerts"}, "no_text"),
        ({"channel": "#alerts", "text": "x" * 40_001}, "msg_too_long"),
    ],
)
async def test_what_slack_refuses_is_refused(
    slack: TestClient[Any, Any], tmp_path: Path, fields: dict[str, str], error: str
) -> None:
    assert await call(slack, "chat.postMessage", **fields) == {"ok": False, "error": error}
    assert texts(tmp_path) == []


async def test_the_token_is_checked(slack: TestClient[Any, Any], tmp_path: Path) -> None:
    async def error(**headers: str) -> str:
        answer = await slack.post("/api/auth.test", headers=headers)
        return str((await answer.json()).get("error"))

    assert await error() == "not_authed"
    assert await error(Authorization="Bearer wrong") == "invalid_auth"
    (tmp_path / "token").write_text("xoxb-2")
    assert await error(**AUTHORISED) == "invalid_auth"
    assert await error(Authorization="Bearer xoxb-2") == "None"


async def test_unknown_methods_and_bodies_are_refused(slack: TestClient[Any, Any]) -> None:
    assert await call(slack, "chat.delete") == {"ok": False, "error": "unknown_method"}
    headers = {**AUTHORISED, "Content-Type": "application/json"}
    assert (await (await slack.post("/api/api.test", data="", headers=headers)).json())["ok"]
    for body, error in (("{", "invalid_json"), ("[]", "json_not_object")):
        answer = await slack.post("/api/api.test", data=body, headers=headers)
        assert await answer.json() == {"ok": False, "error": error}


async def test_channels_are_listed_page_by_page(slack: TestClient[Any, Any]) -> None:
    first = await call(slack, "conversations.list", limit=2)
    assert [channel["name"] for channel in first["channels"]] == ["alerts", "releases"]
    cursor = first["response_metadata"]["next_cursor"]
    second = await call(slack, "conversations.list", limit=2, cursor=cursor)
    assert [channel["name"] for channel in second["channels"]] == ["status"]
    assert second["response_metadata"]["next_cursor"] == ""


async def test_faults_are_shown_while_they_are_set(slack: TestClient[Any, Any], tmp_path: Path) -> None:
    async def post(**options: Any) -> tuple[int, str]:
        body = {"channel": "#alerts", "text": "x"}
        answer = await slack.post("/api/chat.postMessage", json=body, headers=AUTHORISED, **options)
        return answer.status, answer.headers.get("Retry-After", "") + (await answer.text())

    inbox = tmp_path / "inbox"
    set_fault(inbox, "slack", Fault("error"))
    assert (await post())[0] == 500
    set_fault(inbox, "slack", Fault("busy", retry_after=7))
    assert await post() == (429, '7{"ok": false, "error": "ratelimited"}')
    set_fault(inbox, "slack", Fault("refuse", "account_inactive"))
    assert await post() == (200, '{"ok": false, "error": "account_inactive"}')
    set_fault(inbox, "slack", Fault("drop"))
    with pytest.raises((ServerDisconnectedError, ConnectionResetError)):
        await post()
    assert texts(tmp_path) == []
    set_fault(inbox, "slack", None)
    assert (await post())[0] == 200


async def test_a_hanging_slack_answers_nothing(slack: TestClient[Any, Any], tmp_path: Path) -> None:
    set_fault(tmp_path / "inbox", "slack", Fault("hang"))
    async with ClientSession() as session:
        with pytest.raises(TimeoutError):
            await session.post(slack.make_url("/api/auth.test"), timeout=ClientTimeout(total=0.3))


def test_numbers_go_on_after_a_restart_and_names_are_plain(tmp_path: Path) -> None:
    assert Inbox(tmp_path, "mail").put("../../etc: [x]", ".eml", "a").name == "0001-etc-x.eml"
    assert Inbox(tmp_path, "mail").put("", ".eml", "b").name == "0002-message.eml"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mail"]


async def test_a_reply_is_in_its_thread(slack: TestClient[Any, Any], tmp_path: Path) -> None:
    first = await call(slack, "chat.postMessage", channel="#alerts", text="first")
    assert "thread_ts" not in first["message"]
    reply = {"text": "reply", "thread_ts": first["ts"], "reply_broadcast": True}
    second = await call(slack, "chat.postMessage", channel="#alerts", **reply)
    assert second["message"]["thread_ts"] == first["ts"]
    assert f'"thread_ts": "{first["ts"]}"' in texts(tmp_path)[1]
    assert '"reply_broadcast": true' in texts(tmp_path)[1]


@pytest.mark.parametrize("channel", ["#alerts", "#status"])
async def test_a_reply_to_what_is_not_there_becomes_a_post_of_its_own(
    slack: TestClient[Any, Any], tmp_path: Path, channel: str
) -> None:
    elsewhere = (await call(slack, "chat.postMessage", channel="#releases", text="first"))["ts"]
    answer = await call(slack, "chat.postMessage", channel=channel, text="reply", thread_ts=elsewhere)
    assert answer["ok"]
    assert "thread_ts" not in answer["message"]
    assert "thread_ts" not in texts(tmp_path)[1]
