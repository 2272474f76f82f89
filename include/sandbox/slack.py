"""A stand-in for Slack's Web API, as far as Airflow's SlackHook uses it; messages become files.

``python -m include.sandbox.slack --port 8081 --inbox build/inbox --token-file token`` serves it below ``/api/``.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from include.sandbox.inbox import AFTERWARDS, Fault, Inbox

CHANNELS = ("valeo-erp-status", "valeo-erp-alerts")
_PAGE = 100
_LONGEST_TEXT = 40_000
_EXTRAS = ("blocks", "attachments", "metadata", "thread_ts", "reply_broadcast")
_TEAM, _BOT = "T0STELLWERK", "U0STELLWERK"

Fields = Mapping[str, Any]


class SlackError(Exception):
    """An answer ``{"ok": false, "error": code}``."""


class SlackStandIn:
    """Slack's side of the conversation.

    :param token_file: holds the one token that is accepted; read for every call, so it can be rotated
    :param channels: names of the channels that exist, without ``#``
    """

    def __init__(self, inbox: Inbox, token_file: Path, channels: Sequence[str] = CHANNELS) -> None:
        self._inbox = inbox
        self._token_file = token_file
        self._channels = {channel_id(name): name for name in channels}
        self._last_ts = 0.0
        self._posts: set[tuple[str, str]] = set()
        self._methods: Mapping[str, Callable[[Fields], Mapping[str, Any]]] = {
            "api.test": lambda fields: {"args": dict(fields)},
            "auth.test": self._auth_test,
            "chat.postMessage": self._post_message,
            "conversations.list": self._list_conversations,
        }

    def application(self) -> web.Application:
        """The web application, to be served by aiohttp."""
        application = web.Application()
        application.router.add_route("*", "/api/{method}", self._handle)
        return application

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        fault = self._inbox.fault()
        if fault is not None and fault.mode not in AFTERWARDS:
            return await _fail(request, fault)
        try:
            fields = await _fields(request)
            self._authenticate(request, fields)
            answer = {"ok": True, **self._call(request.match_info["method"], fields)}
            return web.json_response(answer) if fault is None else await _fail(request, fault)
        except SlackError as error:
            return web.json_response({"ok": False, "error": str(error)})

    def _call(self, method: str, fields: Fields) -> Mapping[str, Any]:
        if method not in self._methods:
            raise SlackError("unknown_method")
        return self._methods[method](fields)

    def _authenticate(self, request: web.Request, fields: Fields) -> None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ").strip() or fields.get("token", "")
        if not token:
            raise SlackError("not_authed")
        if token != self._token_file.read_text().strip():
            raise SlackError("invalid_auth")

    def _auth_test(self, _: Fields) -> Mapping[str, Any]:
        return {"url": "https://stellwerk.invalid/", "team": "sandbox", "team_id": _TEAM, "user_id": _BOT}

    def _list_conversations(self, fields: Fields) -> Mapping[str, Any]:
        start, limit = int(fields.get("cursor") or 0), int(fields.get("limit") or _PAGE)
        names = sorted(self._channels.items(), key=lambda item: item[1])
        page = [{"id": number, "name": name, "is_channel": True} for number, name in names[start : start + limit]]
        following = str(start + limit) if start + limit < len(names) else ""
        return {"channels": page, "response_metadata": {"next_cursor": following}}

    def _post_message(self, fields: Fields) -> Mapping[str, Any]:
        number = self._channel(str(fields.get("channel", "")))
        text = str(fields.get("text") or "")
        if not text and not fields.get("blocks") and not fields.get("attachments"):
            raise SlackError("no_text")
        if len(text) > _LONGEST_TEXT:
            raise SlackError("msg_too_long")
        self._last_ts = max(time.time(), self._last_ts + 0.000001)
        ts = f"{self._last_ts:.6f}"
        # As Slack does it: a reply to a post that is gone becomes a post of its own, and only the answer tells.
        parent = str(fields.get("thread_ts") or "")
        thread = {"thread_ts": parent} if (number, parent) in self._posts else {}
        shown = {name: value for name, value in fields.items() if name != "thread_ts"} | thread
        self._inbox.put(self._channels[number], ".txt", _readable(self._channels[number], ts, text, shown))
        self._posts.add((number, ts))
        message = {"type": "message", "user": _BOT, "team": _TEAM, "text": text, "ts": ts, **thread}
        return {"channel": number, "ts": ts, "message": message}

    def _channel(self, wanted: str) -> str:
        name = wanted.removeprefix("#")
        if wanted in self._channels:
            return wanted
        if channel_id(name) not in self._channels:
            raise SlackError("channel_not_found")
        return channel_id(name)


def channel_id(name: str) -> str:
    """The id that stands for a channel, as Slack's look."""
    return "C" + hashlib.sha256(name.encode()).hexdigest()[:10].upper()


def _readable(channel: str, ts: str, text: str, fields: Fields) -> str:
    at = datetime.fromtimestamp(float(ts), UTC)
    head = [f"Channel: #{channel}", f"Date: {at:%Y-%m-%d %H:%M:%S} UTC", f"Ts: {ts}"]
    extra = {name: fields[name] for name in _EXTRAS if fields.get(name)}
    if extra:
        head.append(f"Extra: {json.dumps(extra, ensure_ascii=False)}")
    return "\n".join(head) + f"\n\n{text.rstrip()}\n"


async def _fields(request: web.Request) -> Fields:
    fields: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        text = await request.text()
        try:
            body = json.loads(text) if text.strip() else {}  # methods without arguments are called with nothing
        except ValueError:
            raise SlackError("invalid_json") from None
        if not isinstance(body, dict):
            raise SlackError("json_not_object")
        return fields | body
    return fields | dict(await request.post())


async def _fail(request: web.Request, fault: Fault) -> web.StreamResponse:
    if fault.mode in ("hang", "mute"):
        await asyncio.sleep(3600)
    if fault.mode in ("drop", "cut"):
        assert request.transport is not None
        request.transport.abort()
    if fault.mode == "busy":
        headers = {"Retry-After": str(fault.retry_after)}
        return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
    if fault.mode == "refuse":
        return web.json_response({"ok": False, "error": fault.reason})
    return web.Response(status=500, text="Internal Server Error")


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m include.sandbox.slack", description="Slack stand-in")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--inbox", type=Path, required=True, help="messages go to <inbox>/slack/")
    parser.add_argument("--token-file", type=Path, required=True, help="holds the token that is accepted")
    parser.add_argument(
        "--channel", action="append", help=f"a channel that exists; default: {', '.join(CHANNELS)}"
    )
    options = parser.parse_args(arguments)
    channels = [name.removeprefix("#") for name in options.channel or CHANNELS]
    stand_in = SlackStandIn(Inbox(options.inbox, "slack"), options.token_file, channels)
    web.run_app(
        stand_in.application(),
        host=options.host,
        port=options.port,
        shutdown_timeout=1,
        access_log=None,
        print=print,
    )


if __name__ == "__main__":
    main()
