"""Owns how a running container is ended: hook, SIGTERM, grace period, SIGKILL, as kubelet does it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping
from typing import Any, Final

from include.sandbox.node.probes import UnknownPort, http_get
from include.sandbox.node.probing import Prober
from include.sandbox.node.runtime import Exit, KeeperLost, Runtime

_log = logging.getLogger(__name__)
LEAST_SECONDS: Final = 2.0  # between SIGTERM and SIGKILL, however long the hook took
_PATIENCE_SECONDS: Final = 10.0


async def pre_stop(spec: Mapping[str, Any], prober: Prober, pod_ip: str, seconds: float) -> str:
    """Run the container's preStop hook for at most ``seconds``; returns why it failed, empty if it did not."""
    hook = (spec.get("lifecycle") or {}).get("preStop")
    if not hook:
        return ""
    if "sleep" in hook:
        await asyncio.sleep(min(float(hook["sleep"]["seconds"]), seconds))
        return ""
    try:
        outcome = await prober.attempt(http_get(hook["httpGet"], dict(spec)), pod_ip, seconds)
    except UnknownPort as problem:
        return str(problem)
    return outcome.message


async def end(
    runtime: Runtime, container: str, ended: asyncio.Future[Exit], *, hook: asyncio.Task[str] | None, grace: float
) -> None:
    """End a container's process group within ``grace`` seconds; returns when it has ended.

    :param hook: the running preStop hook; SIGTERM waits for it
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace
    if hook is not None:
        either: set[asyncio.Future[Any]] = {hook, ended}
        await asyncio.wait(either, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
    least = LEAST_SECONDS if grace >= LEAST_SECONDS else grace
    try:
        if grace > 0 and not ended.done():
            await runtime.signal(container, signal.SIGTERM)
            await asyncio.wait({ended}, timeout=max(least, deadline - loop.time()))
        while not ended.done():
            await runtime.signal(container, signal.SIGKILL)
            await asyncio.wait({ended}, timeout=_PATIENCE_SECONDS)
    except KeeperLost as problem:
        _log.warning("%s", problem)  # its containers ended with it
