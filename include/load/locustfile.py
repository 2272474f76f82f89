"""What Locust runs: the users that the plan describes. It lives in a process of its own and knows nothing else.

Locust replaces the standard library's sockets and threads by gevent's when it is imported: nothing of Stellwerk
may import this file.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from locust import HttpUser, constant, events
from locust.exception import StopUser

_LOAD: dict[str, Any] = json.loads(Path(os.environ["STELLWERK_LOAD"]).read_text())
_OPEN: dict[object, tuple[str, float]] = {}
"""Requests that have begun and not ended: what they are called, and when they began."""


class _User(HttpUser):
    """Begins nothing once it is to end.

    Locust kills a user who waits, and one whose wait ends at the same moment has begun its next request when that
    comes: on a busy machine they all do, and what was cut off looks like what was never answered.
    """

    abstract = True
    ending = False

    def stop(self, force: bool = False) -> Any:  # noqa: FBT001, FBT002 - Locust's
        self.ending = True
        return super().stop(force)


def _task(request: dict[str, Any]) -> Callable[[_User], None]:
    def ask(user: _User) -> None:
        if user.ending:
            raise StopUser
        begun = object()
        _OPEN[begun] = request["title"], time.monotonic()
        # A user who is ended in the middle of a request never comes back from here: Locust would not count it.
        _ask(user)
        del _OPEN[begun]

    def _ask(user: _User) -> None:
        # A redirect leads away from where the load may go, so it is an answer like any other.
        with user.client.request(
            request["method"],
            request["path"],
            name=request["title"],
            json=request["body"],
            allow_redirects=False,
            catch_response=True,
            timeout=_LOAD["request_seconds"],
        ) as answer:
            if answer.status_code != request["status"]:
                answer.failure(f"status {answer.status_code}, expected {request['status']}")
            else:
                answer.success()

    return ask


def _user(number: int, kind: dict[str, Any]) -> type[_User]:
    members = {
        "weight": kind["weight"],
        "wait_time": constant(kind["pause_seconds"]),
        "tasks": {_task(request): request["weight"] for request in kind["requests"]},
        "__module__": __name__,
    }
    return type(f"Kind{number}", (_User,), members)


def _tell_what_never_ended(**_: Any) -> None:
    now = time.monotonic()
    told = [{"name": name, "seconds": now - began} for name, began in _OPEN.values()]
    Path(_LOAD["unfinished"]).write_text(json.dumps(told))


events.quit.add_listener(_tell_what_never_ended)  # type: ignore[no-untyped-call]  # Locust types it not
# Locust takes every class of users that it finds in the file's namespace.
globals().update({f"Kind{number}": _user(number, kind) for number, kind in enumerate(_LOAD["kinds"])})
