"""Mirrors survive whatever a watch can end with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from include.errors import ClusterRefused, ClusterUnreachable
from include.sandbox.node import watch
from include.sandbox.node.watch import Mirror

Item = dict[str, Any]


def item(name: str, version: int, uid: str = "") -> Item:
    return {"metadata": {"namespace": "p", "name": name, "uid": uid or name, "resourceVersion": str(version)}}


class Server:
    """Plays lists and watches in the order given; the last watch stays open."""

    def __init__(self, *lists: list[Item], watches: list[list[Any]]) -> None:
        self.lists, self.watches = list(lists), watches
        self.watched_from: list[str] = []

    async def request(self, _method: str, _path: str, **_options: object) -> Item:
        return {"kind": "PodList", "metadata": {"resourceVersion": "10"}, "items": self.lists.pop(0)}

    async def watch(self, _path: str, parameters: Item, *, seconds: int) -> AsyncGenerator[Item, None]:
        self.watched_from.append(parameters["resourceVersion"])
        if not self.watches:
            await asyncio.sleep(60)
        for event in self.watches.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event


def event(kind: str, one: Item) -> Item:
    return {"type": kind, "object": one}


async def play(server: Server) -> list[tuple[str | None, str | None]]:
    seen: list[tuple[str | None, str | None]] = []

    def name(one: Item | None) -> str | None:
        return f"{one['metadata']['name']}@{one['metadata']['resourceVersion']}" if one else None

    mirror = Mirror(server, "/pods", lambda old, new: seen.append((name(old), name(new))))  # type: ignore[arg-type]
    running = asyncio.create_task(mirror.run())
    async with asyncio.timeout(5):
        while server.watches or len(server.lists) > 0:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert mirror.synced.is_set()
    return seen


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_FIRST_PAUSE", 0.01)


async def test_changes_are_told_once_each() -> None:
    events = [event("ADDED", item("b", 11)), event("MODIFIED", item("a", 12)), event("DELETED", item("b", 13))]
    server = Server([item("a", 1)], watches=[events])
    assert await play(server) == [(None, "a@1"), (None, "b@11"), ("a@1", "a@12"), ("b@11", None)]


async def test_a_watch_that_just_ends_goes_on_from_where_it_was() -> None:
    bookmark = event("BOOKMARK", {"metadata": {"resourceVersion": "42"}})
    server = Server([item("a", 1)], watches=[[bookmark], []])
    assert await play(server) == [(None, "a@1")]
    assert server.watched_from == ["10", "42", "42"]


@pytest.mark.parametrize(
    "end",
    [
        ClusterRefused("too old", status=410),
        event("ERROR", {"code": 410, "message": "too old resource version"}),
        event("ERROR", {"code": 500, "message": "etcd"}),
        ClusterUnreachable("gone"),
    ],
    ids=["410", "410-event", "500-event", "unreachable"],
)
async def test_after_a_break_only_real_differences_are_told(end: Any) -> None:
    server = Server([item("a", 1), item("b", 2)], [item("b", 2), item("c", 20)], watches=[[end]])
    assert await play(server) == [(None, "a@1"), (None, "b@2"), ("a@1", None), (None, "c@20")]
    assert server.watched_from == ["10", "10"]


async def test_a_new_object_of_an_old_name_is_a_difference() -> None:
    server = Server([item("a", 1, "one")], [item("a", 1, "two")], watches=[[ClusterUnreachable("gone")]])
    assert await play(server) == [(None, "a@1"), ("a@1", "a@1")]
