"""Owns what a keeper holds alone on this machine: its state folder and its pod subnet.

Only the standard library is imported: the keeper starts in milliseconds.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path

CLAIM_PORT = 10249


def claim_subnet(preferred: int) -> tuple[int, socket.socket]:
    """Find a pod subnet no other sandbox on this machine holds; it is held until the socket closes."""
    for offset in range(254):
        subnet = (preferred - 1 + offset) % 254 + 1
        claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            claim.bind((f"127.244.{subnet}.1", CLAIM_PORT))
        except OSError:
            claim.close()
            continue
        return subnet, claim
    raise SystemExit("all 254 pod subnets of this machine are held by other sandboxes")


def take_lock(path: Path, seconds: float) -> int:
    """Hold the state folder; waits while the previous keeper's watchdog cleans up."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SystemExit(f"another keeper holds {path}") from None
            time.sleep(0.02)
        else:
            return descriptor
