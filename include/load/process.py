"""Locust as a child process: started with an argument list, ended with its parent, heard for what went wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from include.clients import child
from include.errors import LoadNotMeasured
from include.load.figures import TOTALS, UNFINISHED
from include.plan.staging import LoadTest

log = logging.getLogger(__name__)

LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")
#: nothing else of this process's environment, which may hold secrets, reaches the child; no proxy gets the load
PASSED_ON: Final = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
)
REQUEST_SECONDS: Final = 30.0
#: when the time is over a request may still come to its end, so that none is ended without having been counted
_STOP_SECONDS: Final = int(REQUEST_SECONDS) + 2
_KILL_SECONDS: Final = 10.0
_GRACE_SECONDS: Final = _STOP_SECONDS + 60.0
_LAST: Final = 600


async def measure(plan: LoadTest, base_url: str, folder: Path) -> None:
    """Let the plan's users loose on one address; what they measured is in ``folder`` afterwards.

    :param base_url: where all of the load goes
    :param folder: an empty one
    :raises LoadNotMeasured: Locust could not be started, or did not come to its end
    """
    described = folder / "plan.json"
    described.write_text(json.dumps(_described(plan, folder)))
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"STELLWERK_LOAD": str(described), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = arguments(plan, base_url, folder)
    log.info("%d user(s) on %s for %d s", plan.users, base_url, plan.seconds)
    try:
        async with asyncio.timeout(plan.seconds + _GRACE_SECONDS):
            done = await child.run(argv, environment=environment, folder=folder, grace_seconds=_KILL_SECONDS)
    except TimeoutError as error:  # an OSError, too
        raise LoadNotMeasured(
            "Locust did not come to its end",
            expected=f"an end after {plan.seconds} s",
            seen=f"it still ran {_GRACE_SECONDS:g} s later",
            remedy="clear this task; with fewer users where the worker is too small for them",
        ) from error
    except OSError as error:
        raise LoadNotMeasured(
            "Locust cannot be started", seen=str(error), remedy="see that this worker has room and memory"
        ) from error
    if done.returncode != 0:
        raise LoadNotMeasured(
            "Locust has failed",
            expected="exit status 0",
            seen=f"exit status {done.returncode}: {done.stderr.strip()[-_LAST:]}",
            remedy="correct `load` in the environment's YAML, or see that this worker has room and memory",
        )


def arguments(plan: LoadTest, base_url: str, folder: Path) -> Sequence[str]:
    """The command line: numbers and addresses of the plan, no secret."""
    return (
        *(sys.executable, "-P", "-m", "locust", "--headless", "--locustfile", str(LOCUSTFILE)),
        *("--host", base_url, "--users", str(plan.users), "--spawn-rate", f"{plan.spawn_rate:g}"),
        *("--run-time", f"{plan.seconds}s", "--stop-timeout", str(_STOP_SECONDS)),
        *("--csv", str(folder / "load"), "--csv-full-history", "--only-summary"),
        *("--json-file", str(folder / Path(TOTALS).stem)),
        *("--exit-code-on-error", "0", "--loglevel", "WARNING"),
    )


def _described(plan: LoadTest, folder: Path) -> dict[str, Any]:
    kinds = [
        {
            **kind.model_dump(mode="json", exclude={"requests"}),
            "requests": [{**one.model_dump(mode="json"), "title": one.title} for one in kind.requests],
        }
        for kind in plan.kinds
    ]
    return {"kinds": kinds, "request_seconds": REQUEST_SECONDS, "unfinished": str(folder / UNFINISHED)}
