"""Services follow their endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from include.sandbox.node.api import JsonObject
from include.sandbox.node.endpoints import SERVICE_LABEL
from include.sandbox.node.service_proxy import ServiceProxy
from include.sandbox.node.watch import Key

BLUE, GREEN = "10.244.253.81", "10.244.253.82"
CLUSTER_IP = "10.96.253.81"


class Held:
    """Stands in for a mirror that has been synced."""

    def __init__(self) -> None:
        self.items: dict[Key, JsonObject] = {}
        self.synced = asyncio.Event()
        self.synced.set()


class World:
    """A Service, its endpoints, and the proxy in between."""

    def __init__(self, node_port: int, target: int) -> None:
        self.services, self.slices = Held(), Held()
        self.complaints: list[str] = []
        self.node_port, self.target = node_port, target
        self.proxy = ServiceProxy(
            self.services,  # type: ignore[arg-type]
            self.slices,  # type: ignore[arg-type]
            lambda _service, _reason, message: self.complaints.append(message),
        )

    def serve(self, **more: Any) -> None:
        port = {"name": "http", "port": self.target, "nodePort": self.node_port}
        spec = {"clusterIP": CLUSTER_IP, "ports": [port], **more}
        metadata = {"namespace": "p", "name": "web", "uid": "u"}
        self.services.items["p", "web"] = {"metadata": metadata, "spec": spec}
        self.proxy.changed()

    def point_to(self, *addresses: str) -> None:
        metadata = {"namespace": "p", "name": "web-1", "labels": {SERVICE_LABEL: "web"}}
        endpoints = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
        ports = [{"name": "http", "port": self.target}]
        self.slices.items["p", "web-1"] = {"metadata": metadata, "ports": ports, "endpoints": endpoints}
        self.proxy.changed()

    async def ask(self, host: str = "127.0.0.1") -> str:
        port = self.node_port if host == "127.0.0.1" else self.target
        reader, writer = await asyncio.open_connection(host, port)
        answer = (await reader.readline()).decode().strip()
        writer.close()
        await writer.wait_closed()
        return answer


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
async def world() -> AsyncIterator[World]:
    target = free_port()

    def answering(name: str) -> Any:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"{name}\n".encode())
            while line := await reader.readline():
                writer.write(f"{name} {line.decode()}".encode())
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        return answer

    servers = [
        await asyncio.start_server(answering(name), host.replace("10.", "127.", 1), target)
        for name, host in (("blue", BLUE), ("green", GREEN))
    ]
    one = World(free_port(), target)
    running = asyncio.create_task(one.proxy.run())
    one.serve()
    one.point_to(BLUE)
    await asyncio.sleep(0.05)
    yield one
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    one.slices.items.clear()
    one.proxy._apply()
    await asyncio.sleep(0.1)
    for server in servers:
        server.close()
        await server.wait_closed()


async def test_a_service_is_reached_at_its_cluster_ip_and_its_node_port(world: World) -> None:
    assert await world.ask() == "blue"
    assert await world.ask(CLUSTER_IP.replace("10.", "127.", 1)) == "blue"


async def test_new_connections_follow_a_switch_and_open_ones_stay(world: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.node_port)
    assert await reader.readline() == b"blue\n"
    world.point_to(GREEN)
    await asyncio.sleep(0.05)
    assert [await world.ask() for _ in range(5)] == ["green"] * 5
    writer.write(b"still here\n")
    assert await reader.readline() == b"blue still here\n"
    writer.close()
    await writer.wait_closed()


async def test_all_endpoints_get_their_share(world: World) -> None:
    world.point_to(BLUE, GREEN)
    await asyncio.sleep(0.05)
    answers = [await world.ask() for _ in range(60)]
    assert {"blue", "green"} == set(answers)


async def test_without_endpoints_connections_are_refused_until_there_is_one_again(world: World) -> None:
    world.point_to()
    await asyncio.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        await world.ask()
    world.point_to(GREEN)
    await asyncio.sleep(0.05)
    assert await world.ask() == "green"


async def test_a_deleted_service_is_served_no_more(world: World) -> None:
    world.services.items.clear()
    world.proxy.changed()
    await asyncio.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        await world.ask()


async def test_what_cannot_be_served_is_said_once(world: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        world.node_port = taken.getsockname()[1]
        world.serve(sessionAffinity="ClientIP")
        await asyncio.sleep(0.05)
        world.proxy.changed()
        await asyncio.sleep(0.05)
    assert len(world.complaints) == 2
    assert any("session affinity" in message for message in world.complaints)
    assert any("cannot listen on 127.0.0.1" in message for message in world.complaints)
