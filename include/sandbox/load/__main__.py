"""``python -m include.sandbox.load --url http://127.0.0.1:8080 --rate 120 --out run.ndjson``; ends on SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

from include.errors import SandboxError
from include.sandbox.load.generator import Generator, Load
from include.sandbox.load.http import Target
from include.sandbox.load.records import Recorder
from include.sandbox.load.streams import StreamClient


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m include.sandbox.load", description="Send load, count all.")
    parser.add_argument("--url", required=True, help="http://host:port")
    parser.add_argument("--rate", type=float, default=120.0, help="requests a second (default: %(default)s)")
    parser.add_argument("--keep-alive-ratio", type=float, default=0.5, help="share on kept connections")
    parser.add_argument("--connections", type=int, default=10, help="kept connections that take turns")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds after which a request is lost")
    parser.add_argument("--path", action="append", default=[], help="request this instead of the usual mixture")
    parser.add_argument("--sse", type=int, default=0, help="clients of the event stream")
    parser.add_argument("--sse-path", default="/api/v1/events")
    parser.add_argument("--seconds", type=float, help="end after this time; without it, on SIGTERM or SIGINT")
    parser.add_argument("--out", type=Path, required=True, help="file that takes the records")
    arguments = parser.parse_args()
    if not 0 < arguments.rate <= 2000 or not 0 <= arguments.keep_alive_ratio <= 1:
        parser.error("--rate must be above 0 and at most 2000, --keep-alive-ratio between 0 and 1")
    return arguments


async def run(arguments: argparse.Namespace) -> None:
    """Send the load the arguments describe.

    :raises SandboxError: the URL is none load can be sent to
    """
    target = Target.parse(arguments.url)
    load = Load(
        target,
        arguments.rate,
        arguments.keep_alive_ratio,
        arguments.connections,
        arguments.timeout,
        tuple(arguments.path),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with arguments.out.open("w", encoding="utf-8") as out:
        recorder = Recorder(out)
        recorder.begin({"url": arguments.url, "rate": load.rate, "at": time.time(), "sse": arguments.sse})
        clients = [StreamClient(number, target, arguments.sse_path, recorder) for number in range(arguments.sse)]
        streams = [asyncio.create_task(client.run()) for client in clients]
        generator = Generator(load, recorder)
        try:
            await generator.run(stop, seconds=arguments.seconds)
        finally:
            for task in streams:
                task.cancel()
            await asyncio.gather(*streams, return_exceptions=True)
            recorder.end(generator.planned)


if __name__ == "__main__":
    try:
        asyncio.run(run(_arguments()))
    except SandboxError as error:
        sys.exit(str(error))
