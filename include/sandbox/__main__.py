"""``make up`` and ``make down``: the sandbox to click through in the Airflow UI.

``up`` stays in the foreground until Ctrl-C; ``down`` ends an ``up`` that runs elsewhere.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from include.errors import StellwerkError
from include.sandbox.airflow_environment import USERS
from include.sandbox.environment import REPOSITORY, Options, Sandbox
from include.sandbox.external_cluster import demo_namespace
from include.sandbox.signals import end_on_signals

STATE = REPOSITORY / "build" / "sandbox"
STOP_SECONDS = 60


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m include.sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up_parser = commands.add_parser("up", help="start and stay until Ctrl-C")
    up_parser.add_argument("--port", type=int, default=None, help="of the Airflow UI; a free one if not given")
    up_parser.add_argument("--watch-seconds", type=float, default=120)
    down_parser = commands.add_parser("down", help="end a sandbox that `up` started")
    for each in (up_parser, down_parser):
        each.add_argument("--state", type=Path, default=STATE, help="folder for everything that is written")
    arguments = parser.parse_args()
    if arguments.command == "down":
        return down(arguments.state)
    with end_on_signals():
        try:
            options = Options(arguments.state, demo_namespace(), arguments.watch_seconds, port=arguments.port)
            return up(options)
        except StellwerkError as error:
            print(f"The sandbox did not come up: {error}", file=sys.stderr)
            return 1


def up(options: Options) -> int:
    """Start everything, say how to get in, wait."""
    pid_file = options.state.with_suffix(".pid")
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    if (running := _running(pid_file)) is not None:
        print(f"A sandbox is running already (process {running}); `make down` ends it.", file=sys.stderr)
        return 1
    pid_file.write_text(str(os.getpid()))
    try:
        with Sandbox(options) as sandbox:
            print(f"\nAirflow: {sandbox.airflow.url}\n")
            for user in USERS:
                print(f"  {user:18} {sandbox.airflow.password(user)}")
            print(f"\nUsers of the ERP:   {sandbox.addresses.public_url}")
            print(f"Slack and mail:     {sandbox.inbox}")
            print(f"kubectl:            KUBECONFIG={sandbox.cluster.kubeconfig}")
            print("\nCtrl-C (or `make down`) ends everything.", flush=True)
            while True:
                time.sleep(3600)
    finally:
        pid_file.unlink(missing_ok=True)


def down(state: Path) -> int:
    """End the sandbox whose process id ``up`` wrote down."""
    running = _running(state.with_suffix(".pid"))
    if running is None:
        print("No sandbox is running.")
        return 0
    os.kill(running, signal.SIGTERM)
    for _ in range(STOP_SECONDS * 10):
        if _running(state.with_suffix(".pid")) is None:
            print("Everything has ended.")
            return 0
        time.sleep(0.1)
    print(f"Process {running} has not ended within {STOP_SECONDS} s.", file=sys.stderr)
    return 1


def _running(pid_file: Path) -> int | None:
    """Return the process id in the file, if that process is a sandbox that is alive."""
    try:
        pid = int(pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if b"include.sandbox" in command else None


if __name__ == "__main__":
    sys.exit(main())
